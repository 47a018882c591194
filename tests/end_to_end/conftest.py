"""The local Google, a proxy in front of its private services, in this process or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.identity.clock import Clock
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Route, Settings, TcpAddress, Upstream

PATIENCE = 20.0
ROOT = Path(__file__).parents[2]
CALLER = "login@demo-project.iam.gserviceaccount.com"


@pytest.fixture
def seen() -> list[Seen]:
    """Every request that a private service got."""
    return []


@pytest.fixture
async def emulator(keys: Keys, seen: list[Seen]) -> AsyncIterator[Emulator]:
    async with Emulator(DEMO, keys=keys, on_request=seen.append) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
        yield session


def route_to(emulator: Emulator, name: str, **changes: Any) -> Route:
    """`/user-profiles/42` goes to user-profiles as `/42`."""
    url = emulator.urls[name]
    usual: dict[str, Any] = {
        "name": name,
        "upstream": Upstream("http", "127.0.0.1", int(url.rpartition(":")[2])),
        "audience": url,
        "identity": MetadataIdentity(),
        "path": f"/{name}",
        "strip_prefix": True,
    }
    return Route(**{**usual, **changes})


def settings_for(*routes: Route, metadata_host: str, **changes: Any) -> Settings:
    usual: dict[str, Any] = {
        "listen": (TcpAddress("localhost", 0),),
        "admin": None,
        "google": GoogleEndpoints(metadata_host=metadata_host),
    }
    return Settings(routes=routes, **{**usual, **changes})


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    started: list[Server] = []

    async def begin(
        settings: Settings, clock: Clock | None = None, environ: Mapping[str, str] | None = None
    ) -> Server:
        server = Server(settings, environ or {}, clock=clock)
        await server.start()
        started.append(server)
        return server

    yield begin
    for server in started:
        await server.stop(drain=1)


@pytest.fixture
async def url(emulator: Emulator, serve: Serve) -> str:
    """Of a proxy in this process, with a route for each private service."""
    routes = [route_to(emulator, name) for name in emulator.urls]
    server = await serve(settings_for(*routes, metadata_host=emulator.metadata_host))
    return f"http://localhost:{server.addresses[0].port}"


# -- other processes -----------------------------------------------------------------


class Process:
    """`idtoken-proxy serve`, and every line that it ever said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = asyncio.gather(self._read(process.stdout), self._read(process.stderr))
        self._news = asyncio.Event()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.lines.append(line.decode())
            self._news.set()

    @property
    def silent(self) -> bool:
        """Nobody holds its output any more."""
        return self._readers.done()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    async def said(self, message: str) -> dict[str, Any]:
        """The first log line with this message."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.lines:
                    with contextlib.suppress(ValueError):
                        told: dict[str, Any] = json.loads(line)
                        if told.get("message") == message:
                            return told
                if self.silent:
                    raise AssertionError(f"ended without {message!r}: {self.output}")
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await self._news.wait()

    async def url(self) -> str:
        return str((await self.said("listening"))["address"])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            await self._readers
            return await self.process.wait()

    async def end(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.ended()

    def memory(self, field: str = "VmRSS") -> int:
        """Octets; `VmHWM` is the most that it ever was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024


ServeProcess = Callable[..., Awaitable[Process]]


@pytest.fixture
async def serve_process(tmp_path: Path) -> AsyncIterator[ServeProcess]:
    started: list[Process] = []

    async def begin(config: Mapping[str, Any], **environ: str) -> Process:
        file = tmp_path / f"proxy-{len(started)}.yaml"
        await asyncio.to_thread(file.write_text, yaml.safe_dump(dict(config)))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "idtoken_proxy", "serve", "-c", str(file)),
            cwd=ROOT,
            env={**_environ(), **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1024 * 1024,
        )
        started.append(Process(process))
        return started[-1]

    yield begin
    for process in started:
        await process.end()


def _environ() -> dict[str, str]:
    """Nothing of the machine's own Google or proxies."""
    ours = ("GOOGLE_", "CLOUDSDK_", "GCE_", "IDTOKEN_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}


def config_for(emulator: Emulator, **changes: Any) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "admin": "off",
        "identity": {"type": "metadata"},
        "google": {"metadata_host": emulator.metadata_host},
        "routes": [
            {"name": name, "match": {"path": f"/{name}"}, "upstream": url, "strip_prefix": True}
            for name, url in emulator.urls.items()
        ],
        **changes,
    }


@pytest.fixture
def dead_socket() -> Iterator[socket.socket]:
    """Bound, and nobody listens, so far."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


@pytest.fixture
def dead_port(dead_socket: socket.socket) -> int:
    return int(dead_socket.getsockname()[1])
