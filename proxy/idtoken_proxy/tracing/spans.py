"""What an exchange that has ended says of itself: a server span, and a client span for each attempt at the receiver.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and .../rpc/grpc/. No query, no header's value but User-Agent's, no
token; and whatever looks like a credential all the same is taken out, as of a log's line.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from idtoken_proxy.engine import grpc_status
from idtoken_proxy.engine.access import MAX_PATH, remote_of
from idtoken_proxy.engine.states import BROKEN, TUNNEL
from idtoken_proxy.engine.stats import kind_of
from idtoken_proxy.engine.trace import state_of
from idtoken_proxy.engine.traced_exchange import Attempt, TracedExchange
from idtoken_proxy.errors import ProxyError, ReceiverReset, TokenError
from idtoken_proxy.identity.events import FetchEvent
from idtoken_proxy.logs import mask
from idtoken_proxy.policy.request import Request
from idtoken_proxy.settings.model import kind_of as kind_of_wanted

Attributes: TypeAlias = dict[str, str | int | bool]

ABANDONED: Final = "abandoned"  # by the app, as idtoken_proxy_requests_abandoned_total
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)
_OTHER: Final = "_OTHER"
_LONGEST: Final = 256  # characters of a User-Agent, of a method that nobody knows
# What a server's span fails with: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
_SERVER_FAILS: Final = frozenset({2, 4, 12, 13, 14, 15})


class Link(NamedTuple):
    trace_id: int
    span_id: int


class Span(NamedTuple):
    """`started` and `ended`: Unix nanoseconds. `parent_id`: 0 where it is a root; `remote`: the parent is another program's."""

    name: str
    kind: Literal["server", "client", "internal"]
    trace_id: int
    span_id: int
    parent_id: int
    remote: bool
    state: str
    started: int
    ended: int
    attributes: Attributes
    failed: bool
    links: tuple[Link, ...] = ()


class Clocks(NamedTuple):
    """One moment, by `monotonic` and by the wall: all spans of an exchange are told by the same."""

    running: float
    wall: int

    def at(self, running: float) -> int:
        return self.wall - round((self.running - running) * 1e9)


def spans_of(exchange: TracedExchange, now: Clocks) -> list[Span]:
    """The server's, then the attempts'. `exchange` has ended, `now`."""
    request = exchange.request
    assert request is not None
    parent = exchange.parent
    state = state_of(request.passing) if parent is not None and not exchange.spoilt else ""
    method, attributes = _method(request)
    whole = Attributes(attributes)
    failed = _tell_of_app(whole, exchange, request)
    route = exchange.entry.route.name if exchange.entry is not None else None
    of_server = Span(
        name=f"{method} {route}" if route is not None else method,
        kind="server",
        trace_id=exchange.trace_id,
        span_id=exchange.span_id,
        parent_id=0 if parent is None or parent.span is None else int(parent.span, 16),
        remote=True,
        state=state,
        started=now.at(exchange.started),
        ended=now.wall,
        attributes=whole,
        failed=failed,
    )
    spans = [of_server]
    for number, attempt in enumerate(exchange.attempts):
        told = Attributes(attributes)
        if number:
            told["http.request.resend_count"] = number
        failed = _tell_of_receiver(told, exchange, attempt, request)
        spans.append(
            of_server._replace(
                name=method if method != "HTTP" else "HTTP",
                kind="client",
                span_id=attempt.span_id,
                parent_id=exchange.span_id,
                remote=False,
                started=now.at(attempt.started),
                ended=now.at(attempt.ended) if attempt.ended else now.wall,
                attributes=told,
                failed=failed,
            )
        )
    return spans


def span_of_fetch(
    event: FetchEvent, now: int, trace_id: int, span_id: int, parent_id: int, links: tuple[Link, ...]
) -> Span:
    """Of one token's fetch, which has just ended, `now`. Its clock may have run through a suspend."""
    attributes: Attributes = {
        "idtoken_proxy.identity": event.source,
        f"idtoken_proxy.{kind_of_wanted(event.wanted)}": mask(event.asked_for),
    }
    if event.cause is not None:
        attributes["error.type"] = event.cause
    else:
        attributes["idtoken_proxy.token_changed"] = event.changed
    return Span(
        name=f"token {event.source}",
        kind="internal",
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        remote=False,
        state="",
        started=now - round(event.seconds * 1e9),
        ended=now,
        attributes=attributes,
        failed=event.error is not None,
        links=links,
    )


def _method(request: Request) -> tuple[str, Attributes]:
    """(how a span's name begins, what both kinds of span say of it). Anybody can invent a method."""
    said = request.method.decode("ascii", "replace")
    if said in _METHODS:
        return said, {"http.request.method": said}
    return "HTTP", {"http.request.method": _OTHER, "http.request.method_original": mask(said[:_LONGEST])}


def _tell_of_app(attributes: Attributes, exchange: TracedExchange, request: Request) -> bool:
    """What the app asked and had; whether that is a failure."""
    attributes["url.scheme"] = "https" if request.over_tls else "http"
    attributes["url.path"] = _path(request.target)
    attributes["network.protocol.version"] = "1.0" if request.http10 else "2" if request.http2 else "1.1"
    if request.host is not None:
        _tell_of_address(attributes, request.host.decode("ascii", "replace"))
    if exchange.entry is not None:
        attributes["http.route"] = exchange.entry.route.name
    remote = remote_of(exchange.peer.address)
    if remote is not None:
        attributes["client.address"] = remote
    agent = _user_agent(request)
    if agent:
        attributes["user_agent.original"] = agent
    status, error = exchange.status, exchange.error
    if status:
        attributes["http.response.status_code"] = status
    code = _tell_of_grpc(attributes, exchange, request)
    if error is not None:
        attributes["error.type"] = _type_of(error)
        return status >= 500 or status != error.status  # else the app's own fault, as of any server
    if exchange.state is BROKEN:
        attributes["error.type"] = ABANDONED
        return False
    if status >= 500:
        attributes["error.type"] = str(status)
        return True
    if code in _SERVER_FAILS:
        attributes["error.type"] = str(code)
        return True
    return False


def _tell_of_receiver(
    attributes: Attributes, exchange: TracedExchange, attempt: Attempt, request: Request
) -> bool:
    """What became of one attempt; whether it failed."""
    assert exchange.entry is not None
    upstream = exchange.entry.route.upstream
    path = _path(exchange.path)
    attributes["url.full"] = upstream.origin + path
    attributes["server.address"] = upstream.host
    attributes["server.port"] = upstream.port
    if attempt.http2 is not None:
        attributes["network.protocol.version"] = "2" if attempt.http2 else "1.1"
    error: ProxyError | None = attempt.error
    status = attempt.status
    if not attempt.ended:
        error = exchange.error
    last = attempt is exchange.attempts[-1]
    if last and not status:
        status = 101 if exchange.state is TUNNEL else exchange.response.status if exchange.response else 0
    if status:
        attributes["http.response.status_code"] = status
    code = _tell_of_grpc(attributes, exchange, request) if last else None
    if error is not None:
        attributes["error.type"] = _type_of(error)
        return True
    if last and exchange.state is BROKEN:
        attributes["error.type"] = ABANDONED
        return False
    if status >= 400:
        attributes["error.type"] = str(status)
        return True
    if code:
        attributes["error.type"] = str(code)
        return True
    return False


def _tell_of_grpc(attributes: Attributes, exchange: TracedExchange, request: Request) -> int | None:
    """The call's status, where there is one."""
    if not request.grpc:
        return None
    attributes["rpc.system"] = "grpc"
    service, _, method = _path(request.target).removeprefix("/").rpartition("/")
    if service and method:
        attributes["rpc.service"], attributes["rpc.method"] = service, method
    code, error = exchange.grpc_status, exchange.error
    if error is not None:
        code = None if isinstance(error, ReceiverReset) else grpc_status.of_error(error)
    elif code is None and exchange.response is not None and exchange.response.status != 200:
        code = grpc_status.of_http(exchange.response.status)
    if code is not None:
        attributes["rpc.grpc.status_code"] = code
    return code


def _type_of(error: ProxyError) -> str:
    """The cause of a token that is not there, or what kind of error it is: as the metrics' labels."""
    return error.cause if isinstance(error, TokenError) else kind_of(error)


def _path(target: bytes) -> str:
    path = target.partition(b"?")[0]
    shown = path[:MAX_PATH].decode("ascii", "replace")
    return mask(shown) + ("..." if len(path) > MAX_PATH else "")


def _tell_of_address(attributes: Attributes, host: str) -> None:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and len(port) <= 5:
        attributes["server.address"], attributes["server.port"] = name, int(port)
    else:
        attributes["server.address"] = host[:_LONGEST]


def _user_agent(request: Request) -> str:
    for line in request.passing:
        if line[10:12] == b": " and line[:10].lower() == b"user-agent":
            return mask(line[12 : 12 + _LONGEST].removesuffix(b"\r\n").decode("ascii", "replace"))
    return ""
