"""Why a message has no answer, in words that a client shows to a person: with what mends it, as the proxy's own 503 says it,
and as `doctor` and the log explain what Google refuses.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from time import time
from typing import Any, Final

from idtoken_proxy.identity.answer import BODY, Answer
from idtoken_proxy.identity.diagnosis import diagnose
from idtoken_proxy.identity.token import Token
from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.messages import Malformed, Message, RequestId
from idtoken_proxy.settings.model import Route
from idtoken_proxy.terminal import printable

_OURS: Final = "idtoken-proxy"  # as Proxy-Status names who speaks
OUTCOME_UNKNOWN: Final = (
    "call it again, if a second time does no harm: nobody can tell whether the first was done"
)
_QUOTED: Final = 300  # characters of what a server says in a form that nobody knows


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back in place of an answer. `fields`: as they came; `body`: its beginning."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str:
        return next((value for key, value in self.fields if key.lower() == name.lower()), "")


class Refused(Exception):
    """`status`: of HTTP; 0 where there was none. `said`: the server's own JSON-RPC error, which goes to the client as it is.
    `unseen`: it is Google's front end that refused the token, so the server has seen nothing.
    """

    def __init__(
        self,
        detail: str,
        remedy: str | None = None,
        *,
        cause: str = "mcp_server",
        status: int = 0,
        said: Message | None = None,
        unseen: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.cause = cause
        self.status = status
        self.said = said
        self.unseen = unseen

    @property
    def sentence(self) -> str:
        return self.detail if self.remedy is None else f"{self.detail}. To mend it: {self.remedy}"

    def answer_to(self, own: RequestId) -> str:
        """The text of a JSON-RPC error."""
        if self.said is not None:
            with contextlib.suppress(Malformed):
                return messages.with_id(self.said, own).text
        data: dict[str, object] = {"cause": self.cause}
        if self.status:
            data["httpStatus"] = self.status
        if self.remedy is not None:
            data["remedy"] = self.remedy
        return messages.error(own, messages.INTERNAL_ERROR, f"idtoken-proxy: {self.sentence}", data)


def refused(
    answered: Answered, route: Route, token: Token | None, path: str, clock: Callable[[], float] = time
) -> Refused:
    """`token`: what was sent; `path`: the request's."""
    status = answered.status
    ours = _of_the_proxy(answered)
    if ours is not None:
        detail = ": ".join(str(ours[name]) for name in ("title", "detail") if name in ours)
        remedy = ours.get("remedy")
        cause = str(ours.get("cause", "proxy"))
        return Refused(detail, None if remedy is None else str(remedy), cause=cause, status=status)
    said = _json_rpc_error(answered.body)
    if said is not None:
        return Refused(str(said.body["error"]), status=status, said=said)
    lines = (f"{name}: {value}".encode("latin-1", "replace") for name, value in answered.fields)
    found = diagnose(route, token, Answer.of(status, lines, answered.body), clock(), path)
    if found is not None:
        return Refused(
            f"{_status(status)} from {route.upstream.host}: {found.detail}",
            found.remedy,
            cause=found.cause,
            status=status,
            unseen=found.sure and status == HTTPStatus.UNAUTHORIZED,
        )
    quoted = printable(answered.body.decode("utf-8", "replace").strip()[:_QUOTED])
    detail = f"the MCP server answers {_status(status)}{f': {quoted}' if quoted else ''}"
    return Refused(detail, _remedy_for(status, path), status=status)


def no_connection(reason: str) -> Refused:
    return Refused(
        f"the connection ended before the answer ({printable(reason)})",
        OUTCOME_UNKNOWN,
        cause="cut",
    )


def _of_the_proxy(answered: Answered) -> Mapping[str, Any] | None:
    status = answered.field("Proxy-Status")
    if not status.startswith(f"{_OURS};") or "problem+json" not in answered.field("Content-Type"):
        return None
    try:
        told = json.loads(answered.body)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _json_rpc_error(body: bytes) -> Message | None:
    try:
        found: Iterable[Message] = messages.read(body)
    except Malformed:
        return None
    return next((message for message in found if message.is_error), None)


def _remedy_for(status: int, path: str) -> str | None:
    if status in (404, 405):
        return (
            f"look whether {path} is the server's MCP endpoint: it is part of the URL, and often /mcp"
            if path != "/"
            else "add the endpoint's path to the URL, which is often /mcp"
        )
    return None


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


# A server's own word for its errors may be long; what Google says is at the beginning.
READ: Final = 16 * BODY
