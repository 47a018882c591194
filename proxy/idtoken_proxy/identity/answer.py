"""A receiver's answer, as far as it tells who gave it: Google's front end, IAP or the app behind them.

All of Cloud Run's answers say `Server: Google Frontend`, the app's too, so the head alone seldom tells: what the front
end says itself is HTML in words of its own (https://cloud.google.com/run/docs/troubleshooting), and its 401 has a
challenge. IAP marks what it says (https://cloud.google.com/iap/docs/faq).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final, Self

from idtoken_proxy.policy.headers import is_invalid_token

# Of an answer's body, where anybody reads it.
BODY: Final = 4096  # bytes
# A token with 30 s left may be sent (schedule.MARGIN); a clock that is off by more makes that one expired.
SKEW: Final = 30.0  # seconds

_LOGIN: Final = "https://accounts.google.com/"
_FRONT_END: Final = "google frontend"
_SPEAKS_OF: Final = frozenset({401, 403, 404, 429, 500, 502, 503, 504})
_OWN_WORDS: Final = re.compile(
    r"Your client does not have permission|<h1>Error: |<title>Error \d{3} \(|was not found on this server"
    r"|^Rate exceeded\.|no available instance|^Service Unavailable\s*$"
)


class Speaker(enum.Enum):
    IAP = enum.auto()
    FRONT_END = enum.auto()
    PERHAPS = enum.auto()  # IAP or the front end, or the app: it does not tell
    APP = enum.auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered. `body`: its beginning; None where nobody read it."""

    status: int
    server: str = ""
    content_type: str = ""
    challenges: tuple[str, ...] = ()
    location: str = ""
    date: str = ""
    iap: bool = False
    body: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, status: int, lines: Iterable[bytes], body: bytes | None = None) -> Self:
        """`lines`: header field lines, `Name: value`, with or without their CRLF."""
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())

        def one(name: str) -> str:
            return headers.get(name, [""])[0]

        return cls(
            status,
            server=one("server"),
            content_type=one("content-type"),
            challenges=tuple(headers.get("www-authenticate", ())),
            location=one("location"),
            date=one("date"),
            iap=one("x-goog-iap-generated-response").lower() == "true",
            body=None if body is None else body[:BODY].decode("utf-8", "replace"),
        )

    @property
    def speaker(self) -> Speaker:
        if self.iap:
            return Speaker.IAP
        if 300 <= self.status < 400 and self.location.startswith(_LOGIN):
            return Speaker.PERHAPS
        if self.status not in _SPEAKS_OF:
            return Speaker.APP
        google = self.server.lower() == _FRONT_END
        if self.status == 401:
            if not any(is_invalid_token(challenge.encode("latin-1")) for challenge in self.challenges):
                return Speaker.APP
            return Speaker.FRONT_END if google else Speaker.PERHAPS
        if not google:
            return Speaker.APP
        if self.body is not None:
            return Speaker.FRONT_END if _OWN_WORDS.search(self.body) else Speaker.APP
        return Speaker.PERHAPS if self.content_type.startswith("text/html") else Speaker.APP

    def clock_skew(self, now: float) -> float | None:
        """Seconds that a clock which says `now` is ahead of the receiver's (below 0: behind), where that is worth a
        word.
        """
        try:
            ahead = now - parsedate_to_datetime(self.date).timestamp()
        except (ValueError, OverflowError):
            return None
        return ahead if abs(ahead) > SKEW else None
