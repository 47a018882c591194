"""The access log: one line an exchange, without query strings, and of header values only what docs/operating.md tells. No line, no cost.

What the names mean to Cloud Logging is for proxy/idtoken_proxy/logs.py to say.
"""

from __future__ import annotations

import ipaddress
from time import monotonic
from typing import Final, Literal

import structlog

from idtoken_proxy.engine.exchange import Exchange
from idtoken_proxy.engine.server_context import AccessLog
from idtoken_proxy.engine.states import BROKEN
from idtoken_proxy.engine.stats import kind_of
from idtoken_proxy.engine.trace import trace_of
from idtoken_proxy.engine.traced_exchange import recorded
from idtoken_proxy.errors import NotHttp

# A line is for people to read and for a disk to hold: with `all`, a caller's paths of 64 KiB would fill it.
MAX_PATH: Final = 1024


def access_log(mode: Literal["off", "errors", "all"]) -> AccessLog | None:
    """`errors`: what the proxy itself answered or broke off, and the receivers' 5xx; repetitions may be left out.
    `all`: each and every exchange.
    """
    if mode == "off":
        return None
    log = structlog.get_logger("idtoken_proxy.access")
    everything = mode == "all"

    def write(exchange: Exchange) -> None:
        error, status = exchange.error, exchange.status
        if error is None and status < 500 and status and not everything:
            return
        if isinstance(error, NotHttp) and not everything:
            return  # told already (downstream.py), with `log: {access: off}` too
        seen = _seen(exchange)
        if error is not None:
            seen["kind"] = kind_of(error)
            seen["fault"] = error.fault.value
            seen["reason"] = error.detail
            seen["remedy"] = error.remedy
            seen["log_detail"] = error.log_detail
        elif exchange.state is BROKEN:
            seen["reason"] = "the app went away"
        if everything:
            seen["each"] = True
        told = {key: value for key, value in seen.items() if value is not None}
        (log.info if error is None and status < 500 else log.warning)("request", **told)

    return write


def _seen(exchange: Exchange) -> dict[str, object]:
    request = exchange.request
    seen: dict[str, object] = {
        "status": exchange.status,
        "route": exchange.entry.route.name if exchange.entry else None,
        "ms": round((monotonic() - exchange.started) * 1000, 1),
        "received": exchange.received,
        "sent": exchange.sent,
        "remote": remote_of(exchange.peer.address),
    }
    if request is not None:
        trace = recorded(exchange) or trace_of(request.passing)
        seen["method"] = request.method.decode("ascii")
        path = request.target.partition(b"?")[0]
        seen["path"] = path[:MAX_PATH].decode("ascii", "replace") + ("..." if len(path) > MAX_PATH else "")
        seen["protocol"] = "HTTP/1.0" if request.http10 else "HTTP/2" if request.http2 else "HTTP/1.1"
        if trace is not None:
            seen["trace"], seen["span"], seen["sampled"] = trace
    return seen


def remote_of(address: str | None) -> str | None:
    """None for this machine's own apps, which are the rule."""
    if address is None or ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return None
    return address
