"""The table of a proxy's life, and what follows from it to the outside: probes, drains, systemd."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from idtoken_proxy import lifecycle
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.identity.clock import SystemClock
from idtoken_proxy.lifecycle import (
    DRAIN,
    DRAINING,
    END,
    SERVING,
    STARTED,
    STARTING,
    STOPPED,
    TRANSITIONS,
    Lifecycle,
)
from idtoken_proxy.reload import USUAL_PACE, keep_reloading
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Settings
from tests.cases import for_each
from tests.engine.proxied import make_token, route_to, settings_for
from tests.engine.wire import eventually
from tests.scripted import Scripted

# -- the table -------------------------------------------------------------------


def test_every_state_knows_every_event() -> None:
    assert set(TRANSITIONS) == {STARTING, SERVING, DRAINING, STOPPED}
    for state, after in TRANSITIONS.items():
        assert set(after) == {STARTED, DRAIN, END}, state
        assert set(after.values()) <= set(TRANSITIONS)


def test_nothing_leads_back() -> None:
    order = [STARTING, SERVING, DRAINING, STOPPED]
    for state, after in TRANSITIONS.items():
        for following in after.values():
            assert order.index(following) >= order.index(state)


@for_each(
    ("events", "told", "started"),
    [
        ([STARTED, DRAIN, END], [SERVING, DRAINING, STOPPED], True),
        ([STARTED, STARTED, DRAIN, DRAIN, STARTED, END, END, DRAIN], [SERVING, DRAINING, STOPPED], True),
        ([DRAIN, STARTED, END], [DRAINING, STOPPED], False),
        ([END], [STOPPED], False),
        ([END, STARTED], [STOPPED], False),
        ([], [], False),
    ],
)
def test_each_change_is_told_once_and_having_started_stays(
    events: list[str], told: list[str], *, started: bool
) -> None:
    changes: list[str] = []
    life = Lifecycle(changes.append)
    for event in events:
        life.on(event)
    assert changes == told
    assert life.started is started
    assert life.settled.is_set() is bool(told)
    assert life.ending.is_set() is bool(told and told != [SERVING])


def test_nobody_has_to_be_told() -> None:
    life = Lifecycle()
    life.on(lifecycle.DRAIN)
    assert life.state == DRAINING


# -- a server's ------------------------------------------------------------------


@pytest.fixture
def systemd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0idtoken-proxy-test-{id(heard)}")
        heard.setblocking(False)
        yield heard


def heard_by(systemd: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return said


class Wall:
    """The world's clock, unless somebody sets it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    made = Wall()
    monkeypatch.setattr(SystemClock, "wall", staticmethod(made))
    return made


@pytest.fixture
async def server(tmp_path: Path, systemd: socket.socket, wall: Wall) -> AsyncIterator[Server]:
    """Whose token is still to come."""
    environ = {"NOTIFY_SOCKET": "@" + systemd.getsockname()[1:].decode()}
    made = Server(settings_for(route_to(1, tmp_path / "token")), environ)
    await made.start()
    yield made
    await made.stop(drain=0)


async def token_comes(server: Server, tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "token").write_text, make_token())
    await eventually(lambda: server.started, "never started")


async def test_it_has_started_with_the_first_token_and_stays_so(
    server: Server, tmp_path: Path, systemd: socket.socket, wall: Wall
) -> None:
    await eventually(lambda: server.slots["receiver"].status().error is not None, "the first fetch")
    assert (server.started, server.ready, server.status()["state"]) == (False, False, STARTING)
    waiting = "STATUS=waiting for the first token of receiver"
    assert heard_by(systemd)[-1] == f"{waiting} (file_missing)"
    await token_comes(server, tmp_path)
    assert (server.ready, server.status()["state"]) == (True, SERVING)
    assert heard_by(systemd) == ["READY=1\nSTATUS=serving"]

    # A token that was lost makes it unready, and not unstarted.
    token = server.slots["receiver"].current()
    assert token is not None
    wall.ahead = 7200.0
    assert (server.started, server.ready, server.status()["state"]) == (True, False, SERVING)

    server.quit()
    assert (server.started, server.ready) == (True, False)
    told = server.status()
    assert (told["state"], told["draining"]) == (DRAINING, True)
    server.quit()
    assert heard_by(systemd) == ["STOPPING=1\nSTATUS=draining"]
    await server.stop(drain=0)
    assert (server.started, server.ready, server.lifecycle.state) == (True, False, STOPPED)
    assert heard_by(systemd) == []


async def test_a_drain_before_the_first_token_is_one(
    server: Server, tmp_path: Path, systemd: socket.socket
) -> None:
    server.quit()
    await asyncio.to_thread((tmp_path / "token").write_text, make_token())
    await eventually(lambda: server.slots["receiver"].current() is not None, "the token")
    assert (server.started, server.ready, server.lifecycle.state) == (False, False, DRAINING)
    assert heard_by(systemd)[-1:] == ["STOPPING=1\nSTATUS=draining"]


async def test_a_reload_may_be_what_it_takes_to_start(server: Server, tmp_path: Path) -> None:
    assert server.lifecycle.state == STARTING
    await server.reload(settings_for(route_to(1, None, identity=NoIdentity(), audience=None)))
    assert server.started
    assert server.ready


async def test_a_reload_is_told_to_systemd_and_so_is_one_that_was_refused(
    server: Server, tmp_path: Path, systemd: socket.socket
) -> None:
    answers: list[Settings | None] = [server.settings, None, server.settings]

    def load() -> Settings:
        settings = answers.pop()
        if settings is None:
            raise ConfigError(())
        return settings

    source = Scripted(load)
    asked = asyncio.ensure_future(keep_reloading(server, source, USUAL_PACE))

    async def reload() -> list[str]:
        left = len(answers)
        await asyncio.sleep(0)
        signal_itself()
        await eventually(lambda: len(answers) < left, "no reload")
        await asyncio.sleep(0.05)
        return heard_by(systemd)

    try:
        heard_by(systemd)
        assert not any("READY" in said for said in await reload())  # not started: READY=1 would be a lie
        await token_comes(server, tmp_path)
        heard_by(systemd)
        for _ in range(2):
            before, after = await reload()
            first, time = before.split("\n")
            assert first == "RELOADING=1"
            assert int(time.removeprefix("MONOTONIC_USEC=")) > 0
            assert after == "READY=1"
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


def signal_itself() -> None:
    os.kill(os.getpid(), signal.SIGHUP)
