"""Which service a name means."""

from __future__ import annotations

from idtoken_proxy.policy.services import NamedService, ServicePatterns
from idtoken_proxy.settings.model import Route, Upstream
from tests.cases import for_each


def pattern(name: str, domain: str, number: str = "123456789012") -> Route:
    return Route(name, Upstream("https", f"*-{number}.us-central1.run.app", 443), None, host=f"*.{domain}")


PATTERNS = ServicePatterns(
    [
        Route("listed", Upstream("https", "a.run.app", 443), "x", host="listed.localhost"),
        pattern("one", "run.localhost"),
        pattern("same", "same.localhost"),
        pattern("other", "localhost", "999999999999"),
    ]
)


def test_by_a_name_of_the_proxy_s() -> None:
    assert PATTERNS.by_host("orders.run.localhost") == NamedService("one", "orders")
    assert PATTERNS.by_host("orders.same.localhost") == NamedService("same", "orders")
    assert PATTERNS.by_host("orders.localhost") == NamedService("other", "orders")


def test_by_the_receiver_s_own() -> None:
    for authority in (
        "orders-123456789012.us-central1.run.app",
        "orders-123456789012.us-central1.run.app:443",
    ):
        assert PATTERNS.by_authority(authority) == NamedService("one", "orders")
    assert PATTERNS.by_authority("a-b-999999999999.us-central1.run.app") == NamedService("other", "a-b")


@for_each(
    "name",
    [
        "run.localhost.example.com",
        "a.b.run.localhost",
        "-.run.localhost",
        ".run.localhost",
        "a---b---c.run.localhost",
        "*.run.localhost",
        "a_b.run.localhost",
    ],
)
def test_other_names_mean_none(name: str) -> None:
    assert PATTERNS.by_host(name) is None


@for_each(
    "authority",
    [
        "orders-123456789013.us-central1.run.app",
        "orders-123456789012.us-east1.run.app",
        "orders-123456789012.us-central1.run.app:8443",
        "orders-123456789012.us-central1.run.app.evil.example",
        "x.orders-123456789012.us-central1.run.app",
        "-123456789012.us-central1.run.app",
        "123456789012.us-central1.run.app",
        "*-123456789012.us-central1.run.app",
        "orders-123456789012",
        "orders--123456789012.us-central1.run.app",
        "",
    ],
)
def test_other_projects_regions_and_ports_mean_none(authority: str) -> None:
    assert PATTERNS.by_authority(authority) is None


def test_without_patterns_nothing_is_meant() -> None:
    assert ServicePatterns().by_host("orders.run.localhost") is None
