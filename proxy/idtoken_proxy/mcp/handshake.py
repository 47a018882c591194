"""What client and server agreed upon in `initialize`, kept so that it can be said once more to a server that has forgotten."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from idtoken_proxy.mcp import messages
from idtoken_proxy.mcp.messages import Message
from idtoken_proxy.mcp.refusal import Refused

# "It MUST only contain visible ASCII characters (ranging from 0x21 to 0x7E)"; no server's is longer than this.
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_VERSION: Final = re.compile(r"[\x21-\x7e]{1,64}")
_LISTS: Final = ("tools", "prompts", "resources")


@dataclass
class Handshake:
    """`asked`: the client's `initialize`; `session`: the server's ID for what followed, where it has one; `version`: the
    revision that both speak; `told`: what the server answered the client. `settings`: requests that change what the server
    does from then on, which one that has forgotten is to be told again. `unsaid`: the client's `notifications/initialized`
    while the server has not taken it.
    """

    asked: Message | None = None
    session: str | None = None
    version: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    is_complete: bool = False  # the client has said `notifications/initialized`
    unsaid: Message | None = None
    settings: dict[str, Message] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def answered(self, message: Message) -> None:
        """The server's answer to the client's own `initialize`."""
        self.told = message.result
        self.version = _version_of(message)
        self.is_complete = False
        self.settings.clear()

    def again(self) -> Message:
        """The same `initialize`, by an ID that no client has."""
        assert self.asked is not None
        return messages.with_id(self.asked, self.own_id())

    def own_id(self) -> str:
        return f"idtoken-proxy-{next(self._numbers)}"

    def answered_again(self, message: Message) -> None:
        """Refused where the client would not understand this server any more."""
        if message.is_error:
            raise Refused(str(message.body["error"]), said=message)
        version = _version_of(message)
        if version != self.version:
            raise Refused(
                f"the server has been replaced by one that speaks revision {version} of MCP in place of {self.version}",
                "restart this MCP server in the client, which then agrees with it anew",
                cause="another_revision",
            )

    def remember(self, message: Message) -> None:
        """A request that was answered well."""
        uri = str(message.params.get("uri"))
        match message.method:
            case "logging/setLevel":
                self.settings["level"] = message
            case "resources/subscribe":
                self.settings[f"subscription {uri}"] = message
            case "resources/unsubscribe":
                self.settings.pop(f"subscription {uri}", None)

    def changes(self) -> Iterator[Message]:
        """What a client hears of when the server is another: whatever it listed before may differ. Only for lists of which
        the server said that it would tell.
        """
        capabilities = self.told.get("capabilities")
        for name in _LISTS:
            capability = capabilities.get(name) if isinstance(capabilities, dict) else None
            if isinstance(capability, dict) and capability.get("listChanged") is True:
                yield messages.notification(f"notifications/{name}/list_changed")


def session_id(value: str | None) -> str | None:
    """As the server's field says it. Refused where it could not be said back."""
    if value is None or _SESSION_ID.fullmatch(value):
        return value
    raise Refused(
        "the server's Mcp-Session-Id holds characters that none may hold, or too many", cause="session"
    )


def _version_of(message: Message) -> str | None:
    version = message.result.get("protocolVersion")
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else None
