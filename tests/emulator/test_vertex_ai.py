"""By the SDKs themselves it is tried in tests/end_to_end/test_recipes.py; here are the events as they are on the wire."""

from __future__ import annotations

import json

from idtoken_proxy.emulator.vertex_ai import _anthropic_events, _openai_events


def test_each_word_is_an_event() -> None:
    events = [event.removeprefix("data: ").strip() for event in _openai_events("m", ["a", "b"])]
    assert events[-1] == "[DONE]"
    told = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert [one["delta"].get("content") for one in told] == ["a", " b", None]
    assert told[-1]["finish_reason"] == "stop"


def test_a_message_begins_and_ends() -> None:
    kinds = [event.partition("\n")[0] for event in _anthropic_events("m", ["a", "b"])]
    assert kinds[0] == "event: message_start"
    assert kinds[-1] == "event: message_stop"
    assert kinds.count("event: content_block_delta") == 2
