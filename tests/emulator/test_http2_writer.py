"""What an answer is on the wire; calls of gRPC, with their trailers, are in test_grpc_call.py."""

from __future__ import annotations

from idtoken_proxy.emulator.emulator import Emulator
from tests.emulator.http2_client import connected


async def test_100_continue_comes_first(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        stream = client.request("/echo", ("expect", "100-continue"), method="POST", body=None)
        await client.until(lambda: client.streams[stream].interim == [100])
        client.h2.send_data(stream, b"now", end_stream=True)
        client.flush()
        assert (await client.answer(stream)).body == b"now"


async def test_head_and_204_have_no_body(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        came = await client.answer(client.request("/bytes/10", method="HEAD"))
        assert (came.status, came.body, came.headers["content-length"]) == (200, b"", "10")
        came = await client.answer(client.request("/status/204"))
        assert (came.status, came.head_ended_it) == (204, True)


async def test_fields_of_connections_stay_out(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        named = "?header=Connection:x-a&header=Keep-Alive:1&header=X-A:1"
        came = await client.answer(client.request("/status/200" + named))
    assert came.headers["x-a"] == "1"
    assert not {"connection", "keep-alive"} & came.headers.keys()
