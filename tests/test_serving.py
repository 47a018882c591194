"""What its callers see of a run; processes and their signals are in end_to_end/test_process.py and test_run.py."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from idtoken_proxy import serving
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Limits, Route, Settings, TcpAddress, Upstream

SETTINGS = Settings(
    (Route("it", Upstream("http", "127.0.0.1", 1), None, NoIdentity()),),
    listen=(TcpAddress("127.0.0.1", 0),),
    admin=None,
)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A run is a process's last: it leaves signals and the collector as they are."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(one) for one in signals]
    yield
    for one, handler in zip(signals, before, strict=True):
        signal.signal(one, handler)
    gc.unfreeze()
    gc.enable()


def test_the_collector_runs_from_the_start_on_and_leaves_alone_what_was_there() -> None:
    async def attend(server: Server) -> None:
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
        server.quit(reason="a test")

    gc.disable()
    assert serving.run(SETTINGS, attendant=attend) == 0


def test_it_ends_with_0_when_it_is_told_to() -> None:
    async def attend(server: Server) -> None:
        assert server.addresses
        server.quit(reason="a test")

    with capture_logs() as logs:
        assert serving.run(SETTINGS, attendant=attend) == 0
    assert [line["event"] for line in logs][-2:] == ["draining", "stopped"]


def test_what_its_attendant_raises_ends_it() -> None:
    attended: list[Server] = []

    async def attend(server: Server) -> None:
        attended.append(server)
        raise ProxyError("not ready")

    with pytest.raises(ProxyError, match="not ready"):
        serving.run(SETTINGS, attendant=attend)
    assert not attended[0].bound


def test_signals_that_end_it_are_its_attendants_affair() -> None:
    def mine(*_: Any) -> None: ...

    async def attend(server: Server) -> None:
        server.quit()

    signal.signal(signal.SIGTERM, mine)
    serving.run(SETTINGS, attendant=attend)
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # which would cut a drain short to the very end


def test_more_connections_than_there_are_descriptors_for_are_told_of() -> None:
    async def attend(server: Server) -> None:
        server.quit(reason="a test")

    many = replace(SETTINGS, limits=Limits(connections=1 << 40))
    with capture_logs() as logged:
        assert serving.run(many, attendant=attend) == 0
    (told,) = [line for line in logged if line["event"] == "too few file descriptors"]
    assert told["limit"] < told["needed"]
    assert "limits: {connections: " in told["remedy"]
