"""Unix sockets: the kernel tells who calls, and others are refused before they have said a word."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
from aiohttp import web

from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import GuardSettings, Route, Settings, UnixAddress, Upstream

NOBODY = 65534

# What another user of the machine would run.
CALL = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
app = socket.socket(socket.AF_UNIX)
app.connect(sys.argv[1])
app.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
print(b"".join(iter(lambda: app.recv(65536), b"")).decode())
"""


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[int, list[str]]]:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Forwarded-For", "nobody"))
        return web.Response(text="the receiver")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], seen
    await runner.cleanup()


@pytest.fixture
async def directory() -> AsyncIterator[Path]:
    with TemporaryDirectory() as made:  # a short path: 107 octets are all that a socket's address holds
        Path(made).chmod(0o755)
        yield Path(made)


async def started(port: int, path: Path, *uids: int) -> Server:
    guard = GuardSettings(allowed_uids=frozenset(uids) if uids else None)
    route = Route("it", Upstream("http", "127.0.0.1", port), None, NoIdentity())
    server = Server(Settings((route,), listen=(UnixAddress(str(path)),), admin=None, guard=guard), {})
    await server.start()
    return server


async def as_user(uid: int, path: Path) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CALL, str(path), str(uid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


async def test_an_app_calls_through_the_socket(receiver: tuple[int, list[str]], directory: Path) -> None:
    port, seen = receiver
    server = await started(port, directory / "own" / "proxy.sock")
    try:
        connector = aiohttp.UnixConnector(str(directory / "own" / "proxy.sock"))
        async with aiohttp.ClientSession(connector=connector) as app:
            assert await (await app.get("http://localhost/")).text() == "the receiver"
        assert seen == ["nobody"]  # a socket has no address to tell
    finally:
        await server.stop(drain=0.5)
    assert not (directory / "own" / "proxy.sock").exists()


@pytest.mark.parametrize("host", [b"", b"docker", b"evil.example:9", b"/run/proxy.sock"])
async def test_any_host_will_do_there(receiver: tuple[int, list[str]], directory: Path, host: bytes) -> None:
    """Docker's clients, `curl --unix-socket S http://anything/`, an empty one."""
    port, _ = receiver
    server = await started(port, directory / "own" / "proxy.sock")
    try:
        reader, writer = await asyncio.open_unix_connection(str(directory / "own" / "proxy.sock"))
        writer.write(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(12) == b"the receiver"
        writer.write(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nOrigin: http://evil.example:9\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop(drain=0.5)


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user; CI is root")


@needs_root
async def test_the_mode_keeps_other_users_out(receiver: tuple[int, list[str]], directory: Path) -> None:
    port, seen = receiver
    server = await started(port, directory / "proxy.sock")
    try:
        refused = await as_user(NOBODY, directory / "proxy.sock")
    finally:
        await server.stop(drain=0.5)
    assert "PermissionError" in refused.stderr
    assert seen == []


@needs_root
async def test_a_user_who_is_not_listed_is_refused_and_one_who_is_gets_through(
    receiver: tuple[int, list[str]], directory: Path
) -> None:
    port, seen = receiver
    server = await started(port, directory / "proxy.sock", os.getuid(), 1234)
    try:
        refused = await as_user(NOBODY, directory / "proxy.sock")
        assert refused.stdout.startswith("HTTP/1.1 403 Forbidden")
        assert f"user {NOBODY} may not use this proxy" in refused.stdout
        assert f"guard: {{allowed_uids: {sorted({os.getuid(), 1234, NOBODY})}}}" in refused.stdout
        assert seen == []
        assert "the receiver" in (await as_user(1234, directory / "proxy.sock")).stdout
    finally:
        await server.stop(drain=0.5)


@needs_root
async def test_a_reload_lets_in_whom_it_lists_and_shuts_out_whom_it_does_not_any_more(
    receiver: tuple[int, list[str]], directory: Path
) -> None:
    port, _ = receiver
    path = directory / "proxy.sock"
    server = await started(port, path)
    listed = dataclasses.replace(
        server.settings, guard=GuardSettings(allowed_uids=frozenset({os.getuid(), 1234}))
    )
    unlisted = server.settings
    try:
        await server.reload(listed)
        assert "the receiver" in (await as_user(1234, path)).stdout
        assert "403 Forbidden" in (await as_user(NOBODY, path)).stdout
        await server.reload(unlisted)
        assert "PermissionError" in (await as_user(1234, path)).stderr
    finally:
        await server.stop(drain=0.5)
