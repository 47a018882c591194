"""Vertex AI, as far as chat clients see it: whatever is asked, its model answers with the last thing that was said.

Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/start/openai (the OpenAI-compatible endpoint),
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude (rawPredict, streamRawPredict).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from idtoken_proxy.emulator.container import Delivered
from idtoken_proxy.emulator.refusals import ApiRefusal

_WHERE: Final = r"/v1(?:beta1)?/projects/[^/]+/locations/[^/]+"
_OPENAI: Final = re.compile(rf"{_WHERE}/endpoints/openapi/chat/completions")
_ANTHROPIC: Final = re.compile(
    rf"{_WHERE}/publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)"
)
_CREATED: Final = 1_800_000_000


async def vertex_ai(delivered: Delivered) -> web.StreamResponse:
    request = delivered.request
    openai, anthropic = _OPENAI.fullmatch(request.path), _ANTHROPIC.fullmatch(request.path)
    try:
        body = json.loads(await request.read())
        words = _said(body)
        if openai and request.method == "POST":
            if body.get("stream"):
                return await _streamed(request, _openai_events(body["model"], words))
            return web.json_response(_completion(body["model"], words))
        if anthropic and request.method == "POST":
            if not body.get("anthropic_version"):
                return ApiRefusal(400, "anthropic_version: Field required").response()
            if anthropic[2] == "streamRawPredict":
                return await _streamed(request, _anthropic_events(anthropic[1], words))
            return web.json_response(
                _message(anthropic[1], words, [{"type": "text", "text": " ".join(words)}])
            )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ApiRefusal(400, "Invalid JSON payload received.").response()
    return ApiRefusal(404, "Not found.").response()


def _said(body: dict[str, Any]) -> list[str]:
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return text.split() or ["nothing"]


def _completion(model: str, words: list[str]) -> dict[str, Any]:
    message = {"role": "assistant", "content": " ".join(words)}
    usage = {"prompt_tokens": len(words), "completion_tokens": len(words), "total_tokens": 2 * len(words)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "emulated",
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def _openai_events(model: str, words: list[str]) -> Iterator[str]:
    usual = {"id": "emulated", "object": "chat.completion.chunk", "created": _CREATED, "model": model}
    for number, word in enumerate(words):
        delta = {"role": "assistant", "content": word if number == 0 else f" {word}"}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield f"data: {json.dumps({**usual, 'choices': [choice]})}\n\n"
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield f"data: {json.dumps({**usual, 'choices': [end]})}\n\n"
    yield "data: [DONE]\n\n"


def _message(model: str, words: list[str], content: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "id": "msg_emulated",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "end_turn" if content else None,
        "stop_sequence": None,
        "usage": {"input_tokens": len(words), "output_tokens": len(words) if content else 0},
    }


def _anthropic_events(model: str, words: list[str]) -> Iterator[str]:
    empty = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message(model, words, [])},
        {"type": "content_block_start", "index": 0, "content_block": empty},
    ]
    for number, word in enumerate(words):
        delta = {"type": "text_delta", "text": word if number == 0 else f" {word}"}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": len(words)}},
        {"type": "message_stop"},
    ]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


async def _streamed(request: web.BaseRequest, events: Iterator[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(event.encode())
    await response.write_eof()
    return response
