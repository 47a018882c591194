"""The access log: one line an exchange, without query strings or header values. No line, no cost."""

from __future__ import annotations

from time import monotonic
from typing import Literal

import structlog

from proxy.engine.exchange import Exchange
from proxy.engine.front import AccessLog


def access_log(mode: Literal["off", "errors", "all"]) -> AccessLog | None:
    """`errors`: what the proxy itself answered or broke off, and the receivers' 5xx."""
    if mode == "off":
        return None
    log = structlog.get_logger("proxy.access")
    everything = mode == "all"

    def write(exchange: Exchange) -> None:
        if exchange.error is None and exchange.status < 500 and exchange.status and not everything:
            return
        request, error = exchange.request, exchange.error
        seen: dict[str, object] = {
            "status": exchange.status,
            "route": exchange.lane.route.name if exchange.lane else None,
            "method": request.method.decode("ascii") if request else None,
            "path": request.target.partition(b"?")[0].decode("ascii", "replace") if request else None,
            "ms": round((monotonic() - exchange.started) * 1000, 1),
        }
        if error is not None:
            seen.update(
                fault=error.fault.value, reason=error.detail, remedy=error.remedy, log_detail=error.log_detail
            )
        elif exchange.state == "broken":
            seen["reason"] = "the app went away"
        told = {key: value for key, value in seen.items() if value is not None}
        (log.info if error is None and exchange.status < 500 else log.warning)("request", **told)

    return write
