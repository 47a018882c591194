"""deploy/systemd/: systemd itself reads the unit, and the proxy lives under the filters that the unit asks for."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from idtoken_proxy.settings.identities import ServiceAccountIdentity
from idtoken_proxy.settings.load import load_settings
from idtoken_proxy.settings.model import UnixAddress
from tests.deploy.processes import PATIENCE, emulated, outside, serving

HERE = Path(__file__).parent
DEPLOY = HERE.parents[1] / "deploy" / "systemd"
UNIT = DEPLOY / "idtoken-proxy.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not here; .ci/run installs it (apt-get install systemd)",
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def settings_of(text: str) -> dict[str, list[str]]:
    """Key -> values in their order, of all sections; systemd.syntax(7), as far as the unit uses it."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and line[0] not in "#;[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    return settings_of(UNIT.read_text())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as it is where the program has been installed."""
    program = tmp_path / "idtoken-proxy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={program}", UNIT.read_text()))
    return unit


@needs_systemd
def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    answer = analyze("verify", str(installed))
    complaints = [
        line for line in answer.stderr.splitlines() if str(installed) in line or installed.name in line
    ]
    assert complaints == []
    assert answer.returncode == 0


@needs_systemd
def test_verify_would_find_something(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("ProtectSystem=strict", "ProtectSystem=sometimes"))
    assert "Failed to parse" in analyze("verify", str(installed)).stderr


@needs_systemd
def test_is_exposed_at_most_so_far(installed: Path) -> None:
    """Of 10 points; the threshold is in tenths. What is left is that it talks on the network."""
    answer = analyze("security", "--offline=true", "--threshold=15", str(installed))
    assert answer.returncode == 0, answer.stdout


def test_what_would_run_is_what_is_there(unit: dict[str, list[str]]) -> None:
    (command,) = unit["ExecStart"]
    assert command.split()[1:] == ["serve", "-c", "/etc/idtoken-proxy/proxy.yaml"]
    assert unit["Type"] == ["notify"]  # and not notify-reload, which systemd 252 does not know
    assert unit["ExecReload"] == ["kill -HUP $MAINPID"]


def test_a_route_without_a_token_does_not_end_the_others(unit: dict[str, list[str]]) -> None:
    assert unit["TimeoutStartSec"] == ["infinity"]


def test_sockets_are_where_the_unit_makes_room_for_them(unit: dict[str, list[str]]) -> None:
    settings = load_settings(str(DEPLOY / "proxy.yaml"), {})
    (directory,) = unit["RuntimeDirectory"]
    assert settings.admin is not None
    for address in (*settings.listen, settings.admin):
        assert isinstance(address, UnixAddress)
        assert str(Path(address.path).parent) == f"/run/{directory}"
    assert settings.guard.allowed_uids
    assert "PrivateUsers" not in unit  # or nobody could be told apart


def test_drains_before_it_is_killed(unit: dict[str, list[str]]) -> None:
    settings = load_settings(str(DEPLOY / "proxy.yaml"), {})
    assert float(unit["TimeoutStopSec"][0]) > settings.timeouts.drain


def test_the_key_that_the_comments_speak_of(tmp_path: Path) -> None:
    text = (DEPLOY / "proxy.yaml").read_text()
    with_key = text.replace("identity: metadata\n", "").replace("#identity:", "identity:")
    (tmp_path / "proxy.yaml").write_text(with_key)
    settings = load_settings(str(tmp_path / "proxy.yaml"), {"CREDENTIALS_DIRECTORY": "/run/credentials/x"})
    (route,) = settings.routes
    assert route.identity == ServiceAccountIdentity("/run/credentials/x/caller.json")
    assert "#LoadCredential=caller.json:" in UNIT.read_text()


# -- an instance for each core ---------------------------------------------------------

CORES = DEPLOY / "cores.conf"


@needs_systemd
def test_systemd_takes_the_unit_as_a_template_with_what_the_instances_need(installed: Path) -> None:
    template = installed.with_name("idtoken-proxy@.service")
    installed.rename(template)
    (installed.parent / "idtoken-proxy@.service.d").mkdir()
    (installed.parent / "idtoken-proxy@.service.d" / "cores.conf").write_text(CORES.read_text())
    answer = analyze("verify", str(template.with_name("idtoken-proxy@1.service")))
    complaints = [line for line in answer.stderr.splitlines() if "idtoken-proxy" in line]
    assert (complaints, answer.returncode) == ([], 0)


def test_instances_share_a_port_and_a_user_and_nothing_else(unit: dict[str, list[str]]) -> None:
    added = settings_of(CORES.read_text())
    assert added["RuntimeDirectory"] == ["", "idtoken-proxy/%i"]
    assert unit["DynamicUser"] == ["yes"]
    assert added["User"] == ["idtoken-proxy"]
    environ = {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}
    first, second = (
        load_settings(str(DEPLOY / "proxy-cores.yaml"), {**environ, "INSTANCE": number}) for number in "12"
    )
    assert first.listen == second.listen
    assert first.reuse_port
    assert (first.admin, second.admin) == (
        UnixAddress("/run/idtoken-proxy/1/admin.sock"),
        UnixAddress("/run/idtoken-proxy/2/admin.sock"),
    )
    assert first.guard.caller_token_file == "/run/credentials/x/caller.token"
    assert added["LoadCredential"][0].startswith("caller.token:")


# -- under the unit's filters ---------------------------------------------------------


def groups() -> dict[str, list[str]]:
    """`@name` -> what is in it, names of other groups too, as this systemd has them."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = []
        elif line.startswith("    ") and not line.lstrip().startswith("#"):
            found[name].append(line.strip())
    return found


def expanded(name: str, known: dict[str, list[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return set().union(*(expanded(inner, known) for inner in known[name]))


def allowed_calls(filters: list[str]) -> set[str]:
    known = groups()
    allowed = expanded("@default", known)  # systemd adds it to every list of what is allowed
    for line in filters:
        named: set[str] = set().union(*(expanded(name, known) for name in line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def confined(unit: dict[str, list[str]], *command: str) -> list[str]:
    rules = {
        "calls": sorted(allowed_calls(unit["SystemCallFilter"])),
        "families": [int(getattr(socket, name)) for name in unit["RestrictAddressFamilies"][0].split()],
    }
    return [sys.executable, str(HERE / "confine.py"), json.dumps(rules), "--", *command]


@pytest.fixture
def filters_work(unit: dict[str, list[str]]) -> None:
    answer = subprocess.run(confined(unit, "true"), capture_output=True, text=True, check=False, timeout=30)
    if "no filter" in answer.stderr or "libseccomp" in answer.stderr:
        pytest.skip(f"system calls cannot be filtered here: {answer.stderr.splitlines()[-1]}")
    assert answer.returncode == 0, answer.stderr


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory() as made:  # a short path: 107 octets are all that a socket's address holds
        yield Path(made)


@needs_systemd
@pytest.mark.usefixtures("filters_work")
@pytest.mark.parametrize(
    "forbidden",
    [
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import os; os.chroot('/')",
        "import os; os.setpriority(os.PRIO_PROCESS, 0, 1)",
    ],
    ids=["writable code", "privileged", "resources"],
)
def test_filters_hold(unit: dict[str, list[str]], forbidden: str) -> None:
    answer = subprocess.run(
        confined(unit, sys.executable, "-c", forbidden), capture_output=True, check=False, timeout=30
    )
    assert answer.returncode == -signal.SIGSYS


@needs_systemd
@pytest.mark.usefixtures("filters_work")
def test_other_families_are_refused(unit: dict[str, list[str]]) -> None:
    answer = subprocess.run(
        confined(unit, sys.executable, "-c", "import socket; socket.socket(socket.AF_NETLINK)"),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "Address family not supported" in answer.stderr


@needs_systemd
@pytest.mark.usefixtures("filters_work")
def test_serves_reloads_and_ends_under_them(unit: dict[str, list[str]], directory: Path) -> None:
    """All that a proxy does in its life, tokens by HTTP and name resolution included; a forbidden call would kill it."""
    config = directory / "proxy.yaml"
    with emulated() as printed:
        config.write_text(f"""
listen: [unix:{directory}/proxy.sock, localhost:0]
admin: unix:{directory}/admin.sock
identity: metadata
google: {{metadata_host: "{printed["GCE_METADATA_HOST"]}"}}
routes:
  - {{name: it, upstream: "{printed["USER_PROFILES_URL"].replace("127.0.0.1", "localhost")}"}}
log: {{format: json}}
""")
        command = confined(unit, sys.executable, "-m", "idtoken_proxy", "serve", "-c", str(config))
        environ = {
            **outside(),
            "PYTHONPATH": str(HERE.parents[1]),
            "NOTIFY_SOCKET": str(directory / "notify.sock"),
        }
        with manager(directory / "notify.sock") as told, serving(command, environ) as proxy:
            told("READY=1")
            assert answered(directory / "proxy.sock") == 200
            assert answered(directory / "admin.sock", "/api/status") == 200
            config.write_text(config.read_text().replace("name: it", "name: other"))
            reload = unit["ExecReload"][0].replace("$MAINPID", str(proxy.process.pid)).split()
            subprocess.run(confined(unit, *reload), check=True, timeout=30)
            assert any(line.startswith("MONOTONIC_USEC=") for line in told("RELOADING=1"))
            told("READY=1")
            assert answered(directory / "proxy.sock") == 200
            proxy.process.send_signal(signal.SIGTERM)
            told("STOPPING=1")
            proxy.wait_for("stopped")
            assert proxy.process.wait(PATIENCE) == 0


@contextlib.contextmanager
def manager(path: Path) -> Iterator[Callable[[str], list[str]]]:
    """The other end of sd_notify(3): the lines of the next message that has this one; a changed file may reload as well."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(PATIENCE)

        def wait_for(line: str) -> list[str]:
            while line not in (lines := listening.recv(4096).decode().splitlines()):
                pass
            return lines

        yield wait_for


def answered(path: Path, target: str = "/") -> int:
    with socket.socket(socket.AF_UNIX) as app:
        app.settimeout(PATIENCE)
        app.connect(str(path))
        app.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return int(app.makefile("rb").readline().split()[1])
