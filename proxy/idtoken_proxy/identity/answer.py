"""A receiver's answer, as far as it tells who gave it: Google's front end, IAP or the app behind them.

All of Cloud Run's answers say `Server: Google Frontend`, the app's too, so the head alone seldom tells: what the front
end says itself is HTML in words of its own (https://cloud.google.com/run/docs/troubleshooting), and its 401 has a
challenge. What never gets as far as Cloud Run (a reserved path, a body that is too large, a malformed request) is answered
by the page of all of Google's servers, with its own title and without a Server field. IAP marks what it says
(https://cloud.google.com/iap/docs/faq).
"""

from __future__ import annotations

import enum
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Final, Self

from idtoken_proxy.policy.headers import is_invalid_token

# Of an answer's body, where anybody reads it.
BODY: Final = 4096  # bytes
# A token with 30 s left may be sent (schedule.MARGIN); a clock that is off by more makes that one expired.
SKEW: Final = 30.0  # seconds

_LOGIN: Final = "https://accounts.google.com/"
_FRONT_END: Final = "google frontend"
SPEAKS_OF: Final = frozenset({400, 401, 403, 404, 408, 411, 413, 414, 429, 431, 500, 502, 503, 504})
# The page of Google's servers at large: nobody else titles his so.
_ROBOT: Final = re.compile(r"<title>Error \d{3} \([^)<]{1,60}\)!!1</title>")
_OWN_WORDS: Final = re.compile(
    r"Your client does not have permission|<h1>Error: |<title>Error \d{3} \(|was not found on this server"
    r"|no available instance|Access is forbidden"
)
# What an app, or an Envoy of its own, may say in the very same words: Google's own are HTML, but for Envoy's.
_BARE_WORDS: Final = re.compile(
    r"^\s*(?:Rate exceeded\.|Service Unavailable\s*$|upstream request timeout|no healthy upstream|upstream connect error)"
)
# One of these is in every page or sentence of Google's: quickly looked for, before anything else is.
MARKS: Final = (
    *(b")!!1</title>", b"<title>Error ", b"<h1>Error: ", b"Your client does not have permission"),
    *(b"was not found on this server", b"no available instance", b"Access is forbidden"),
    *(b"Rate exceeded.", b"Service Unavailable", b"upstream"),
)
_TAG: Final = re.compile(
    r"<(?:style|script|title)\b.*?</(?:style|script|title)>|<[^>]*>", re.DOTALL | re.IGNORECASE
)


class Speaker(enum.Enum):
    IAP = enum.auto()
    FRONT_END = enum.auto()
    PERHAPS = enum.auto()  # IAP or the front end, or the app: it does not tell
    APP = enum.auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered. `body`: its beginning; None where nobody read it, or could."""

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
        """`lines`: header field lines, `Name: value`, with or without their CRLF. `body`: as it came."""
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
            body=_text(body, one("content-encoding").lower()),
        )

    @property
    def speaker(self) -> Speaker:
        if self.iap:
            return Speaker.IAP
        if 300 <= self.status < 400 and self.location.startswith(_LOGIN):
            return Speaker.PERHAPS
        if self.status not in SPEAKS_OF:
            return Speaker.APP
        if self.status == 401:
            if not any(is_invalid_token(challenge.encode("latin-1")) for challenge in self.challenges):
                return Speaker.APP
            return Speaker.FRONT_END if self.of_google else Speaker.PERHAPS
        if self.body is not None:
            return self._by_words(self.body)
        is_page = self.content_type.startswith("text/html")
        return Speaker.PERHAPS if self.of_google and is_page else Speaker.APP

    def _by_words(self, body: str) -> Speaker:
        if _ROBOT.search(body):
            return Speaker.FRONT_END
        if not self.of_google:
            return Speaker.APP
        if _OWN_WORDS.search(body):
            return Speaker.FRONT_END
        if _BARE_WORDS.match(body):
            return Speaker.PERHAPS if self.content_type.startswith("text/plain") else Speaker.FRONT_END
        return Speaker.APP

    @property
    def of_google(self) -> bool:
        """Whether it came through Google's front end, whoever gave it."""
        return self.server.lower() == _FRONT_END

    @property
    def sentence(self) -> str:
        """The words of its page, without its marks."""
        return " ".join(unescape(_TAG.sub(" ", self.body or "")).split())

    def clock_skew(self, now: float) -> float | None:
        """Seconds that a clock which says `now` is ahead of the receiver's (below 0: behind), where that is worth a
        word.
        """
        try:
            ahead = now - parsedate_to_datetime(self.date).timestamp()
        except (ValueError, OverflowError):
            return None
        return ahead if abs(ahead) > SKEW else None


def _text(body: bytes | None, encoding: str) -> str | None:
    if body is None:
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        try:
            body = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, BODY)
        except zlib.error:
            return None
    elif encoding not in ("", "identity"):
        return None
    return body[:BODY].decode("utf-8", "replace")
