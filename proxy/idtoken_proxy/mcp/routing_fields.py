"""The header fields that say again what a message says, for what stands between and does not read bodies.

Up to 2025-11-25 that is the revision alone. From 2026-07-28 on (#request-metadata-headers of the transport's page) also the
method, whom it is about, and those arguments of a tool that its schema marks with `x-mcp-header`: a server refuses a request
whose fields and body differ.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from idtoken_proxy.mcp.messages import Message

VERSION: Final = "MCP-Protocol-Version"
METHOD: Final = "Mcp-Method"
NAME: Final = "Mcp-Name"
PARAM: Final = "Mcp-Param-"
_MARK: Final = "x-mcp-header"
_ABOUT: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_ENCODED: Final = re.compile(r"=\?base64\?.*\?=", re.DOTALL)
_DEPTH: Final = 32  # of a schema that a server sends


class ToolSchemas:
    """Which arguments of which tool are said again, by what `tools/list` has answered so far."""

    def __init__(self) -> None:
        self._marked: dict[str, dict[tuple[str, ...], str]] = {}

    def learn(self, answer: Message) -> None:
        tools = answer.result.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self._marked[tool["name"]] = dict(_marks(tool.get("inputSchema"), ()))

    def fields(self, message: Message) -> Iterator[tuple[str, str]]:
        """Of a `tools/call`."""
        arguments = message.params.get("arguments")
        for path, token in self._marked.get(str(message.params.get("name")), {}).items():
            said = _said(_at(arguments, path))
            if said is not None:
                yield PARAM + token, encoded(said)


def fields_of(message: Message, version: str, tools: ToolSchemas) -> dict[str, str]:
    """Of a message that says its revision itself."""
    fields = {VERSION: encoded(version), METHOD: encoded(message.method)}
    about = message.params.get(_ABOUT.get(message.method, ""))
    if isinstance(about, str):
        fields[NAME] = encoded(about)
    if message.method == "tools/call":
        fields.update(tools.fields(message))
    return fields


def encoded(value: str) -> str:
    """As it stands where a field can hold it, else `=?base64?...?=`."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _ENCODED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode('ascii')}?="


def _marks(schema: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Of properties that are reached by `properties` alone: others have no one place in the arguments."""
    if not isinstance(schema, dict) or len(path) > _DEPTH:
        return
    token = schema.get(_MARK)
    if path and isinstance(token, str) and _TOKEN.fullmatch(token):
        yield path, token
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        yield from _marks(inner, (*path, name))


def _at(arguments: object, path: tuple[str, ...]) -> object:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, Mapping) else None
    return arguments


def _said(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
