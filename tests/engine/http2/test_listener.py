from __future__ import annotations

import dataclasses

import pytest

from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.listener import BY_PEER, ClientListener, Reset, ServerListener
from tests.engine.http2.peer import Recorder


def test_one_listener_may_listen_for_both_roles() -> None:
    recorder = Recorder()
    server: ServerListener = recorder
    client: ClientListener = recorder
    for method in (server.on_request, client.on_response):
        assert callable(method)


def test_a_reset_is_not_changed_and_not_taken_for_unprocessed() -> None:
    reset = Reset(ErrorCode.CANCEL, BY_PEER)
    assert not reset.unprocessed
    with pytest.raises(dataclasses.FrozenInstanceError):
        reset.code = 0  # type: ignore[misc]
