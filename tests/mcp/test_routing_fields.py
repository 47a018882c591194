from __future__ import annotations

import json

import pytest

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.messages import Message
from idtoken_proxy.mcp.routing_fields import ToolSchemas, encoded, fields_of
from tests.cases import for_each

NEW = "2026-07-28"
SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "deep": {"type": "object", "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
        "many": {"type": "array", "items": {"type": "string", "x-mcp-header": "Never"}},
        "bad": {"type": "string", "x-mcp-header": "Not a\r\ntoken"},
    },
}


def call(**arguments: object) -> Message:
    return messages.request(1, "tools/call", {"name": "deploy", "arguments": arguments})


@pytest.fixture
def tools() -> ToolSchemas:
    known = ToolSchemas()
    listed = {"tools": [{"name": "deploy", "inputSchema": SCHEMA}, {"name": 1}, "?"]}
    (answer,) = messages.read(json.dumps({"jsonrpc": "2.0", "id": 1, "result": listed}))
    known.learn(answer)
    return known


def test_a_call_says_its_method_its_tool_and_the_marked_arguments(tools: ToolSchemas) -> None:
    said = call(region="eu\N{EN DASH}west", deep={"dry": True}, many=["a"], bad="b")
    assert fields_of(said, NEW, tools) == {
        "MCP-Protocol-Version": NEW,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "deploy",
        "Mcp-Param-Region": "=?base64?ZXXigJN3ZXN0?=",
        "Mcp-Param-Dry": "true",
    }


@for_each("arguments", [{}, {"region": None}, {"region": ["a"]}, {"deep": "text"}])
def test_what_an_argument_does_not_say_is_no_field(tools: ToolSchemas, arguments: dict[str, object]) -> None:
    assert not [name for name in fields_of(call(**arguments), NEW, tools) if name.startswith("Mcp-Param")]


def test_others_say_whom_they_are_about() -> None:
    read = messages.request(1, "resources/read", {"uri": "file:///a"})
    assert fields_of(read, NEW, ToolSchemas())["Mcp-Name"] == "file:///a"
    assert "Mcp-Name" not in fields_of(messages.request(1, "tools/list", {"name": "a"}), NEW, ToolSchemas())


@for_each(
    ("value", "said"),
    [
        ("plain text", "plain text"),
        (" edges ", "=?base64?IGVkZ2VzIA==?="),
        ("a\r\nb: c", "=?base64?YQ0KYjogYw==?="),
        ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ("", ""),
    ],
)
def test_no_value_ends_its_field(value: str, said: str) -> None:
    assert encoded(value) == said


def test_a_schema_without_end_is_not_followed(tools: ToolSchemas) -> None:
    schema: dict[str, object] = {"x-mcp-header": "Deep"}
    for _ in range(100):
        schema = {"properties": {"a": schema}}
    deep = {"tools": [{"name": "deploy", "inputSchema": schema}]}
    (answer,) = messages.read(json.dumps({"jsonrpc": "2.0", "id": 1, "result": deep}))
    tools.learn(answer)
    assert not list(tools.fields(call(a={})))


@pytest.mark.thorough
def test_the_sdk_s_server_takes_them(tools: ToolSchemas) -> None:
    from mcp.shared.inbound import classify_inbound_request, validate_mcp_param_headers  # noqa: PLC0415 -- dear

    said = call(region="z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich ", deep={"dry": False})
    meta = {messages.VERSION_KEY: NEW, "io.modelcontextprotocol/clientCapabilities": {}}
    body = {**said.body, "params": {**said.params, "_meta": meta}}
    fields = {name.lower(): value for name, value in fields_of(said, NEW, tools).items()}
    assert type(classify_inbound_request(body, headers=fields)).__name__ == "InboundModernRoute"
    schema = {**SCHEMA, "properties": {name: SCHEMA["properties"][name] for name in ("region", "deep")}}  # type: ignore[index]
    assert validate_mcp_param_headers(schema, dict(said.params["arguments"]), fields) is None
