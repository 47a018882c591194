"""Server-sent events, as they arrive: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_ID: Final = re.compile(r"[\x20-\x7e]{0,1024}")  # what Last-Event-ID can say back
_BOM: Final = b"\xef\xbb\xbf"


class TooLarge(ValueError):
    """One event beyond the limit."""


@dataclass(frozen=True, slots=True)
class Event:
    """`id`: of this event or the last one that had any. `retry`: milliseconds that the server wants a client to wait before
    it comes again, where it has said so.
    """

    name: str
    data: str
    id: str
    retry: int | None


class EventStream:
    """`last_id` and `retry` hold from one stream to the next: hand them on to the reader of what continues it."""

    def __init__(self, limit: int, last_id: str = "", retry: int | None = None) -> None:
        """`limit`: octets of one event."""
        self.last_id = last_id
        self.retry = retry
        self._limit = limit
        self._size = 0  # of what is kept for the event that has not ended
        self._line: list[bytes] = []  # of the line that has not ended
        self._data: list[str] = []
        self._name = ""
        self._said_id = False
        self._after_cr = False
        self._begun = False

    def feed(self, octets: bytes) -> list[Event]:
        """Those that end with these octets. An event without data is one where it has an ID: there a stream may be taken up
        again. TooLarge.
        """
        if self._after_cr and octets.startswith(b"\n"):
            octets = octets[1:]
            self._after_cr = False
        if not octets:
            return []
        self._after_cr = octets.endswith(b"\r")
        *ended, rest = _LINE_END.split(octets)
        events: list[Event] = []
        for line in ended:
            self._keep(line)
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._keep(rest)
        return events

    def _keep(self, octets: bytes) -> None:
        self._size += len(octets)
        if self._size > self._limit:
            raise TooLarge
        if octets:
            self._line.append(octets)

    def _end_line(self) -> Event | None:
        line = b"".join(self._line)
        self._line.clear()
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "id" if _ID.fullmatch(value):
                self.last_id = value
                self._said_id = True
            case "retry" if value.isascii() and value.isdigit() and len(value) < 10:
                self.retry = int(value)
            case _:
                self._size -= len(line)  # a comment, which nothing keeps
        return None

    def _dispatch(self) -> Event | None:
        event = None
        if self._data or self._said_id:
            event = Event(self._name or "message", "\n".join(self._data), self.last_id, self.retry)
        self._data = []
        self._name = ""
        self._said_id = False
        self._size = 0
        return event
