"""Empty lines before a request (RFC 9112 section 2.2): let through, and no way to keep the proxy busy or a connection open."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType

from tests.hostile.case import CANARY
from tests.hostile.offline import Offline


async def test_a_flood_of_them_costs_what_it_is_long() -> None:
    app, _ = Offline().app()
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        app.say(b"\r\n" * 128 * 1024)  # as much as a loop reads at once
    finally:
        sys.setprofile(None)
    assert calls < 100
    app.end()


async def test_they_put_off_no_deadline() -> None:
    offline = Offline()
    app, protocol = offline.app()
    app.say(b"\r\n")
    deadline = protocol.deadline
    assert deadline == offline.sweeper.now + 10.0
    for piece in (b"\r\n", b"\r", b"\n", b"\r\n\r", b"\nGET / HTTP/1.1\r\n", b"X"):
        offline.sweeper.now += 1.0
        app.say(piece)
        assert protocol.deadline == deadline
    app.end()


async def test_the_next_head_has_its_own_deadline() -> None:
    offline = Offline()
    outcome = offline.send(b"\r\n\r\n" + CANARY.replace(b"Connection: close\r\n", b"") + b"\r\n" + CANARY)
    assert outcome.statuses == (200, 200)
    app, protocol = offline.app()
    app.say(CANARY.replace(b"Connection: close\r\n", b"").replace(b"localhost", b"evil"))
    assert protocol.deadline == offline.sweeper.now + 75.0
    offline.sweeper.now += 5.0
    app.say(b"G")
    assert protocol.deadline == offline.sweeper.now + 10.0
    app.end()
    await asyncio.sleep(0)
