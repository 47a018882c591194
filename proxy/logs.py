"""Structured logs, one line each: text on a terminal, JSON elsewhere; nothing secret, ever.

A token's repr hides it (identity/token.py), and no code of ours logs a header's value. `mask` is the last line of
defence behind that: it runs over every line as it is written, ours and the libraries', tracebacks included.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from proxy.settings.model import LogSettings

MASKED: Final = "[redacted]"
# A JWT begins with the base64url of `{"`, and an assertion is a JWT too; a bearer credential is whatever stands
# behind the word; Google's access tokens begin with ya29, its refresh tokens with 1//; a private key has its armour.
_SECRET: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_=-]*){0,4}"
    r"|\b(bearer(?:\s|\\[nrt]|%20)+)[^\s\"',\\]+"
    r"|\bya29\.[A-Za-z0-9._-]+"
    r"|\b1//[A-Za-z0-9_-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def mask(text: str) -> str:
    """`text` with everything that has the shape of a credential taken out."""
    return _SECRET.sub(lambda match: f"{match[1] or ''}{MASKED}", text)


def get_logger(name: str) -> FilteringBoundLogger:
    """Lazy: takes the configuration of the time it is used. Where every call counts, `.bind()` it once."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sets up structlog, and the standard library's logging behind it: what google-auth, urllib3, aiohttp and asyncio
    have to say from WARNING up, and everything where `level` is debug. `stream` None is standard error. Calling it
    again replaces what was before.
    """
    out = sys.stderr if stream is None else stream
    level: int = logging.getLevelNamesMapping()[settings.level.upper()]
    as_text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    processors: list[Processor] = [
        _identify,
        structlog.processors.format_exc_info,
        *(_text(colors=out.isatty()) if as_text else [_json]),
        _mask_line,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="proxy": _Line(name, out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(processors, out))
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))


class _Line:
    """What structlog writes finished lines to; `name` is the logger's."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # gone or closed: no reason to end the proxy
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Records of the standard library's loggers, through the same processors."""

    def __init__(self, processors: list[Processor], stream: TextIO) -> None:
        super().__init__()
        self._processors = processors
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's arguments do not fit its message; neither is lost, nor we
            message = str(record.msg)
        event: Any = {"event": message}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        line = _Line(record.name, self._stream)
        for processor in self._processors:
            event = processor(line, record.levelname.lower(), event)
        line.msg(event)


def _identify(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["level"] = method
    event["logger"] = logger.name
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """The names that Cloud Logging takes for its own (https://cloud.google.com/logging/docs/structured-logging)."""
    named = {
        "severity": str(event.pop("level")).upper(),
        "time": event.pop("timestamp"),
        "message": event.pop("event", ""),
        **event,
    }
    return json.dumps(named, default=_described, skipkeys=True)


def _described(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a repr that raises is no reason to lose the line
        return f"<{type(value).__name__}>"


def _text(*, colors: bool) -> list[Processor]:
    return [
        _escape_controls,
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        ),
    ]


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """So that no value writes lines, or a terminal's escapes, of its own; a traceback keeps its lines."""
    traceback = event.pop("exception", None)
    escaped = {
        key: value if isinstance(value, bool | int | float | None) else _escaped(_described(value))
        for key, value in event.items()
    }
    if traceback is not None:
        escaped["exception"] = "\n".join(map(_escaped, traceback.split("\n")))
    return escaped


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _mask_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return mask(line)
