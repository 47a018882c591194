"""What a private service got, as a test would look at it: refused requests too."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from idtoken_proxy.emulator import Seen

_TOKEN_HEADERS: Final = ("x-serverless-authorization", "authorization")  # in Cloud Run's order


@dataclass(frozen=True, slots=True)
class Received:
    """`headers`: by lower-case names, the last of a name. `refused`: the status with which the front end refused it; None:
    it was let in. `claims`: of the token that was let in, empty where there was none.
    """

    method: str
    path: str
    headers: dict[str, str]
    refused: int | None
    claims: dict[str, Any]

    @property
    def caller(self) -> str | None:
        """Whose token it was."""
        email = self.claims.get("email")
        return None if email is None else str(email)


class PrivateService:
    """`url`: where it listens, and the audience that its tokens are for."""

    def __init__(self, name: str, url: str, requests: Callable[[], list[Received]]) -> None:
        self.name = name
        self.url = url
        self._requests = requests

    @property
    def audience(self) -> str:
        return self.url

    @property
    def requests(self) -> list[Received]:
        """All that it got since the test began, refused ones included."""
        return self._requests()

    @property
    def let_in(self) -> list[Received]:
        return [one for one in self.requests if one.refused is None]


def received(seen: Seen) -> Received:
    headers = {name.lower(): value for name, value in seen.headers}
    claims = {} if seen.refused is not None else _claims(headers)
    return Received(seen.method, seen.target, headers, seen.refused, claims)


def _claims(headers: dict[str, str]) -> dict[str, Any]:
    """The front end has verified it: it was let in."""
    said = next((headers[name] for name in _TOKEN_HEADERS if name in headers), "")
    parts = said.rpartition(" ")[2].split(".")
    if len(parts) != 3:
        return {}  # an access token, or a public service
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    return found
