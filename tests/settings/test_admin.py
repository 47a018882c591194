"""Where a running proxy's admin listener is, by the one key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.admin import running_admin
from idtoken_proxy.settings.model import Address, TcpAddress, UnixAddress
from tests.cases import for_each


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("admin: localhost:1234", TcpAddress("localhost", 1234)),
        ("admin: unix:/run/a.sock", UnixAddress("/run/a.sock")),
        ("admin: unix:~/a.sock", UnixAddress("/home/me/a.sock")),
        ("admin: 'localhost:${PORT}'", TcpAddress("localhost", 77)),
        ("routes: []", TcpAddress("localhost", 9090)),
        ("admin:", TcpAddress("localhost", 9090)),
        ("", TcpAddress("localhost", 9090)),
        ("[a list]", TcpAddress("localhost", 9090)),
        # What is mistaken elsewhere is none of a probe's affair.
        ("admin: localhost:1\nroutes: [{nmae: x}]\nlisen: '${UNSET}'", TcpAddress("localhost", 1)),
    ],
)
def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, address: Address) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    file = tmp_path / "proxy.yaml"
    file.write_text(text)
    assert running_admin(None, str(file), {"PORT": "77"}) == address


def test_a_relative_socket_is_beside_the_file_or_where_one_is(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("admin: unix:./a.sock")
    assert running_admin(None, str(file), {}) == UnixAddress(f"{tmp_path}/./a.sock")
    assert running_admin("unix:./a.sock", str(file), {}) == UnixAddress("./a.sock")
    assert running_admin(None, str(file), {"IDTOKEN_PROXY_ADMIN": "unix:b.sock"}) == UnixAddress("b.sock")


def test_what_is_said_nearest_counts(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.yaml")
    environ = {"IDTOKEN_PROXY_ADMIN": "localhost:2"}
    assert running_admin("localhost:1", missing, environ) == TcpAddress("localhost", 1)
    assert running_admin(None, missing, environ) == TcpAddress("localhost", 2)
    assert running_admin(None, None, {"IDTOKEN_PROXY_ADMIN": ""}) == TcpAddress("localhost", 9090)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"admin: off", ": admin: the admin listener is off, so there is nobody to ask"),
        (b"admin: localhost:0", ": admin: port 0 is one that the kernel chose"),
        (b"admin: 9090", ": admin: must be HOST:PORT"),
        (b"admin: [", ":1: "),
        (b"\xff", ": is not UTF-8 text"),
        (None, ": cannot be read: No such file"),
    ],
)
def test_nobody_to_ask(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "proxy.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        running_admin(None, str(file), {})
    assert f"{file}{said}" in caught.value.detail


@for_each(("said", "environ"), [("off", {}), (None, {"IDTOKEN_PROXY_ADMIN": "nonsense"})])
def test_a_mistake_names_where_it_is(said: str | None, environ: dict[str, str]) -> None:
    place = "--admin" if said else "IDTOKEN_PROXY_ADMIN"
    with pytest.raises(ConfigError, match=f"^{place}: "):
        running_admin(said, None, environ)


def test_a_probe_loads_little() -> None:
    probe = (
        "import sys; from idtoken_proxy.cli import main\n"
        "try: main(['probe', 'liveness', '--admin', 'localhost:1'])\nexcept SystemExit as ended: code = ended.code\n"
        "print(code, sorted({'aiohttp', 'uvloop', 'structlog', 'asyncio', 'google.auth'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
