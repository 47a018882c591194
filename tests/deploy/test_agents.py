"""deploy/agents/: the sandbox's two services as processes, each as the user that the file says, the agent in a network namespace
of its own with nothing in it. In place of a login there is the emulator's metadata server.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml

from idtoken_proxy.settings.load import load_settings
from idtoken_proxy.settings.model import UnixAddress
from tests.deploy.processes import PATIENCE, emulated, outside, serving
from tests.deploy.sidecar import DEPLOY
from tests.deploy.test_compose import check

HERE = DEPLOY / "agents"
COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())
PROXY, AGENT = COMPOSE["services"]["proxy"], COMPOSE["services"]["agent"]
SOCKET = "/run/idtoken-proxy/proxy.sock"
UID = int(AGENT["user"].partition(":")[0])


def test_fits_the_schema() -> None:
    answer = check(HERE / "compose.yaml")
    assert answer.returncode == 0, answer.stdout


def test_the_agent_has_a_socket_and_nothing_else() -> None:
    assert AGENT["network_mode"] == "none"
    assert AGENT["volumes"] == ["socket:/run/idtoken-proxy:ro"]
    assert not {"secrets", "environment", "env_file", "configs", "ports"} & set(AGENT)
    for service in (PROXY, AGENT):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_proxy_has_the_credential_and_listens_to_the_agent_alone() -> None:
    assert PROXY["environment"]["GOOGLE_APPLICATION_CREDENTIALS"] == f"/run/secrets/{PROXY['secrets'][0]}"
    assert "ports" not in PROXY
    settings = load_settings(str(HERE / "proxy.yaml"), {})
    assert settings.listen == (UnixAddress(SOCKET),)
    assert settings.admin is None
    assert settings.guard.allowed_uids == frozenset({UID})
    assert [route.methods for route in settings.routes] == [frozenset({"GET"})]
    assert SOCKET in AGENT["command"]
    assert SOCKET in PROXY["healthcheck"]["test"][-1]
    # The volume's owner is the proxy's user: nobody else puts a socket there.
    assert f"uid={PROXY['user'].partition('}:')[0]}}}," in COMPOSE["volumes"]["socket"]["driver_opts"]["o"]


# -- running ----------------------------------------------------------------------------


@cache
def can_confine() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("setpriv") is not None
        and shutil.which("curl") is not None
        and subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Path]:
    """The directory that stands for /run/idtoken-proxy."""
    if not can_confine():
        pytest.skip("needs root, curl, setpriv and network namespaces")
    directory = Path(mkdtemp(prefix="agent-"))  # not in pytest's own, which is closed to other users
    directory.chmod(0o755)
    try:
        with emulated() as printed:
            text = (HERE / "proxy.yaml").read_text().replace("/run/idtoken-proxy", str(directory))
            text = text.replace("https://tickets-x7f3kq-uc.a.run.app", printed["USER_PROFILES_URL"])
            text = re.sub(r"(?m)^identity: .*$", "identity: metadata", text)
            text += f"google: {{metadata_host: '{printed['GCE_METADATA_HOST']}'}}\n"
            config = directory / "proxy.yaml"
            config.write_text(f"{text.replace('log: {', 'log: {format: json, ')}")
            environ = {**outside(), "IDTOKEN_PROXY_CONFIG": str(config), "PYTHONPATH": str(DEPLOY.parent)}
            with serving([sys.executable, "-m", "idtoken_proxy", *PROXY["command"]], environ):
                yield directory
    finally:
        shutil.rmtree(directory)


def as_agent(sandbox: Path, *options: str, uid: int = UID) -> tuple[int, str]:
    """The agent's own command, with more options: its exit code, and all that it prints."""
    command = [part.replace("/run/idtoken-proxy", str(sandbox)) for part in AGENT["command"]]
    confined = [
        "unshare",
        "--net",
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "--no-new-privs",
    ]
    done = subprocess.run(
        [*confined, "--bounding-set=-all", "--inh-caps=-all", *command, *options],
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout + done.stderr


def test_an_agent_reads_through_the_socket_without_a_network(sandbox: Path) -> None:
    code, told = as_agent(sandbox)
    assert code == 0, told
    assert '"service": "user-profiles"' in told
    assert '"path": "/42"' in told


def test_it_may_do_nothing_else(sandbox: Path) -> None:
    for options, told in (
        (["--request", "POST"], "405"),
        (["--request", "DELETE"], "405"),
        (["--url", "http://localhost/other"], "404"),
    ):
        assert told in as_agent(sandbox, "--write-out", "%{http_code}", *options)[1]
    refused, _ = as_agent(sandbox, uid=UID + 1)
    assert refused != 0  # another user of the machine


def test_the_proxy_is_healthy_as_the_file_says(sandbox: Path) -> None:
    _, program, *arguments = PROXY["healthcheck"]["test"]
    assert program == "python"
    asked = [argument.replace("/run/idtoken-proxy", str(sandbox)) for argument in arguments]
    subprocess.run([sys.executable, *asked], check=True, timeout=PATIENCE)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            [sys.executable, *(argument.replace(".sock", ".none") for argument in asked)],
            check=True,
            timeout=PATIENCE,
            stderr=subprocess.DEVNULL,
        )
