"""Did the app come over TLS? A proxy in front that ends it says so in X-Forwarded-Proto (nginx, Caddy, Envoy, Traefik).

Whoever may say so chooses the proxy's own origin and which requests browsers vouch for, so that the field is read of those
that `guard.trusted_proxies` lists, and of nobody else. What they say of a name, `X-Forwarded-Host`, is not read of them either.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.request import Request
from idtoken_proxy.settings.addresses import ip_address

# Traefik says wss and ws of WebSockets.
_OVER_TLS: Final = {b"https": True, b"wss": True, b"http": False, b"ws": False}
_MEMO_LIMIT: Final = 256


class Fronts:
    def __init__(self, trusted: Iterable[IPv4Network | IPv6Network | Literal["unix"]]) -> None:
        listed = tuple(trusted)
        self._trusts_sockets = "unix" in listed
        self._networks = tuple(one for one in listed if one != "unix")
        self._known: dict[str, bool] = {}

    def trusts(self, address: str | None, *, unix: bool) -> bool:
        """`address`: None where the system does not tell it. An IPv4 address that is mapped into IPv6 counts as itself."""
        if unix or address is None:
            return unix and self._trusts_sockets
        known = self._known.get(address)
        if known is None:
            peer = ip_address(address)
            known = peer is not None and any(peer in network for network in self._networks)
            if len(self._known) >= _MEMO_LIMIT:
                self._known.clear()
            self._known[address] = known
        return known

    def settle(self, request: Request, address: str | None, *, unix: bool) -> None:
        """One field with one word: more are what a client said, passed on beside what the proxy in front says. Of a
        request that names its receiver in the target nothing is asked: no proxy in front sends one. Raises MalformedRequest.
        """
        said = request.forwarded_proto
        if not said or request.absolute or not self.trusts(address, unix=unix):
            return
        over_tls = _OVER_TLS.get(said[0].lower()) if len(said) == 1 else None
        if over_tls is None:
            raise MalformedRequest(
                "the proxy in front says X-Forwarded-Proto more than once, or something else than http or https",
                remedy="let it set the field afresh in place of adding to it (nginx: proxy_set_header "
                "X-Forwarded-Proto $scheme;)",
            )
        request.over_tls = over_tls
