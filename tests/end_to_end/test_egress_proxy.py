"""Behind a proxy that the network demands: a receiver whose name only that one knows, in a process with its commands."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
import yaml

from tests.end_to_end.conftest import PATIENCE, ROOT, ServeProcess, _environ
from tests.engine.egress import relaying, saying
from tests.engine.proxied import make_token
from tests.engine.test_tls import certified
from tests.engine.wire import Receiver, Script, Wire, answering, ok

HOST = "receiver.invalid"
PASSWORD = "sentinel@of/the:egress"
ESCAPED = "sentinel%40of%2Fthe%3Aegress"
SENTINELS = (PASSWORD, ESCAPED, base64.b64encode(f"me:{PASSWORD}".encode()).decode())
# Of the environment, and for others: nobody listens there.
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class Egress:
    """An egress proxy that relays once it is told to, and wants other credentials until then."""

    def __init__(self, receiver: Receiver) -> None:
        self.script: Script = saying(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n")
        self.relaying = relaying(receiver)
        self.proxy = Receiver(self._serve)

    async def _serve(self, wire: Wire) -> None:
        await self.script(wire)


@pytest.fixture
def token() -> str:
    return make_token(f"https://{HOST}")


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with Receiver(answering(ok()), tls=certified(ca, HOST)) as started:
        yield started


@pytest.fixture
async def egress(receiver: Receiver) -> AsyncIterator[Egress]:
    made = Egress(receiver)
    async with made.proxy:
        yield made


@pytest.fixture
def config(tmp_path: Path, egress: Egress, token: str) -> dict[str, Any]:
    (tmp_path / "token").write_text(token)
    return {
        "listen": "127.0.0.1:0",
        "admin": f"unix:{tmp_path}/admin.sock",
        "identity": {"type": "file", "path": str(tmp_path / "token")},
        "routes": [{"name": "it", "upstream": f"https://{HOST}", "audience": f"https://{HOST}"}],
        "tls": {"ca_file": str(tmp_path / "ca.pem")},
        "egress_proxy": f"http://me:${{EGRESS_PASSWORD}}@127.0.0.1:{egress.proxy.port}",
        "log": {"level": "debug", "access": "all", "format": "json"},
    }


@pytest.fixture
def variables(dead_port: int) -> dict[str, str]:
    dead = dict.fromkeys(VARIABLES, f"http://127.0.0.1:{dead_port}")
    return {**dead, "EGRESS_PASSWORD": ESCAPED}


async def command(config: dict[str, Any], variables: dict[str, str], tmp_path: Path, *argv: str) -> str:
    """Everything that it says."""
    file = tmp_path / "command.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "idtoken_proxy", *argv, "-c", str(file)),
        cwd=ROOT,
        env={**_environ(), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PATIENCE):
        said, _ = await process.communicate()
    return said.decode()


async def shown(socket: str) -> str:
    """All that the admin listener tells."""
    pages = []
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as operator:
        for path in ("/", "/api/status", "/metrics", "/readiness"):
            async with operator.get(f"http://localhost{path}") as answer:
                pages.append(await answer.text())
    return "".join(pages)


async def test_a_request_goes_out_through_it_alone(
    config: dict[str, Any],
    variables: dict[str, str],
    serve_process: ServeProcess,
    client: aiohttp.ClientSession,
    receiver: Receiver,
    egress: Egress,
    token: str,
) -> None:
    process = await serve_process(config, **variables)
    url = await process.url()
    await process.said("ready")  # the admin listener is open
    async with client.get(url) as answer:
        assert answer.status == 502
        refused = await answer.text()
    assert "answered 407" in json.loads(refused)["detail"]
    egress.script = egress.relaying
    async with client.get(url) as answer:
        assert (answer.status, await answer.text()) == (200, "hello")
    assert [request.one("authorization") for request in receiver.requests] == [f"Bearer {token}"]
    head = bytes(egress.proxy.connections[-1].received).partition(b"\r\n\r\n")[0].decode()
    assert head.split("\r\n") == [
        f"CONNECT {HOST}:443 HTTP/1.1",
        f"Host: {HOST}:443",
        f"Proxy-Authorization: Basic {SENTINELS[2]}",
    ]
    for part in (token, token.split(".")[1], token.split(".")[2]):
        assert part.encode() not in egress.proxy.received
    told = refused + await shown(config["admin"].removeprefix("unix:")) + process.output
    assert "the egress proxy 127.0.0.1:" in told
    assert not [sentinel for sentinel in SENTINELS if sentinel in told]


async def test_no_command_shows_its_password(
    config: dict[str, Any], variables: dict[str, str], tmp_path: Path, egress: Egress
) -> None:
    wants_another = await command(config, variables, tmp_path, "doctor")
    assert "CONNECT" in wants_another
    assert "answered 407: it does not take the user name and password" in wants_another
    egress.script = egress.relaying
    said = await command(config, variables, tmp_path, "doctor", "--json")
    through = json.loads(said[said.index("{") :])  # behind the warnings, which are on standard error
    assert through["ok"]
    steps = [step["name"] for step in through["routes"][0]["receiver"]["steps"]]
    assert steps == ["dns", "tcp", "connect", "tls", "answer"]
    checked = await command(config, variables, tmp_path, "check")
    raw = {**variables, "EGRESS_PASSWORD": PASSWORD}  # not as a URL has it
    mistaken = await command(config, raw, tmp_path, "check")
    assert "egress_proxy: must end with its port" in mistaken
    told = wants_another + said + checked + mistaken
    assert not [sentinel for sentinel in SENTINELS if sentinel in told]
    assert "sentinel" not in told
