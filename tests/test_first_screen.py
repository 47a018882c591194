from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from idtoken_proxy.first_screen import first_screen
from idtoken_proxy.identity.slot import SlotStatus
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Route, TcpAddress, UnixAddress, Upstream
from tests.cases import for_each

LOCAL = TcpAddress("127.0.0.1", 8080)
NOW = 1_800_000_000.0
PROFILES = Upstream("https", "profiles-x.a.run.app", 443)


def route(name: str, **more: object) -> Route:
    return Route(name, PROFILES, "https://profiles-x.a.run.app", **more)  # type: ignore[arg-type]


def token(**more: object) -> SlotStatus:
    told = {"email": "caller@example.com", "expires_at": NOW + 59 * 60, **more}
    return SlotStatus("https://profiles-x.a.run.app", "key file", valid=True, **told)  # type: ignore[arg-type]


def test_every_service_of_a_project_has_a_token_of_its_own() -> None:
    pattern = Upstream("https", "*-123456789012.us-central1.run.app", 443)
    project = Route("project", pattern, None, host="*.run.localhost")
    assert list(first_screen([LOCAL], (project,), {}, NOW)) == [
        "  http://*.run.localhost:8080 -> https://*-123456789012.us-central1.run.app  with a token for each service"
    ]


def test_a_line_says_where_as_whom_and_for_how_long() -> None:
    routes = (route("a", path="/profiles"), route("b", host="b.localhost"), route("c", identity=NoIdentity()))
    assert list(first_screen([LOCAL], routes, {"a": token(), "b": token(email=None)}, NOW)) == [
        "  http://localhost:8080/profiles -> https://profiles-x.a.run.app  as caller@example.com, token for 59 min",
        "  http://b.localhost:8080 -> https://profiles-x.a.run.app  as key file, token for 59 min",
        "  http://localhost:8080 -> https://profiles-x.a.run.app  without a token",
    ]


def test_other_addresses_are_told_as_they_are() -> None:
    (line,) = first_screen([UnixAddress("/run/it.sock")], (route("a", path="/v1"),), {"a": token()}, NOW)
    assert line.startswith("  unix:/run/it.sock /v1 -> ")
    (line,) = first_screen([TcpAddress("::", 80)], (route("a"),), {"a": token()}, NOW)
    assert line.startswith("  http://[::]:80 -> ")


def test_of_many_routes_the_first_are_named() -> None:
    lines = list(first_screen([LOCAL], tuple(route(f"r{n}", path=f"/{n}") for n in range(23)), {}, NOW))
    assert (len(lines), lines[-1]) == (21, "  and 3 more")


@for_each(
    ("listen", "shown"),
    [("localhost:0", rb"  http://localhost:\d+/p"), ("unix:{here}/it.sock", rb"  unix:/\S+/it.sock /p")],
)
def test_on_a_terminal_it_comes_when_the_proxy_is_ready(listen: str, shown: bytes) -> None:
    with TemporaryDirectory() as here:  # a short path, for sockets
        comes_when_ready(Path(here), listen.format(here=here), shown)


def comes_when_ready(tmp_path: Path, listen: str, shown: bytes) -> None:
    config = tmp_path / "proxy.yaml"
    config.write_text(
        f"listen: {listen}\nadmin: off\nroutes: [{{name: a, upstream: 'http://localhost:9', identity: none, match: {{path: /p}}}}]\n"
    )
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "idtoken_proxy", "serve", "-c", str(config)], stderr=far, stdout=far, stdin=far
    )
    os.close(far)
    said = b""
    try:
        limit = time.monotonic() + 20
        while b"without a token" not in said:
            assert time.monotonic() < limit, said
            if select.select([near], [], [], 1)[0]:
                said += os.read(near, 4096)
        assert re.search(shown + rb" -> http://localhost:9  without a token\r\n", said)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        os.close(near)
