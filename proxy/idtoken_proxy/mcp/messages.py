"""JSON-RPC messages as they pass: one line of text each, read as far as a bridge needs to know it.

https://www.jsonrpc.org/specification, and https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio:
a message is one line of UTF-8. What is read here has been valid JSON as a whole, so that nothing else gets to a client.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

RequestId: TypeAlias = int | float | str

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INTERNAL_ERROR: Final = -32603
METHOD_NOT_FOUND: Final = -32601

# In whose requests each says which revision it is of, in place of a handshake.
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"

# Valid JSON has line ends between its tokens alone, where any space will do. The other three end a line for some readers
# (Python's splitlines, Node's readline), stand in strings alone, and mean the same as escapes.
_ONE_LINE: Final = str.maketrans(
    {"\n": " ", "\r": " ", "\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_UNTIL_NEXT: Final = re.compile(r"[ \t\n\r,]*").match  # between the messages of a batch
_DECODER: Final = json.JSONDecoder()
_INFINITE: Final = frozenset({float("inf"), float("-inf")})  # as which Python reads 1e400
_OBJECT: Final = "a JSON-RPC 2.0 message is an object with method, result or error"


class Malformed(ValueError):
    """Not a JSON-RPC message. The text says why, and repeats nothing of it. `code`: JSON-RPC's, of the error that says so."""

    def __init__(self, why: str, code: int = INVALID_REQUEST) -> None:
        super().__init__(why)
        self.code = code


class Kind(enum.Enum):
    REQUEST = enum.auto()
    NOTIFICATION = enum.auto()
    RESPONSE = enum.auto()


@dataclass(frozen=True, slots=True)
class Message:
    """`text`: all of it, on one line. `id`: None for a notification, and for an error about nobody's request. `body`: it as
    JSON has it.
    """

    text: str
    kind: Kind
    id: RequestId | None
    method: str
    body: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> str:
        """Of the request that it is, or answers: 1 and "1" are two."""
        return json.dumps(self.id)

    @property
    def params(self) -> Mapping[str, Any]:
        params = self.body.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def result(self) -> Mapping[str, Any]:
        result = self.body.get("result")
        return result if isinstance(result, dict) else {}

    @property
    def is_error(self) -> bool:
        return self.kind is Kind.RESPONSE and "result" not in self.body

    @property
    def error_code(self) -> object:
        error = self.body.get("error")
        return error.get("code") if isinstance(error, dict) else None

    @property
    def version(self) -> str | None:
        """The revision that this message says it is of: from 2026-07-28 on each does."""
        meta = self.params.get("_meta")
        version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
        return version if isinstance(version, str) else None


def read(text: str | bytes) -> tuple[Message, ...]:
    """One, or those of a batch, which revision 2025-03-26 has. Malformed, where any of them is."""
    found = []
    for each in read_each(text):
        if isinstance(each, Malformed):
            raise each
        found.append(each)
    return tuple(found)


def read_each(text: str | bytes) -> tuple[Message | Malformed, ...]:
    """As `read`, but what is no message stands in its place in the batch: the others of it count (JSON-RPC 2.0, section 6).
    Malformed where the whole is not JSON.
    """
    try:
        whole = text.decode() if isinstance(text, bytes) else text
        tree = json.loads(whole, parse_constant=_no_constant)
        batch = list(_each(whole)) if isinstance(tree, list) else [(tree, whole.strip())]
    except (ValueError, RecursionError):
        raise Malformed("not JSON in UTF-8, or too deep", PARSE_ERROR) from None
    if not batch:
        return (Malformed("a batch holds one message at least"),)
    return tuple(_message_or_not(each, text.translate(_ONE_LINE)) for each, text in batch)


def _message_or_not(tree: object, text: str) -> Message | Malformed:
    try:
        return _message(tree, text)
    except Malformed as malformed:
        return malformed


def _each(batch: str) -> Iterator[tuple[object, str]]:
    """(a message, its text as it came), of an array that is known to be JSON. Written anew, 1e400 would be Infinity, which is
    none.
    """
    at = _end_of_space(batch, batch.index("[") + 1)
    while batch[at] != "]":
        message, end = _DECODER.raw_decode(batch, at)
        yield message, batch[at:end]
        at = _end_of_space(batch, end)


def _end_of_space(batch: str, at: int) -> int:
    space = _UNTIL_NEXT(batch, at)
    assert space is not None
    return space.end()


def cancelled_key(message: Message) -> str:
    """Of the request that `notifications/cancelled` is about."""
    return json.dumps(message.params.get("requestId"))


def with_id(message: Message, own: RequestId | None) -> Message:
    """The same by another ID. Malformed where it is too deep, or holds a number that cannot be written anew."""
    body = {**message.body, "id": own}
    try:
        text = json.dumps(body, allow_nan=False)
    except RecursionError:
        raise Malformed("too deep") from None
    except ValueError:
        raise Malformed("a number is too large") from None
    return _message(body, text)


def request(own: RequestId, method: str, params: Mapping[str, Any] | None = None) -> Message:
    body = {"jsonrpc": "2.0", "id": own, "method": method, **({} if params is None else {"params": params})}
    return _message(body, json.dumps(body))


def notification(method: str) -> Message:
    body = {"jsonrpc": "2.0", "method": method}
    return _message(body, json.dumps(body))


def error(own: RequestId | None, code: int, message: str, data: Mapping[str, object] | None = None) -> str:
    """The text of a response. `data`: for programs."""
    told = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return json.dumps({"jsonrpc": "2.0", "id": own, "error": told})


def _message(tree: object, text: str) -> Message:
    if not isinstance(tree, dict) or tree.get("jsonrpc") != "2.0":
        raise Malformed(_OBJECT)
    own, method = tree.get("id"), tree.get("method")
    if isinstance(own, bool) or not isinstance(own, int | float | str | None) or own in _INFINITE:
        raise Malformed("an id is a number or a string")
    if isinstance(method, str):
        kind = Kind.REQUEST if "id" in tree else Kind.NOTIFICATION
        if kind is Kind.REQUEST and own is None:
            raise Malformed("the id of a request is not null")
        return Message(text, kind, own, method, tree)
    if "method" in tree or ("result" in tree) == ("error" in tree):
        raise Malformed(_OBJECT)
    return Message(text, Kind.RESPONSE, own, "", tree)


def _no_constant(_name: str) -> object:
    raise ValueError  # NaN and the infinities, which Python reads and JSON does not have
