"""Structured logs: text for people, JSON for Cloud Logging; nothing secret, ever.

A token's repr hides it (identity/token.py), and no code of ours logs a header's value. `mask` is the last line of
defence behind that: it runs over every line as it is written, ours and the libraries', tracebacks included.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from proxy.settings.model import LogSettings

MASKED: Final = "[redacted]"
# A JWT begins with the base64url of `{"`, and an assertion is a JWT too; a bearer credential is whatever stands
# behind the word; an access token of Google's begins with ya29; a private key has its armour.
_SECRET = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"
    r"|(?i:(?<=bearer )|(?<=bearer%20))[A-Za-z0-9._~+/=-]{8,}"
    r"|ya29\.[A-Za-z0-9._-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def mask(text: str) -> str:
    """`text` with everything that has the shape of a credential taken out."""
    return _SECRET.sub(MASKED, text)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sets up structlog, and the standard library's logging behind it: what google-auth, urllib3, aiohttp and asyncio
    have to say from WARNING up, and everything where `level` is debug.
    """
    out = sys.stderr if stream is None else stream
    level: int = logging.getLevelNamesMapping()[settings.level.upper()]
    as_text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *(_text(colors=out.isatty()) if as_text else _json()),
        _mask_line,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _ToStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_ToStructlog())
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))


def _text(*, colors: bool) -> list[Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    ]


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        _cloud_logging,
        structlog.processors.JSONRenderer(default=str),
    ]


def _cloud_logging(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The names that Cloud Logging takes for its own (https://cloud.google.com/logging/docs/structured-logging)."""
    return {
        "severity": str(event.pop("level")).upper(),
        "time": event.pop("timestamp"),
        "message": event.pop("event"),
        **event,
    }


def _mask_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return mask(str(line))


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger().bind(logger=record.name)
            log.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
        except Exception:  # noqa: BLE001 -- a log line must never be the reason for a failure
            self.handleError(record)
