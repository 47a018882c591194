"""What must hold of any octets, from an app and from a receiver. An input is: how many cuts, where, and the octets.

Everything that `tests.hostile.judge` and `tests.hostile.strict` say of what is written is asserted on the way. What a target
gives back is all that was seen of it from outside: two builds of the same source give the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from idtoken_proxy.engine.http2.frames import PREFACE
from tests.fuzz import http2
from tests.hostile import answers, bodies, callers, framings, lines, oddities, targets, tokens
from tests.hostile.case import CANARY
from tests.hostile.offline import Offline
from tests.hostile.strict import Incomplete, Malformed, Reader

MOST_CUTS: Final = 7

Target = Callable[[Offline, bytes], object]


def packed(wire: bytes, *cuts: int) -> bytes:
    return bytes([len(cuts), *(cut % 256 for cut in cuts)]) + wire


def unpacked(data: bytes) -> tuple[list[int], bytes]:
    count = data[0] % (MOST_CUTS + 1) if data else 0
    wire = data[1 + count :]
    # A place within 256 octets, or that share of a longer input.
    return [at * max(1, len(wire) // 256) for at in data[1 : 1 + count]], wire


def requests(offline: Offline, data: bytes) -> object:
    """The app's octets: parsed, guarded, routed, mapped, written on; then read again by a stranger."""
    cuts, wire = unpacked(data)
    whole = offline.send(wire)
    told = offline.told
    cut = offline.send(wire, cuts)
    assert cut.settled == whole.settled, (wire, cuts)
    if set(whole.statuses) != {200}:
        return whole, told, cut, offline.told
    # As far as the strict reader reads the same octets, it reads the same messages: framing is one to both.
    for (method, _, _, body, *_), expected in zip(whole.requests, _strictly(wire), strict=False):
        assert (method, body) == expected, (wire, whole.requests)
    return whole, told, cut, offline.told


def _strictly(wire: bytes) -> Iterator[tuple[bytes, bytes]]:
    reader = Reader(wire)
    with contextlib.suppress(Malformed, Incomplete):
        while reader.left:
            head = reader.request()
            yield head.start[0], head.body


def responses(offline: Offline, data: bytes) -> object:
    """A receiver's octets: what the app sees is well-formed, and the same however they come."""
    cuts, wire = unpacked(data)
    seen: list[object] = []
    for method in (b"GET", b"HEAD"):
        head, whole = offline.answer(wire, request=method)
        again, whole_again = offline.answer(wire, cuts, request=method)
        assert whole_again == whole, (wire, cuts)
        if whole:
            assert head is not None
            assert again is not None
            assert head.status == again.status, (wire, cuts)
            assert head.status == 502 or (head.fields, head.body) == (again.fields, again.body), (wire, cuts)
        seen.append((head, whole))
    return seen


def http2_requests(_: Offline, data: bytes) -> object:
    return http2.requests(*unpacked(data))


def http2_responses(_: Offline, data: bytes) -> object:
    return http2.responses(*unpacked(data))


def hpack_blocks(_: Offline, data: bytes) -> object:
    return http2.blocks(*unpacked(data))


TARGETS: Final[dict[str, Target]] = {
    "requests": requests,
    "responses": responses,
    "http2_requests": http2_requests,
    "http2_responses": http2_responses,
    "hpack_blocks": hpack_blocks,
}
_HTTP2_SEEDS: Final = {
    "http2_requests": http2.request_seeds,
    "http2_responses": http2.response_seeds,
    "hpack_blocks": http2.block_seeds,
}


def seeds(name: str) -> Iterator[bytes]:
    """The tables of tests/hostile, and each well-formed message: a corpus that is built and not kept."""
    if name in _HTTP2_SEEDS:
        for wire in _HTTP2_SEEDS[name]():
            yield packed(wire, 1, len(wire) // 2)
    elif name == "requests":
        for table in (
            *(
                lines.REQUEST_LINES,
                lines.LINE_END_CASES,
                lines.FIELDS,
                framings.CODED,
                framings.COUNTED,
                bodies.BODIES,
            ),
            *(targets.ABSOLUTES, targets.WAYS_OUT, callers.CALLERS, tokens.TOKENS),
        ):
            for case in table.values():
                yield packed(case.wire + CANARY, 1, len(case.wire) // 2)
        for odd in oddities.ODDITIES.values():
            yield packed(odd.wire + CANARY, len(odd.wire) // 3)
        # No more of HTTP/2 than its beginning: its budgets go by the clock, which `http2_requests` holds still.
        yield packed(PREFACE, 5)
        yield packed(PREFACE[:18] + CANARY, 1, 13)
    else:
        for answer in (*answers.HEADS.values(), *answers.FRAMINGS.values(), *answers.BODIES.values()):
            yield packed(answer.wire, len(answer.wire) // 2)
        for body in (b"", b"hello", b"hello" * 100):
            yield packed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, 9)
            yield packed(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
                + body
                + b"\r\n0\r\n\r\n"
            )
            yield packed(b"HTTP/1.0 200 OK\r\n\r\n" + body)


@contextlib.contextmanager
def ready(target: Target) -> Iterator[Callable[[bytes], object]]:
    """An engine to be driven from plain functions: who asks for the running loop gets one that does not run meanwhile.
    What was put off takes its turn behind each input, or the loop would keep all of it.
    """
    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        async def make() -> Offline:
            return Offline()

        made = runner.run(make())

        def play(data: bytes) -> object:
            asyncio.events._set_running_loop(loop)
            try:
                seen = target(made, data)
            finally:
                asyncio.events._set_running_loop(None)
            loop.call_soon(loop.stop)
            loop.run_forever()
            return seen

        yield play
