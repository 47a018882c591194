"""Requests that are alike but for some values: whatever a connection remembers of earlier heads, each is read, judged and sent
on as it would be if nothing were remembered.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from idtoken_proxy.engine.http2.hpack_encoder import literal
from idtoken_proxy.engine.http2.huffman import encode as squeezed
from idtoken_proxy.settings.model import UpstreamProtocol
from tests.cases import and_thoroughly
from tests.hostile.raw_http2 import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    Attacked,
    Raw,
    Seen,
    attacked,
    frame,
    serve,
)

WITHOUT_INDEX, NEVER_INDEXED, INDEXED = 0x00, 0x10, 0x40
ALL_BUT_ONE: Final = 0x7F  # of 128 values: the length of a string of HPACK within one octet

Values = Callable[[random.Random], bytes]


def of(*values: bytes) -> Values:
    """The first one mostly."""
    return lambda chance: values[0] if chance.random() < 0.7 else chance.choice(values)


def number(chance: random.Random) -> bytes:
    return b"%d" % chance.randrange(10**6)


def target(chance: random.Random) -> bytes:
    odd = chance.random() < 0.05
    return (
        chance.choice([b"", b"x", b"/%zz", b"/a b", b"/\xff", b"*", b"/a//..", b"/a#b"])
        if odd
        else b"/" + number(chance)
    )


# What says how a request is framed, charged, guarded or passed on stands beside what says nothing.
USUAL: Final[dict[bytes, Values]] = {
    b":method": of(b"GET", b"POST", b"HEAD"),
    b":scheme": of(b"http", b"http", b"http", b"https"),
    b":authority": of(b"localhost", b"localhost", b"localhost", b"evil.example"),
    b":path": target,
}
OTHERS: Final[dict[bytes, Values]] = {
    b"content-type": of(b"application/grpc", b"application/json", b"application/grpc+proto"),
    b"te": of(b"trailers", b"gzip"),
    b"content-length": of(b"0", b"0", b"5", b"-1", b"x"),
    b"cookie": of(b"a=b", b"c=d"),
    b"authorization": of(b"Bearer mine", b"Basic eA=="),
    b"x-serverless-authorization": of(b"Bearer mine"),
    b"expect": of(b"100-continue", b"200-ok"),
    b"grpc-timeout": of(b"10S", b"20S", b"nonsense"),
    b"origin": of(b"http://localhost", b"https://evil.example"),
    b"sec-fetch-site": of(b"cross-site", b"same-origin"),
    b"host": of(b"localhost", b"evil.example"),
    b"connection": of(b"close"),
    b"x-forwarded-for": of(b"1.2.3.4"),
    b"x-forwarded-proto": of(b"https"),
    b"forwarded": of(b"for=1.2.3.4"),
    b"via": of(b"1.1 another"),
    b"traceparent": number,
    b"x-request-id": number,
    b"user-agent": of(b"grpc-python/1.80", b"\xe9"),
    b"X-Upper": of(b"case"),
    b"x-goog-user-project": of(b"mine", b"yours"),
    b"x-odd": of(b"", b" blank", b"nul\0", b"v"),
}


class Template(NamedTuple):
    fields: list[tuple[bytes, int, bool]]  # name, representation, whether the value is squeezed
    values: list[Values]
    ends: bool

    @classmethod
    def made(cls, chance: random.Random) -> Template:
        names = [*USUAL, *chance.sample(sorted(OTHERS), chance.randrange(5))]
        if chance.random() < 0.2:
            names.append(chance.choice(names))
        if chance.random() < 0.2:
            chance.shuffle(names)
        # A block of nothing but literals without indexing leaves the table alone: of these the most is remembered.
        odd = 0.25 if chance.random() < 0.3 else 0.0
        fields = [
            (
                name,
                chance.choice([NEVER_INDEXED, INDEXED]) if chance.random() < odd else WITHOUT_INDEX,
                chance.random() < 0.3,
            )
            for name in names
        ]
        return cls(fields, [(USUAL | OTHERS)[name] for name in names], chance.random() < 0.8)

    def block(self, chance: random.Random, usual: dict[bytes, bytes]) -> bytes:
        """`usual`: the values that most heads of this template share."""
        block = b""
        for (name, representation, huffman), values in zip(self.fields, self.values, strict=True):
            value = usual[name] if chance.random() < 0.93 and name != b":path" else values(chance)
            prefix = 0x3F if representation == INDEXED else 0x0F
            if huffman:
                text = squeezed(value)
                assert len(text) < ALL_BUT_ONE
                block += (
                    literal(0, name, b"", representation, prefix)[:-1] + bytes((0x80 | len(text),)) + text
                )
            else:
                block += literal(0, name, value, representation, prefix)
        return block


def _said(seen: Seen) -> tuple[object, ...]:
    heads = [[pair for pair in head if pair[0] != b"date"] for head in seen.heads]
    return heads, seen.body, seen.ended, seen.reset


class Heads:
    """What the receiver was asked since the last look. Fields of different names may stand in any order."""

    def __init__(self, world: Attacked) -> None:
        self._world = world
        self._connections: list[Raw] = []
        self._counts: list[int] = []

    def new(self) -> list[list[tuple[bytes, bytes]]]:
        for wire in self._world.receiver.connections[len(self._connections) :]:
            self._connections.append(Raw(wire, PREFACE))
            self._counts.append(0)
        heads = []
        for place, raw in enumerate(self._connections):
            raw.look()
            seen = [one.heads[0] for one in list(raw.streams.values())[self._counts[place] :]]
            self._counts[place] += len(seen)
            heads += [sorted(head, key=lambda pair: pair[0]) for head in seen]
        return heads


async def _one(app: Raw, stream_id: int, block: bytes, *, ends: bool) -> tuple[object, ...]:
    app.send(frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream_id, block))
    if not ends:
        app.send(frame(0, END_STREAM, stream_id, b""))
    await app.until(lambda app: app.stream(stream_id).over or app.goaways)
    return _said(app.stream(stream_id))


@pytest.mark.parametrize("requests", and_thoroughly(120, 4000))
async def test_each_is_what_it_would_be_on_a_connection_of_its_own(tmp_path: Path, requests: int) -> None:
    chance = random.Random(12)
    reached = 0
    async with attacked(tmp_path, serve, protocol=UpstreamProtocol.HTTP2) as world:
        received = Heads(world)
        for _ in range(requests // 20):
            template = Template.made(chance)
            usual = {
                name: values(chance)
                for (name, _, _), values in zip(template.fields, template.values, strict=True)
            }
            long = await world.app()
            for turn in range(20):
                block = template.block(chance, usual)
                if long.wire.ended or long.goaways:
                    long = await world.app()
                stream_id = max(long.streams, default=-1) + 2 | 1
                remembered = await _one(long, stream_id, block, ends=template.ends)
                at_receiver = received.new()
                fresh = await world.app()
                assert remembered == await _one(fresh, 1, block, ends=template.ends), (turn, block)
                assert at_receiver == received.new(), (turn, block)
                reached += len(at_receiver)
                fresh.close()
            long.close()
    assert reached > requests / 8  # that many were good enough for the receiver
