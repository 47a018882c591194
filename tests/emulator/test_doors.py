"""HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import asyncio
import shutil
import ssl

import aiohttp
import grpc
import pytest
import trustme
from aiohttp import HttpVersion11

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.engine.http2.frames import PREFACE, build_settings
from tests.emulator.conftest import WORLD
from tests.emulator.grpc_client import dialled, invoker
from tests.emulator.http2_client import connected
from tests.emulator.test_receivers import bearer, token_for


async def curl(*arguments: str) -> tuple[str, str]:
    """The head and the body of what it was answered."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    asked = await asyncio.create_subprocess_exec(
        curl, "-siS", "--noproxy", "*", "--max-time", "10", *arguments, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asked.communicate()
    if asked.returncode == 2:
        pytest.skip("this curl speaks no HTTP/2")
    assert asked.returncode == 0
    head, _, body = said.decode().partition("\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    ("version", "line"), [("--http1.1", "HTTP/1.1 200 OK"), ("--http2-prior-knowledge", "HTTP/2 200 ")]
)
async def test_curl_speaks_either(emulator: Emulator, version: str, line: str) -> None:
    field = f"Authorization: Bearer {token_for(emulator, 'profiles')}"
    head, body = await curl(version, "-H", field, emulator.urls["profiles"] + "/x?y=1")
    assert head.startswith(line)
    assert '"path": "/x?y=1"' in body


async def test_an_upgrade_to_h2c_is_not_offered(emulator: Emulator) -> None:
    head, _ = await curl("--http2", emulator.urls["public"])
    assert head.startswith("HTTP/1.1 200")


async def test_the_preface_may_come_octet_by_octet(emulator: Emulator) -> None:
    host, _, port = emulator.urls["public"].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for octet in PREFACE + build_settings({}):
        writer.write(bytes([octet]))
        await writer.drain()
        await asyncio.sleep(0)
    head = await asyncio.wait_for(reader.readexactly(9), 5)
    assert head[3] == 4  # SETTINGS
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("begun", [b"P", b"PRI * HTTP/2.0\r\n\r\n", b"PRI * HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_what_only_begins_so_is_http1(emulator: Emulator, begun: bytes) -> None:
    host, _, port = emulator.urls["public"].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(begun)
    await asyncio.sleep(0.02)
    rest = f"OST / HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    writer.write(rest.encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 200" if begun == b"P" else b"HTTP/1.0 400")
    writer.close()
    await writer.wait_closed()


async def test_closing_ends_connections_of_every_kind(client: aiohttp.ClientSession) -> None:
    async with Emulator() as emulator:
        url = emulator.urls["billing"]
        host, _, port = url.removeprefix("http://").partition(":")
        silent, silent_writer = await asyncio.open_connection(host, int(port))
        await client.get(url)
        async with connected(url) as http2:
            await http2.answer(http2.request())
            await asyncio.create_task(emulator.__aexit__(None, None, None))
            await http2.until(lambda: http2.closed)
            assert http2.goaways == [(0, 1)]
        assert await asyncio.wait_for(silent.read(), 5) == b""
        silent_writer.close()
        await silent_writer.wait_closed()


async def test_requests_over_both_at_once(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    url = emulator.urls["profiles"]
    headers = bearer(token_for(emulator, "profiles"))
    async with connected(url) as http2:
        stream = http2.request("/delay/0.05", ("authorization", headers["Authorization"]))
        assert (await client.get(url, headers=headers)).status == 200
        assert (await http2.answer(stream)).status == 200


async def test_over_tls_the_protocol_is_agreed_on(keys: Keys, client: aiohttp.ClientSession) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with Emulator(WORLD, keys=keys, tls=server) as emulator:
        url = emulator.urls["profiles"]
        assert url.startswith("https://127.0.0.1:")
        token = token_for(emulator, "profiles")
        answer = await client.get(url, headers=bearer(token), ssl=trusting)
        assert (answer.status, answer.version) == (200, HttpVersion11)
        trusting.set_alpn_protocols(["h2"])
        async with connected(url, trusting) as http2:
            assert http2.agreed == "h2"
            came = await http2.answer(http2.request("/bytes/100000", ("authorization", f"Bearer {token}")))
            assert (came.status, len(came.body)) == (200, 100_000)
        roots = authority.cert_pem.bytes()
        async with dialled(url, invoker(emulator, "profiles"), grpc.ssl_channel_credentials(roots)) as calls:
            assert (await calls.unary({"text": "by TLS"}))["text"] == "by TLS"


async def test_without_http2_there_is_http1_alone(keys: Keys, client: aiohttp.ClientSession) -> None:
    async with Emulator(WORLD, keys=keys, http2=False) as emulator:
        url = emulator.urls["public"]
        assert (await client.get(url)).status == 200
        async with dialled(url) as calls:
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await calls.unary({})
        assert told.value.code() is grpc.StatusCode.UNAVAILABLE
