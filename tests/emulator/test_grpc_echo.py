"""All four kinds of calls, as grpcio makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import aio

from idtoken_proxy.emulator.emulator import Emulator
from tests.cases import for_each
from tests.emulator.conftest import LOGIN
from tests.emulator.grpc_client import Client, dialled, invoker


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    async with dialled(emulator.urls["profiles"], invoker(emulator, "profiles")) as dialling:
        yield dialling


async def test_unary(client: Client) -> None:
    answer = await client.unary({"text": "hallo, wörld", "payload": b"\0\xff", "tell": True})
    assert (answer["text"], answer["payload"]) == ("hallo, wörld", b"\0\xff")
    assert (answer["number"], answer["octets"], answer["service"]) == (1, 2, "profiles")
    assert answer["caller"] == LOGIN.email
    came = {one["name"]: one["value"] for one in answer["metadata"]}
    assert came["te"] == "trailers"
    assert came["authorization"].endswith("SIGNATURE_REMOVED_BY_GOOGLE")


async def test_server_stream(client: Client) -> None:
    answers = [one async for one in client.server_stream({"text": "a", "count": 3, "answer_octets": 100_000})]
    assert [(one["number"], len(one["payload"])) for one in answers] == [
        (1, 100_000),
        (2, 100_000),
        (3, 100_000),
    ]


async def test_client_stream(client: Client) -> None:
    call = client.client_stream()
    for number in range(5):
        await call.write({"text": str(number), "payload": bytes(50_000)})
    await call.done_writing()
    answer = await call
    assert (answer["text"], answer["number"], answer["octets"]) == ("4", 5, 250_000)


async def test_client_stream_of_nothing(client: Client) -> None:
    call = client.client_stream()
    await call.done_writing()
    assert (await call)["number"] == 0


async def test_bidi_stream_answers_as_it_is_asked(client: Client) -> None:
    call = client.bidi_stream()
    await call.initial_metadata()  # before anything was said
    for number in range(3):
        await call.write({"text": str(number), "count": 2})
        assert [(await call.read())["text"], (await call.read())["text"]] == [str(number)] * 2
    await call.done_writing()
    assert await call.read() is aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_delay_is_before_each_answer(client: Client) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = [one async for one in client.server_stream({"count": 2, "delay_ms": 60})]
    assert len(answers) == 2
    assert loop.time() - began >= 0.12


@for_each("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_a_status_is_what_was_asked_for(client: Client, code: grpc.StatusCode) -> None:
    with pytest.raises(aio.AioRpcError) as told:
        await client.unary({"status": code.value[0], "message": "100 % of wörds\nand lines"})
    assert told.value.code() is code
    assert told.value.details() == "100 % of wörds\nand lines"


async def test_a_status_behind_answers(client: Client) -> None:
    call = client.server_stream({"count": 2, "status": 9, "message": "enough"})
    assert [(await call.read())["number"], (await call.read())["number"]] == [1, 2]
    assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert await call.details() == "enough"


async def test_a_status_ends_a_call_whose_client_goes_on(client: Client) -> None:
    for call, is_answered in ((client.client_stream(), False), (client.bidi_stream(), True)):
        await call.write({"text": "first"})
        if is_answered:
            assert (await call.read())["text"] == "first"
        await call.write({"status": 10, "message": "stop"})
        assert await call.code() is grpc.StatusCode.ABORTED
        assert await call.details() == "stop"


@pytest.mark.parametrize("status", [0, 5])
async def test_metadata_comes_back_in_the_head_and_in_the_trailers(client: Client, status: int) -> None:
    sent = (
        ("x-echo-initial", "a"),
        ("x-echo-trailing-bin", b"\0\1\xff"),
        ("x-echo-trailing", "b"),
        ("x-other", "c"),
    )
    call = client.unary({"status": status}, *sent)
    assert (await call.code()).value[0] == status
    trailing = dict(await call.trailing_metadata())
    # A call that says nothing but its end has one section of fields.
    initial = dict(await call.initial_metadata()) if not status else trailing
    assert initial["x-echo-initial"] == "a"
    assert (trailing["x-echo-trailing-bin"], trailing["x-echo-trailing"]) == (b"\0\1\xff", "b")
    assert "x-other" not in {**initial, **trailing}
