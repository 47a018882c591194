from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from idtoken_proxy.engine.admission import UNKNOWN, admission_error
from idtoken_proxy.engine.listeners import Door, peer_uid
from idtoken_proxy.errors import Draining, Overloaded, ProxyError, Refused
from tests.cases import for_each

ME = os.getuid()


class Transport:
    def __init__(self, kernel: socket.socket) -> None:
        self.kernel = kernel

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.kernel


class ServerContext:
    closed = False
    busy = 9
    max_connections = 10
    allowed_uids: frozenset[int] | None = None


@pytest.fixture
def unix() -> Iterator[Transport]:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        yield Transport(here)


@pytest.fixture
def tcp() -> Iterator[Transport]:
    with socket.socket() as kernel:
        yield Transport(kernel)


def judged(transport: Transport, **changes: Any) -> ProxyError | None:
    context: Any = ServerContext()
    for name, value in changes.items():
        setattr(context, name, value)
    judging: Any = transport
    return admission_error(context, peer_uid(judging), Door())


def test_anybody_while_there_is_room(tcp: Transport) -> None:
    assert judged(tcp) is None
    full = judged(tcp, busy=10)
    assert isinstance(full, Overloaded)
    assert (full.status, full.limit) == (503, "connections")
    assert "10 connections are open" in full.detail


def test_nobody_who_comes_while_it_drains(tcp: Transport) -> None:
    assert isinstance(judged(tcp, closed=True), Draining)


def test_on_a_unix_socket_only_who_is_listed(unix: Transport) -> None:
    assert judged(unix, allowed_uids=frozenset({ME})) is None
    refused = judged(unix, allowed_uids=frozenset({ME + 1}))
    assert isinstance(refused, Refused)
    assert (refused.status, refused.reason) == (403, "uid")
    assert refused.remedy == f"add it: guard: {{allowed_uids: [{ME}, {ME + 1}]}}"


def test_a_tcp_connection_has_no_user(tcp: Transport) -> None:
    assert judged(tcp, allowed_uids=frozenset({ME + 1})) is None


@for_each("uid", [ME, 0, UNKNOWN])
def test_where_nobody_is_listed_the_own_user_and_root(uid: int) -> None:
    """UNKNOWN: where the system does not tell, the socket's mode is all there is."""
    context: Any = ServerContext()
    assert admission_error(context, uid, Door()) is None


def test_where_nobody_is_listed_no_other_user() -> None:
    context: Any = ServerContext()
    refused = admission_error(context, ME + 1, Door())
    assert isinstance(refused, Refused)
    assert refused.remedy == f"add it: guard: {{allowed_uids: [{ME}, {ME + 1}]}}"


def test_nobody_by_a_listener_that_is_gone() -> None:
    """It was in the queue when the listener was closed."""
    context: Any = ServerContext()
    assert isinstance(admission_error(context, None, Door(open=False)), Draining)
