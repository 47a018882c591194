from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from idtoken_proxy.engine.welcome import unwelcome
from idtoken_proxy.errors import Draining, Overloaded, ProxyError, Refused

ME = os.getuid()


class Transport:
    def __init__(self, kernel: socket.socket) -> None:
        self.kernel = kernel

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.kernel


class Front:
    draining = False
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
    front: Any = Front()
    for name, value in changes.items():
        setattr(front, name, value)
    judging: Any = transport
    return unwelcome(front, judging)


def test_anybody_while_there_is_room(tcp: Transport) -> None:
    assert judged(tcp) is None
    full = judged(tcp, busy=10)
    assert isinstance(full, Overloaded)
    assert (full.status, full.limit) == (503, "connections")
    assert "10 connections are open" in full.detail


def test_nobody_who_comes_while_it_drains(tcp: Transport) -> None:
    assert isinstance(judged(tcp, draining=True), Draining)


def test_on_a_unix_socket_only_who_is_listed(unix: Transport) -> None:
    assert judged(unix, allowed_uids=frozenset({ME})) is None
    refused = judged(unix, allowed_uids=frozenset({ME + 1}))
    assert isinstance(refused, Refused)
    assert (refused.status, refused.reason) == (403, "uid")
    assert refused.remedy == f"add it: guard: {{allowed_uids: [{ME}, {ME + 1}]}}"


def test_a_tcp_connection_has_no_user(tcp: Transport) -> None:
    assert judged(tcp, allowed_uids=frozenset({ME + 1})) is None
