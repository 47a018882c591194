"""Whatever comes in, and however it is cut: nothing, or well-formed requests with exactly one token of their route;
a well-formed answer, or one that is known not to be whole. Without sockets, so that there may be many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.cases import and_thoroughly, for_each
from tests.hostile import answers
from tests.hostile.case import CANARY, CHUNKS, GET, POST, Case
from tests.hostile.oddities import ODDITIES, Oddity
from tests.hostile.offline import Offline
from tests.hostile.test_requests import HOSTILE
from tests.hostile.tokens import TOKENS

ANSWERS = {"heads": answers.HEADS, "framings": answers.FRAMINGS, "bodies": answers.BODIES}
EVERYWHERE = 110  # octets of a message that is cut at every place, where it is one of the first of `each`
# The others are cut at every place of so many, each beginning one further than the one before.
each_place = pytest.mark.parametrize("each", and_thoroughly(64, 8))


@pytest.fixture(scope="module")
def offline() -> Iterator[Offline]:
    with asyncio.Runner() as runner:

        async def make() -> Offline:
            return Offline()

        made = runner.run(make())
        loop = runner.get_loop()
        asyncio._set_running_loop(loop)  # nothing here ever waits; what asks for the loop gets it
        yield made
        asyncio._set_running_loop(None)


def _places(wire: bytes, number: int, each: int) -> range:
    """Where the case of this number is cut. Cases of a family are much alike: together they are cut everywhere."""
    whole = number % each == 0 and len(wire) <= EVERYWHERE
    return range(1, len(wire)) if whole else range(1 + number % each, len(wire), each)


@each_place
@for_each("family", HOSTILE)
def test_no_cut_lets_a_hostile_request_through(offline: Offline, family: str, each: int) -> None:
    for number, case in enumerate(HOSTILE[family].values()):
        wire = case.wire + CANARY
        whole = offline.send(wire)
        assert (whole.requests, whole.statuses) == ((), (case.status,)), case.name
        assert whole.closed
        for at in _places(wire, number, each):
            assert offline.send(wire, [at]) == whole, (case.name, at)


@each_place
def test_no_cut_changes_an_odd_request(offline: Offline, each: int) -> None:
    pass_on: list[Oddity | Case] = [*ODDITIES.values(), *TOKENS.values()]
    for number, case in enumerate(pass_on):
        wire = case.wire + CANARY
        whole = offline.send(wire)
        assert whole.requests, case.name
        assert set(whole.statuses) == {200}, case.name
        if len(wire) <= 1000:
            for at in _places(wire, number, each):
                assert offline.send(wire, [at]) == whole, (case.name, at)


@each_place
@pytest.mark.parametrize("family", ANSWERS)
def test_no_cut_makes_a_hostile_answer_whole(offline: Offline, family: str, each: int) -> None:
    for number, case in enumerate(ANSWERS[family].values()):
        head, whole = offline.answer(case.wire)
        assert not whole if case.cut else (whole and head is not None and head.status == 502), case.name
        for at in _places(case.wire, number, each):
            cut, cut_whole = offline.answer(case.wire, [at])
            assert cut_whole == whole, (case.name, at)
            assert not whole or (cut is not None and cut.status == 502), (case.name, at)


# -- anything at all -----------------------------------------------------------

SPICE = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b'"',
        b"%2e%2e",
        b"/",
        b"\xff",
        b"0",
        b"5",
        b"0\r\n\r\n",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: authorization\r\n",
        b"Host: localhost\r\n",
    ),
    *(
        b"Authorization: Bearer x\r\n",
        b"X_Serverless_Authorization: y\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"5;a=b\r\nhello\r\n",
        b"\r\n\r\n",
        b"HTTP/1.0",
        b"chunked",
        b"gzip",
        b" \r\n",
        b"\x0b",
    ),
    *(
        b"GET /bounded/../x HTTP/1.1\r\n",
        b"GET /bounded/x HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"HEAD / HTTP/1.1\r\n",
    ),
]
BASES = [
    *(GET + b"\r\n", POST + b"Content-Length: 5\r\n\r\nhello", CHUNKS + b"5\r\nhello\r\n0\r\n\r\n", CANARY),
    b"GET /bounded/a HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
]
CUTS = st.lists(st.integers(1, 400), max_size=6)
CHANGE = st.tuples(
    st.sampled_from(["put", "drop", "flip"]), st.integers(0, 300), st.sampled_from(SPICE), st.integers(1, 12)
)


def changed(wire: bytes, changes: list[tuple[str, int, bytes, int]]) -> bytes:
    for kind, place, spice, count in changes:
        at = place % (len(wire) + 1)
        if kind == "put":
            wire = wire[:at] + spice + wire[at:]
        elif kind == "drop":
            wire = wire[:at] + wire[at + count :]
        else:
            wire = wire[:at] + bytes(octet ^ (1 << count % 8) for octet in wire[at : at + 1]) + wire[at + 1 :]
    return wire


STREAMS = st.tuples(
    st.lists(st.sampled_from(BASES), min_size=1, max_size=4).map(b"".join), st.lists(CHANGE, max_size=5)
).map(lambda drawn: changed(*drawn))
EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EXAMPLES
@given(
    st.one_of(STREAMS, st.binary(max_size=200), st.lists(st.sampled_from(SPICE), max_size=12).map(b"".join)),
    CUTS,
)
@example(CHUNKS + b"0\r\n\r\n" + CANARY, [1])
def test_whatever_an_app_sends(offline: Offline, wire: bytes, at: list[int]) -> None:
    whole = offline.send(wire)  # judges each request that went upstream
    assert offline.send(wire, at).settled == whole.settled


ANSWER_SPICE = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"HTTP/1.1 103 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\xff",
    ),
    *(
        b"HTTP/1.0",
        b" 204 X",
        b" 304 X",
        b" 101 X",
        b"Upgrade: websocket\r\n",
        b"chunked",
        b";a=b",
        b"X-A: a\r\n",
        b"Trailer: x\r\n",
    ),
]
ANSWER_BASES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: a\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]
ANSWER_CHANGE = st.tuples(
    st.sampled_from(["put", "drop", "flip"]),
    st.integers(0, 300),
    st.sampled_from(ANSWER_SPICE),
    st.integers(1, 12),
)
ANSWER_STREAMS = st.tuples(
    st.lists(st.sampled_from(ANSWER_BASES), min_size=1, max_size=3).map(b"".join),
    st.lists(ANSWER_CHANGE, max_size=5),
).map(lambda drawn: changed(*drawn))


@EXAMPLES
@given(st.one_of(ANSWER_STREAMS, st.binary(max_size=200)), CUTS, st.sampled_from([b"GET", b"HEAD"]))
def test_whatever_a_receiver_sends(offline: Offline, wire: bytes, at: list[int], method: bytes) -> None:
    head, whole = offline.answer(wire, request=method)  # reads strictly what the app was given
    again, whole_again = offline.answer(wire, at, request=method)
    assert whole_again == whole
    if whole:
        assert head is not None
        assert again is not None
        assert (again.status, again.status == 502 or again.body == head.body) == (head.status, True)


@EXAMPLES
@given(ANSWER_STREAMS, st.integers(0, 200))
def test_no_answer_that_was_cut_short_is_a_success(offline: Offline, wire: bytes, short: int) -> None:
    """Of an answer that frames itself, any beginning is a 502 or broken; one that ends with its connection cannot be told."""
    head, whole = offline.answer(wire)
    if not whole or head is None or head.status == 502 or offline.answer(wire, ended=False)[1] is False:
        return
    need = next(count for count in range(len(wire) + 1) if offline.answer(wire[:count], ended=False)[1])
    cut, cut_whole = offline.answer(wire[: min(short, need - 1)])
    assert not cut_whole or (cut is not None and cut.status == 502)
