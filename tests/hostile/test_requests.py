"""Every hostile request, at a proxy that runs: whole, octet by octet, at every split, and with another one behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from tests.cases import for_each
from tests.hostile.bodies import BODIES
from tests.hostile.callers import CALLERS
from tests.hostile.case import CANARY, Case
from tests.hostile.framings import CODED, COUNTED
from tests.hostile.lines import FIELDS, LINE_END_CASES, REQUEST_LINES
from tests.hostile.oddities import ODDITIES, Oddity
from tests.hostile.strict import Reader
from tests.hostile.targets import ABSOLUTES, WAYS_OUT
from tests.hostile.tokens import TOKENS
from tests.hostile.world import World

HOSTILE = {
    "request lines": REQUEST_LINES,
    "line ends": LINE_END_CASES,
    "field lines": FIELDS,
    "transfer codings": CODED,
    "lengths": COUNTED,
    "bodies": BODIES,
    "targets and hosts": ABSOLUTES,
    "ways out": WAYS_OUT,
}
PART = 4
SHARE = 40
SHORT = 120  # octets of a case that is cut at every place


def _refusal(answer: bytes, case: Case | Oddity) -> int:
    """One whole answer of the proxy's own, and the end."""
    reader = Reader(answer)
    head = reader.response()
    assert not reader.left, (case.name, reader.left)
    assert head.one(b"content-type") == b"application/problem+json", (case.name, head)
    assert head.one(b"connection") == b"close", (case.name, head)
    return head.status


async def refused(world: World, case: Case, at: Iterable[int] = ()) -> None:
    answer = await world.say(case.wire + CANARY, at=at)
    assert _refusal(answer, case) == case.status, (case.name, answer)
    for record in await world.seen():
        assert case.cut, (case.name, record)
        assert not record.requests, (case.name, record)


@for_each("family", HOSTILE)
async def test_nothing_malformed_becomes_a_request_upstream(proxied_world: World, family: str) -> None:
    for case in HOSTILE[family].values():
        await refused(proxied_world, case)


@for_each("family", HOSTILE)
async def test_nor_does_it_octet_by_octet(proxied_world: World, family: str) -> None:
    """A part of them over real sockets, as below."""
    for case in list(HOSTILE[family].values())[::PART]:
        if len(case.wire) <= SHORT:
            await refused(proxied_world, case, at=range(1, len(case.wire + CANARY)))


@for_each("family", HOSTILE)
async def test_nor_cut_at_any_place(proxied_world: World, family: str) -> None:
    """A share of them over real sockets; test_offline.py cuts every one."""
    for case in list(HOSTILE[family].values())[::SHARE]:
        if len(case.wire) <= SHORT:
            wire = case.wire + CANARY
            answers = await asyncio.gather(*(proxied_world.say(wire, at=[at]) for at in range(1, len(wire))))
            for answer in answers:
                assert _refusal(answer, case) == case.status, (case.name, answer)
            for record in await proxied_world.seen():
                assert case.cut, (case.name, record)
                assert not record.requests, (case.name, record)


async def test_no_page_and_no_rebound_name_reaches_the_receiver(proxied_world: World) -> None:
    for case in CALLERS.values():
        # The connection may stay where nothing is unclear; a malformed request ends it.
        answer = await proxied_world.say(case.wire + b"\0\r\n\r\n")
        head = Reader(answer).response()
        assert head.status == case.status, (case.name, answer)
        assert not head.all(b"access-control-allow-origin"), case.name
        assert not await proxied_world.seen(), case.name
    assert not proxied_world.receiver.connections


async def test_no_token_is_lost_doubled_or_replaced(proxied_world: World) -> None:
    for case in TOKENS.values():
        answer = await proxied_world.say(case.wire + CANARY)
        assert Reader(answer).response().status == case.status, (case.name, answer)
        requests = [request for record in await proxied_world.seen() for request in record.requests]
        expected = [b"/"] if b"close" in case.wire else [b"/", b"/canary"]
        assert [request.target for request in requests] == expected, case.name
        assert requests[0].body == b"hello", case.name


def _passes(answer: bytes, requests: list[tuple[bytes, bytes]], odd: Oddity) -> None:
    """Both were answered, and both went upstream."""
    reader = Reader(answer)
    assert reader.response(odd.method).status == 200, (odd.name, answer)
    if odd.wire.find(b"HTTP/1.0") < 0:
        assert reader.response().status == 200, (odd.name, answer)
        assert requests == [(odd.method, odd.target), (b"GET", b"/canary")], odd.name
    assert not reader.left, odd.name


@pytest.mark.parametrize("pieces", ["whole", "octets", "halves"])
async def test_the_well_formed_passes_however_odd(proxied_world: World, pieces: str) -> None:
    for odd in ODDITIES.values():
        wire = odd.wire + CANARY
        if pieces == "octets" and len(wire) > 400:
            continue
        at = {"whole": (), "octets": range(1, len(wire)), "halves": (len(odd.wire) // 2, len(odd.wire))}[
            pieces
        ]
        answer = await proxied_world.say(wire, at=at)
        requests = [request for record in await proxied_world.seen() for request in record.requests]
        _passes(answer, [(request.start[0], request.target) for request in requests], odd)
        first = requests[0]
        assert first.body == odd.body, odd.name
        for field in odd.fields:
            assert field in first.fields, (odd.name, field)


def test_there_are_enough_of_them() -> None:
    assert sum(map(len, HOSTILE.values())) >= 1500
    assert len(ODDITIES) >= 60
