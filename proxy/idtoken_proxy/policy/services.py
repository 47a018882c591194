"""Which service of a project a request names, where a route stands for all of them (settings/services.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from idtoken_proxy.settings.model import Route
from idtoken_proxy.settings.services import STAR, service_host


class NamedService(NamedTuple):
    """`pattern`: the route's name. `label`: what stands in place of the star."""

    pattern: str
    label: str


class ServicePatterns:
    """One look-up in a dict for each name, however many patterns there are."""

    __slots__ = ("_by_domain", "_by_upstream")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        """Of these, those that are patterns. Of two that lead to one project and region, a receiver's name means the first."""
        self._by_domain: dict[str, Route] = {}
        self._by_upstream: dict[str, Route] = {}
        for route in routes:
            if route.is_pattern:
                self._by_domain.setdefault((route.host or "").removeprefix(f"{STAR}."), route)
                self._by_upstream.setdefault(route.upstream.host, route)

    def by_host(self, name: str) -> NamedService | None:
        """`orders.run.localhost`; `name` in lower case and without a port."""
        label, _, domain = name.partition(".")
        return _named(self._by_domain.get(domain), label)

    def by_authority(self, authority: str) -> NamedService | None:
        """`orders-123456789012.us-central1.run.app`, which may have the port of https."""
        label, _, domain = authority.removesuffix(":443").partition(".")
        service, _, number = label.rpartition("-")
        return _named(self._by_upstream.get(f"{STAR}-{number}.{domain}"), service)


def _named(route: Route | None, label: str) -> NamedService | None:
    if route is None or service_host(route.upstream.host, label) is None:
        return None
    return NamedService(route.name, label)
