"""Every hostile answer, from a receiver that is connected to: the app sees a 502 or a broken connection, nothing behind
the answer is anybody's, and an answer cut at any place is never a whole one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import for_each
from tests.engine.wire import Wire, turns
from tests.hostile.answers import BODIES, FRAMINGS, HEADS, POISON, Answer
from tests.hostile.strict import Head, Incomplete, Reader
from tests.hostile.world import World, world

FAMILIES = {"heads": HEADS, "framings": FRAMINGS, "bodies": BODIES}
ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Said:
    """What the receiver says to each request on a connection's first; to any other it says that it should not be asked."""

    def __init__(self) -> None:
        self.wire = b""
        self.drip = False
        self.close = False

    async def script(self, wire: Wire) -> None:
        await wire.request()
        if self.drip:
            await wire.drip(self.wire)
        else:
            wire.send(self.wire)
        if self.close:
            wire.close()
            return
        await wire.request()
        wire.send(b"HTTP/1.1 299 Used Again\r\nContent-Length: 0\r\n\r\n")


async def ask(made: World, request: bytes = ASK) -> tuple[Head | None, bool]:
    """The head that the app saw, and whether its answer was whole."""
    method = request.partition(b" ")[0]
    app = await made.proxied.connect()
    app.send(request)
    try:
        while True:
            received = bytes(app.received)
            reader = Reader(received)
            try:
                head = reader.response(method, ended=app.ended and app.error is None)
                while head.status < 200:
                    head = reader.response(method, ended=app.ended and app.error is None)
            except Incomplete as incomplete:
                if app.ended:
                    return incomplete.head, False
                before = len(received)
                await app.wait(lambda before=before: len(app.received) > before or app.ended)  # type: ignore[misc]
            else:
                assert b"POISON" not in reader.left
                return head, True
    finally:
        app.close()
        made.proxied.clients.remove(app)


@for_each("pieces", ["whole", "octets"])
@for_each("family", FAMILIES)
async def test_the_malformed_is_502_or_breaks(tmp_path: Path, family: str, pieces: str) -> None:
    said = Said()
    said.drip = pieces == "octets"
    async with world(tmp_path, said.script) as made:
        for case in FAMILIES[family].values():
            if said.drip and len(case.wire) > 400:
                continue
            await malformed(made, said, case)


async def malformed(made: World, said: Said, case: Answer) -> None:
    off = case.name.startswith("broken off")
    said.wire, said.close = case.wire + (b"" if off else POISON), off
    head, whole = await ask(made)
    if case.cut:
        assert not whole, (case.name, head)
        assert head is None or head.status in (200, 502), (case.name, head)
    else:
        assert whole, (case.name, head)
        assert head is not None
        assert head.status == 502, (case.name, head)
        assert head.one(b"content-type") == b"application/problem+json", case.name
        assert b"POISON" not in head.body
    assert made.proxied.pool.live == 0, (case.name, made.proxied.pool)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: a\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-A: a\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    ],
)
async def test_cut_at_any_place_it_is_never_whole(tmp_path: Path, wire: bytes) -> None:
    said = Said()
    said.close = True
    async with world(tmp_path, said.script) as made:
        for at in range(len(wire)):
            said.wire = wire[:at]
            head, whole = await ask(made)
            if whole:  # the proxy's own word: nothing of a final answer had come
                assert head is not None
                assert head.status == 502, at
            assert made.proxied.pool.live == 0
        said.wire = wire
        head, whole = await ask(made)
        assert whole
        assert head is not None
        assert (head.status, head.body) == (200, b"hello world")


@for_each(
    ("answer", "to"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"GET"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 60\r\n\r\n", b"GET"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 60\r\n\r\n", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n", b"HEAD"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HEAD"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"GET"),
    ],
)
async def test_what_comes_behind_an_answer_is_nobodys(tmp_path: Path, answer: bytes, to: bytes) -> None:
    said = Said()
    said.wire = answer + POISON
    async with world(tmp_path, said.script) as made:
        for _ in range(3):
            head, whole = await ask(made, ASK.replace(b"GET", to))
            assert whole
            assert head is not None
            assert head.status == int(answer.split(b" ")[1]), head
            assert b"POISON" not in head.body
            await turns(5)
        assert len(made.receiver.connections) == 3


def test_there_are_enough_of_them() -> None:
    assert sum(map(len, FAMILIES.values())) >= 600
