"""`idtoken_proxy.Echo`: what was said comes back, in all four kinds of calls, as often, as late and with what status as was
asked for.

Metadata comes back too: what has `echo-initial` in its name in the head, what has `echo-trailing` in its name in the
trailers, as in gRPC's own interoperability tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from idtoken_proxy.emulator.grpc_call import Call, Status
from idtoken_proxy.emulator.grpc_messages import Field, Kind, Message
from idtoken_proxy.emulator.grpc_services import Method, Service

NAME: Final = "idtoken_proxy.Echo"
REQUEST: Final = Message(
    "idtoken_proxy.EchoRequest",
    (
        Field("text", 1, Kind.STRING),  # comes back
        Field("payload", 2, Kind.BYTES),  # comes back
        Field(
            "count", 3, Kind.UINT32
        ),  # so many answers, where there may be several; 0: one, or none with a status
        Field("delay_ms", 4, Kind.UINT32),  # before each answer
        Field("status", 5, Kind.INT32),  # ends the call behind the answers
        Field("message", 6, Kind.STRING),  # of that status
        Field("answer_octets", 7, Kind.UINT32),  # a payload of so many octets, in place of the one that came
        Field("tell", 8, Kind.BOOL),  # the first answer says who calls, and what metadata came
    ),
)
METADATA: Final = Message(
    "idtoken_proxy.Metadata", (Field("name", 1, Kind.STRING), Field("value", 2, Kind.STRING))
)
REPLY: Final = Message(
    "idtoken_proxy.EchoReply",
    (
        Field("text", 1, Kind.STRING),
        Field("payload", 2, Kind.BYTES),
        Field("number", 3, Kind.UINT32),  # of this answer; of ClientStream's: how many requests there were
        Field("octets", 4, Kind.UINT64),  # of all payloads that came so far
        Field("service", 5, Kind.STRING),
        Field("caller", 6, Kind.STRING),
        Field("metadata", 7, Kind.MESSAGE, METADATA, repeated=True),
    ),
)


class _Answers:
    """Of one call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._number = 0
        self._octets = 0
        for name, value in call.metadata:
            if "echo-initial" in name.lower():
                call.head.append((name, value))
            elif "echo-trailing" in name.lower():
                call.trailers.append((name, value))

    def count(self, asked: Mapping[str, Any]) -> None:
        self._octets += len(asked["payload"])

    async def give(self, asked: Mapping[str, Any], number: int | None = None) -> None:
        if asked["delay_ms"]:
            await asyncio.sleep(asked["delay_ms"] / 1000)
        self._number += 1
        answer = {
            "text": asked["text"],
            "payload": bytes(asked["answer_octets"]) if asked["answer_octets"] else asked["payload"],
            "number": self._number if number is None else number,
            "octets": self._octets,
            "service": self._call.delivered.service,
        }
        if asked["tell"] and self._number == 1:
            answer["caller"] = str((self._call.delivered.claims or {}).get("email", ""))
            answer["metadata"] = [{"name": name, "value": value} for name, value in self._call.metadata]
        await self._call.send(REPLY, answer)

    async def give_all(self, asked: Mapping[str, Any]) -> None:
        for _ in range(asked["count"] or (0 if asked["status"] else 1)):
            await self.give(asked)
        _end(asked)


def _end(asked: Mapping[str, Any]) -> None:
    if asked["status"]:
        raise Status(asked["status"], asked["message"])


async def _unary(call: Call) -> None:
    answers = _Answers(call)
    asked = await call.request(REQUEST)
    answers.count(asked)
    if asked["status"]:
        await asyncio.sleep(asked["delay_ms"] / 1000)
    _end(asked)
    await answers.give(asked)


async def _server_stream(call: Call) -> None:
    answers = _Answers(call)
    asked = await call.request(REQUEST)
    answers.count(asked)
    await answers.give_all(asked)


async def _client_stream(call: Call) -> None:
    """The last request says how the answer is; one with a status ends the call at once."""
    answers = _Answers(call)
    last: Mapping[str, Any] | None = None
    number = 0
    async for asked in call.requests(REQUEST):
        number += 1
        answers.count(asked)
        _end(asked)
        last = asked
    absent: dict[str, Any] = {field.name: field.default for field in REQUEST.fields}
    await answers.give(absent if last is None else last, number)


async def _bidi_stream(call: Call) -> None:
    """Each request has its answers before the next is read; one with a status ends the call behind them."""
    answers = _Answers(call)
    await call.begin()  # whoever waits for the head before it says anything, gets it
    async for asked in call.requests(REQUEST):
        answers.count(asked)
        await answers.give_all(asked)


ECHO: Final = Service(
    NAME,
    "idtoken_proxy/echo.proto",
    (REQUEST, METADATA, REPLY),
    (
        Method("Unary", REQUEST, REPLY, _unary),
        Method("ServerStream", REQUEST, REPLY, _server_stream, server_streams=True),
        Method("ClientStream", REQUEST, REPLY, _client_stream, client_streams=True),
        Method("BidiStream", REQUEST, REPLY, _bidi_stream, client_streams=True, server_streams=True),
    ),
)
