"""Structured logs, one line each: text on a terminal (a remedy below it), JSON elsewhere; nothing secret, ever; no
flood.

A token's repr hides it (identity/token.py), and no code of ours logs a header's value. `mask` is the last line of
defence behind that: it runs over every value written, ours and the libraries', names and tracebacks included. It runs
over the values and not over the finished line, where what it takes out could end a string in a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from idtoken_proxy.settings.model import LogSettings
from idtoken_proxy.terminal import colors, printable

MASKED: Final = "[redacted]"
ACCESS: Final = "idtoken_proxy.access"  # the logger of the access log
# Seconds between two lines of the same warning: often enough to see that it goes on.
REPEAT_AFTER: Final = 10.0
_MOST_REMEMBERED: Final = 512  # warnings
_LOUD: Final = frozenset({"warning", "error", "critical"})
_ANSWERS: Final = frozenset(
    {"idtoken_proxy.reload", "idtoken_proxy.server"}
)  # to what someone has just done: each is said
# A JWT begins with the base64url of `{"`, and an assertion is a JWT too; a bearer credential is whatever stands
# behind the word; Google's access tokens begin with ya29, its refresh tokens with 1//; a private key has its armour.
_SECRET: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_=-]*){0,4}"
    r"|\b(bearer(?:\s|\\[nrt]|%20)+)[^\s\"',\\]+"
    r"|(?:\b|(?<=\\[nrt]))ya29\.[A-Za-z0-9._-]+"
    r"|(?:\b|(?<=\\[nrt]))1//[A-Za-z0-9_-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_HALF_A_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?!.*-----END )", re.IGNORECASE | re.DOTALL
)
_DEEPEST: Final = 16  # levels of nested containers; a deeper or circular value becomes its description


def mask(text: str) -> str:
    """`text` without anything that has the shape of a credential."""
    return _SECRET.sub(lambda match: f"{match[1] or ''}{MASKED}", text)


def get_logger(name: str) -> FilteringBoundLogger:
    """Lazy: uses the configuration in force when it first logs. `.bind()` it once where every call counts."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure(
    settings: LogSettings,
    stream: TextIO | None = None,
    *,
    project: str | None = None,
    clock: Callable[[], float] = monotonic,
) -> None:
    """Sets up structlog, and the standard library's logging behind it: google-auth, urllib3, aiohttp and asyncio log
    from WARNING up, and everything (but watchfiles') if `level` is debug. `stream` None is standard error. A second
    call replaces the first.

    `project`: the project of the requests' traces; None is $GOOGLE_CLOUD_PROJECT.
    """
    out = sys.stderr if stream is None else stream
    level: int = logging.getLevelNamesMapping()[settings.level.upper()]
    as_text = settings.format == "text" or read_along(settings, out)
    if project is None:
        project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    processors: list[Processor] = [
        _Repeats(clock),
        _identify,
        structlog.processors.format_exc_info,
        *(_text(colors=colors(out), along=out.isatty()) if as_text else [_Json(project)]),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="idtoken_proxy": _Line(name, out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(processors, out))
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    # At debug it logs which files changed, so a log in the configuration's directory would report itself for ever.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


def read_along(settings: LogSettings, stream: TextIO) -> bool:
    """Whether a person reads the log as it is written."""
    return settings.format != "json" and stream.isatty()


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
    """Sends records of the standard library's loggers through the same processors."""

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
        method = record.levelname.lower()
        if _is_callers_mistake(record):
            if not logging.getLogger().isEnabledFor(logging.DEBUG):
                return
            method = "debug"
        elif record.exc_info:
            event["exc_info"] = record.exc_info
        line = _Line(record.name, self._stream)
        with contextlib.suppress(structlog.DropEvent):
            for processor in self._processors:
                event = processor(line, method, event)
            line.msg(event)


def _is_callers_mistake(record: logging.LogRecord) -> bool:
    """Whether the record is of a request that aiohttp, behind the admin listener, could not read. aiohttp calls that an
    error and quotes the request, but no log may hold header values. The caller has its 400.
    """
    if record.name != "aiohttp.server" or not record.exc_info or record.exc_info[0] is None:
        return False
    # By name, because importing aiohttp takes longer than the proxy's start may.
    return any(kind.__module__ == "aiohttp.http_exceptions" for kind in record.exc_info[0].__mro__)


def _identify(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["level"] = method
    event["logger"] = logger.name
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


class _Repeats:
    """Logs the first of several equal warnings at once, then one every REPEAT_AFTER seconds, with the number
    `suppressed` meanwhile. Warnings are equal if logger, event, route and outcome are. What callers choose is not
    compared, or they could choose to be logged each time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: OrderedDict[tuple[str, ...], tuple[float, int]] = (
            OrderedDict()
        )  # (time of the last line, suppressed since)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if event.pop("each", False) or method not in _LOUD or logger.name in _ANSWERS:
            return event
        outcome = ("status", "kind") if logger.name == ACCESS else ("audience", "cause", "reason")
        key = (logger.name, *(_described(event.get(name)) for name in ("event", "route", *outcome)))
        now = self._clock()
        said, suppressed = self._said.get(key, (None, 0))
        if said is not None and now - said < REPEAT_AFTER:
            self._said[key] = (said, suppressed + 1)
            raise structlog.DropEvent
        self._said[key] = (now, 0)
        self._said.move_to_end(key)
        if len(self._said) > _MOST_REMEMBERED:
            self._said.popitem(last=False)
        if suppressed:
            event["suppressed"] = suppressed
        return event


class _Json:
    """Uses Cloud Logging's names for its special fields (https://cloud.google.com/logging/docs/structured-logging)."""

    def __init__(self, project: str | None) -> None:
        self._project = project

    def __call__(self, logger: WrappedLogger, _method: str, event: EventDict) -> str:
        named: dict[str, object] = {
            "severity": str(event.pop("level")).upper(),
            "time": event.pop("timestamp"),
        }
        if logger.name == ACCESS:
            event["event"] = _summary(event)
            self._take_request(event, named)
        named["message"] = event.pop("event", "")
        if "exception" in event:
            named["stack_trace"] = event.pop("exception")  # where Error Reporting looks for it
        return json.dumps(_masked({**named, **event}), skipkeys=True, allow_nan=False)

    def _take_request(self, event: EventDict, named: dict[str, object]) -> None:
        """https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#HttpRequest"""
        http = {}
        for key, name in _HTTP_REQUEST:
            value = event.pop(key, None)
            if value:  # a status of 0 means none
                http[name] = value
        http["latency"] = f"{event.pop('ms') / 1000:.4f}s"
        named["httpRequest"] = http
        trace = event.pop("trace", None)
        if trace is not None:
            if self._project:
                named["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{trace}"
            else:
                named["trace_id"] = trace
            if "span" in event:
                named["logging.googleapis.com/spanId"] = event.pop("span")
            named["logging.googleapis.com/trace_sampled"] = event.pop("sampled")


_HTTP_REQUEST: Final = (
    ("method", "requestMethod"),
    ("path", "requestUrl"),
    ("status", "status"),
    ("protocol", "protocol"),
    ("received", "requestSize"),
    ("sent", "responseSize"),
    ("remote", "remoteIp"),
)


def _summary(event: EventDict) -> str:
    """`GET /profiles/42 200`"""
    head = f"{event['method']} {event['path']}" if "method" in event else "unreadable request"
    return f"{head} {event['status'] or 'unanswered'}"


def _described(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a repr that raises is no reason to lose the line
        return f"<{type(value).__name__}>"


def _masked(value: object, depth: int = 0) -> Any:
    """`value` as JSON can hold it, with every string masked: keys and descriptions of other objects too."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, bool | int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if depth < _DEEPEST and isinstance(value, dict):
        return {
            mask(key) if isinstance(key, str) else key: _masked(inner, depth + 1)
            for key, inner in value.items()
        }
    if depth < _DEEPEST and isinstance(value, list | tuple):
        masked: list[Any] = []
        for inner in value:
            masked.append(_masked(inner, depth + 1))
            if isinstance(inner, str) and _HALF_A_KEY.search(inner):
                break  # a private key line by line: the remaining items are the rest of it
        return masked
    return mask(_described(value))


def _text(*, colors: bool, along: bool) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
    return [
        _shorten,
        _mask_values,
        _escape_controls,
        _RemedyBelow(renderer) if along else renderer,
        _mask_line,
    ]


class _RemedyBelow:
    """Puts a remedy on a line of its own, unquoted: on a terminal it is a command to copy."""

    def __init__(self, renderer: structlog.dev.ConsoleRenderer) -> None:
        self._renderer = renderer

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        remedy = event.pop("remedy", None)
        line = self._renderer(logger, method, event)
        return line if remedy is None else f"{line}\n    {remedy}"


def _shorten(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Shortens an access line to fit a terminal."""
    if logger.name == ACCESS:
        event["event"] = f"{_summary(event)} in {event.pop('ms')} ms"
        for name in ("method", "path", "status", "protocol", "received", "sent", "span", "sampled"):
            event.pop(name, None)
    return event


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keeps values from writing lines or terminal escapes of their own. A traceback keeps its lines."""
    traceback = event.pop("exception", None)
    escaped = {
        key: value if isinstance(value, bool | int | float | None) else printable(_described(value))
        for key, value in event.items()
    }
    if traceback is not None:
        escaped["exception"] = "\n".join(map(printable, traceback.split("\n")))
    return escaped


def _mask_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Runs before control characters are escaped: behind an escape a secret would not look like one."""
    return cast("EventDict", _masked(event))


def _mask_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    """Masks once more, for secrets that only joining the values completed. Text has no syntax that this could break."""
    return mask(line)
