from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace

from idtoken_proxy.emulator import Emulator, Service
from idtoken_proxy.emulator.edge import LARGEST
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from tests.emulator.conftest import WORLD
from tests.emulator.http2_client import connected


async def test_an_app_of_ones_own_is_behind_it_in_http1(keys: Keys) -> None:
    """What came by HTTP/2 goes on by HTTP/1.1, with the limits of that, and what it breaks off is broken off."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/hang" in head:
            asked.set()
            await reader.read()
            gone.set()
        elif b"/broken" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        else:
            line = head.partition(b"\r\n")[0]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(line), line))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(app, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mine = Service("mine", frozenset({"allUsers"}), backend=f"http://127.0.0.1:{port}")
        async with (
            Emulator(replace(WORLD, services=(mine,)), keys=keys) as emulator,
            connected(emulator.urls["mine"]) as client,
        ):
            assert (await client.answer(client.request("/a?b"))).body == b"GET /a?b HTTP/1.1"
            length = ("content-length", str(LARGEST + 1))
            refused = await client.answer(client.request("/", length, method="POST", body=None))
            assert refused.status == 413
            broken = await client.answer(client.request("/broken"))
            assert (broken.body, broken.reset) == (b"half", ErrorCode.INTERNAL_ERROR)
            assert not client.closed
            hanging = client.request("/hang")
            await asyncio.wait_for(asked.wait(), 5)
            client.h2.reset_stream(hanging, ErrorCode.CANCEL)
            client.flush()
            await asyncio.wait_for(gone.wait(), 5)
    gc.collect()  # what was not closed would be told now


async def test_a_body_waits_for_its_reader_with_its_credit(emulator: Emulator) -> None:
    """`/delay` reads late: until then its client has the credit of one stream's window and of what is kept for a reader."""
    size = 1 << 20
    async with connected(emulator.urls["public"]) as client:
        stream = client.request("/delay/0.3", method="POST", body=None)
        sent = await client.send(stream, bytes(size), patience=0.1)
        assert 1 << 18 <= sent <= 1 << 19
        assert not client.streams[stream].is_over
        assert await client.send(stream, bytes(size - sent)) == size - sent
        client.h2.end_stream(stream)
        client.flush()
        told = json.loads((await client.answer(stream)).body)
    assert told["body"]["size"] == size
