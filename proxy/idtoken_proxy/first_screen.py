"""What `serve` shows on a terminal once it is ready: which URL leads where, as whom, and how long the token holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from idtoken_proxy.identity.slot import SlotStatus
from idtoken_proxy.settings.addresses import base_url, is_loopback
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Address, Route, TcpAddress

_MOST: Final = 20  # routes; more would not fit a screen


def first_screen(
    bound: Iterable[Address], routes: tuple[Route, ...], tokens: Mapping[str, SlotStatus], now: float
) -> Iterator[str]:
    """One line per route:
    `http://localhost:8080/profiles -> https://profiles-x.a.run.app  as caller@example.com, token for 59 min`.
    `tokens`: by route name. `now`: Unix seconds.
    """
    address = next(iter(bound), None)
    if address is None:  # there are only listeners before apps
        return
    for route in islice(routes, _MOST):
        yield f"  {_url(address, route)} -> {route.upstream}  {_token_of(route, tokens, now)}"
    if len(routes) > _MOST:
        yield f"  and {len(routes) - _MOST} more"


def _url(address: Address, route: Route) -> str:
    path = "" if route.path == "/" else route.path
    if not isinstance(address, TcpAddress):
        return f"{address} {route.host or ''}{route.path}"
    name = route.host or ("localhost" if is_loopback(address.host) else address.host)
    return base_url(TcpAddress(name, address.port)) + path


def _token_of(route: Route, tokens: Mapping[str, SlotStatus], now: float) -> str:
    if route.is_pattern and not isinstance(route.identity, NoIdentity):
        return "with a token for each service"
    return _credential(tokens.get(route.name), now)


def _credential(token: SlotStatus | None, now: float) -> str:
    if token is None or token.expires_at is None:
        return "without a token"
    return f"as {token.email or token.subject or token.source}, token for {max(0, round((token.expires_at - now) / 60))} min"
