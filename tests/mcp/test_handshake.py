from __future__ import annotations

import json
from typing import Any

import pytest

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.handshake import Handshake, session_id
from idtoken_proxy.mcp.messages import Message
from idtoken_proxy.mcp.refusal import Refused
from tests.cases import for_each


def answer(**result: Any) -> Message:
    return messages.read(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}))[0]


@pytest.fixture
def handshake() -> Handshake:
    made = Handshake(asked=messages.request(1, "initialize", {"protocolVersion": "2025-11-25"}))
    made.answered(
        answer(
            protocolVersion="2025-11-25",
            capabilities={"tools": {"listChanged": True}, "prompts": {"listChanged": False}, "resources": {}},
        )
    )
    return made


def test_it_is_said_again_word_for_word_by_another_id(handshake: Handshake) -> None:
    assert handshake.asked is not None
    again, once_more = handshake.again(), handshake.again()
    assert again.params == handshake.asked.params
    assert len({handshake.asked.key, again.key, once_more.key}) == 3


def test_a_client_hears_of_the_lists_of_which_the_server_said_that_it_would_tell(
    handshake: Handshake,
) -> None:
    assert [change.method for change in handshake.changes()] == ["notifications/tools/list_changed"]


def test_a_server_that_speaks_another_revision_now_is_not_taken_for_the_old_one(handshake: Handshake) -> None:
    handshake.answered_again(answer(protocolVersion="2025-11-25", capabilities={}))
    with pytest.raises(Refused, match="2025-03-26") as refused:
        handshake.answered_again(answer(protocolVersion="2025-03-26"))
    assert "restart this MCP server in the client" in str(refused.value.remedy)
    (error,) = messages.read(messages.error(1, -32602, "no"))
    with pytest.raises(Refused) as refused:
        handshake.answered_again(error)
    assert refused.value.said is error


def test_what_a_client_has_set_is_remembered_until_it_takes_it_back(handshake: Handshake) -> None:
    for method, params in (
        ("logging/setLevel", {"level": "info"}),
        ("logging/setLevel", {"level": "debug"}),
        ("resources/subscribe", {"uri": "a"}),
        ("resources/subscribe", {"uri": "b"}),
        ("resources/unsubscribe", {"uri": "a"}),
        ("tools/call", {"name": "a"}),
    ):
        handshake.remember(messages.request(1, method, params))
    kept = [(setting.method, *setting.params.values()) for setting in handshake.settings.values()]
    assert kept == [("logging/setLevel", "debug"), ("resources/subscribe", "b")]


@for_each("value", ["a b", "a\r\nX-Other: b", "", "\u00e9", "a" * 1025])
def test_a_session_id_that_no_field_can_hold_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="Mcp-Session-Id"):
        session_id(value)
    assert session_id("a~!") == "a~!"
    assert session_id(None) is None


def test_a_version_that_no_field_can_hold_is_none() -> None:
    handshake = Handshake(asked=messages.request(1, "initialize"))
    handshake.answered(answer(protocolVersion="a\r\nX-Other: b"))
    assert handshake.version is None
