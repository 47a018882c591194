"""Frames, deadlines, cancellation and the end of a call; raw where no client of gRPC does such things."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc import aio

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.grpc_echo import REPLY, REQUEST
from idtoken_proxy.emulator.grpc_messages import decode, encode
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Cancelled
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from tests.cases import for_each
from tests.emulator.conftest import WORLD
from tests.emulator.grpc_client import dialled
from tests.emulator.http2_client import Came, connected

UNARY = "/idtoken_proxy.Echo/Unary"


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


async def called(emulator: Emulator, body: bytes, *fields: tuple[str, str], path: str = UNARY) -> Came:
    async with connected(emulator.urls["public"]) as client:
        head = (("content-type", "application/grpc+proto"), ("te", "trailers"), *fields)
        return await client.answer(client.request(path, *head, method="POST", body=body))


async def test_a_call_is_head_messages_and_trailers(emulator: Emulator) -> None:
    came = await called(emulator, framed(encode(REQUEST, {"text": "a"})))
    assert came.headers.items() >= {":status": "200", "content-type": "application/grpc"}.items()
    assert "grpc-status" not in came.headers
    assert came.body[:1] == b"\0"
    assert int.from_bytes(came.body[1:5], "big") == len(came.body) - 5
    assert decode(REPLY, came.body[5:])["text"] == "a"
    assert came.trailers == {"grpc-status": "0"}


async def test_what_fails_before_it_says_anything_is_one_head(emulator: Emulator) -> None:
    came = await called(emulator, framed(encode(REQUEST, {"status": 7, "message": "né\t%"})))
    assert came.head_ended_it
    assert (came.headers[":status"], came.headers["grpc-status"]) == ("200", "7")
    assert came.headers["grpc-message"] == "n%C3%A9%09%25"
    assert "content-length" not in came.headers


async def test_a_message_keeps_the_blanks_at_its_ends(emulator: Emulator) -> None:
    came = await called(emulator, framed(encode(REQUEST, {"status": 7, "message": "  a b\n "})))
    assert came.headers["grpc-message"] == "%20%20a b%0A%20"
    came = await called(emulator, framed(encode(REQUEST, {"status": 7, "message": " "})))
    assert came.headers["grpc-message"] == "%20"


@for_each(
    ("body", "status"),
    [
        (b"", 12),
        (framed(b"") * 2, 12),
        (framed(b"", flag=1), 12),
        (framed(b"\x0a\x05abc"), 13),
        (framed(b"abc")[:-1], 13),
        (framed(b"abc")[:3], 13),
        (b"\0\xff\xff\xff\xff", 8),
    ],
    ids=["no request", "two", "compressed", "no message", "cut in a message", "cut in its head", "too large"],
)
async def test_what_is_no_request_has_a_status(emulator: Emulator, body: bytes, status: int) -> None:
    came = await called(emulator, body)
    assert (came.status, came.headers["grpc-status"]) == (200, str(status))


@pytest.mark.parametrize(("said", "status"), [("50m", "4"), ("50000u", "4"), ("1H", "0"), ("x", "13")])
async def test_grpc_timeout_is_the_deadline(emulator: Emulator, said: str, status: str) -> None:
    body = framed(encode(REQUEST, {"delay_ms": 150}))
    came = await called(emulator, body, ("grpc-timeout", said))
    assert {**came.headers, **came.trailers}["grpc-status"] == status


async def test_a_deadline_within_a_stream_is_in_its_trailers(emulator: Emulator) -> None:
    body = framed(encode(REQUEST, {"delay_ms": 10, "count": 10_000}))
    came = await called(emulator, body, ("grpc-timeout", "500m"), path="/idtoken_proxy.Echo/ServerStream")
    assert came.body
    assert came.trailers["grpc-status"] == "4"


async def test_grpcio_s_deadline(emulator: Emulator) -> None:
    async with dialled(emulator.urls["public"]) as client:
        with pytest.raises(aio.AioRpcError) as told:
            await client.unary({"delay_ms": 5000}, timeout=0.1)
    assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_cancelled_call_is_told_of(keys: Keys) -> None:
    told: list[Cancelled] = []
    async with (
        Emulator(WORLD, keys=keys, on_cancel=told.append) as emulator,
        dialled(emulator.urls["public"]) as client,
    ):
        call = client.server_stream({"count": 100, "delay_ms": 20})
        await call.read()
        call.cancel()
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.01)
    assert told == [Cancelled("public", "POST", "/idtoken_proxy.Echo/ServerStream", ErrorCode.CANCEL)]


async def test_more_calls_than_a_connection_has_streams_wait_for_their_turn(emulator: Emulator) -> None:
    async with dialled(emulator.urls["public"]) as client:
        calls = [client.unary({"text": str(number), "delay_ms": 100}) for number in range(250)]
        answers = await asyncio.gather(*calls)
    assert [answer["text"] for answer in answers] == [str(number) for number in range(250)]
