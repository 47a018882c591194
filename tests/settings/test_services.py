"""A route for every service of one project and region, and for nothing else."""

from __future__ import annotations

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import Settings, Upstream
from idtoken_proxy.settings.services import match_host, service_host, service_route, upstream_or_services
from tests.cases import for_each

PATTERN = "*-123456789012.us-central1.run.app"


def settings(route: str = "", more: str = "") -> Settings:
    text = f"routes: [{{name: project, match: {{host: '*.run.localhost'}}, upstream: 'https://{PATTERN}'{route}}}]\n{more}"
    return settings_from_text(text, "proxy.yaml", {})


def test_each_service_has_a_url_and_an_audience_of_its_own() -> None:
    [route] = settings().routes
    assert (route.is_pattern, route.audience) == (True, None)
    orders = service_route(route, "orders")
    assert orders.upstream == Upstream("https", "orders-123456789012.us-central1.run.app", 443)
    assert (orders.audience, orders.host) == (
        "https://orders-123456789012.us-central1.run.app",
        "orders.run.localhost",
    )
    assert (orders.name, orders.is_pattern) == ("project", False)


def test_a_traffic_tag_s_audience_is_its_service_s() -> None:
    tagged = service_route(settings().routes[0], "next---orders")
    assert tagged.upstream.host == "next---orders-123456789012.us-central1.run.app"
    assert tagged.audience == "https://orders-123456789012.us-central1.run.app"


def test_the_identity_decides_on_the_audience() -> None:
    public = service_route(settings(", identity: none").routes[0], "orders")
    assert (public.identity, public.audience) == (NoIdentity(), None)
    signed = ", identity: {type: signed_jwt, service_account: a@p.iam.gserviceaccount.com}"
    assert service_route(settings(signed).routes[0], "orders").audience == (
        "https://orders-123456789012.us-central1.run.app/*"
    )


@for_each("label", ["o", "orders", "a-b", "a--b", "a1", "next---orders", "a" * 49, "orders-999999999999"])
def test_labels_of_cloud_run_s_grammar(label: str) -> None:
    assert service_host(PATTERN, label) == f"{label}-123456789012.us-central1.run.app"


LABELS = [
    "", "1a", "-a", "a-", "A", "a_b", "a.b", "a/b", "a@b", "a:b", "a%2e", "a\n", "é", "*", "a" * 50, "a---b---c",
]  # fmt: skip


@for_each("label", LABELS)
def test_anything_else_names_no_service(label: str) -> None:
    assert service_host(PATTERN, label) is None


def test_a_label_with_its_project_is_no_longer_than_dns_allows() -> None:
    assert service_host("*-1234567890123456789.us-central1.run.app", "a" * 43) is not None
    assert service_host("*-1234567890123456789.us-central1.run.app", "a" * 44) is None


@for_each(
    "url",
    [
        "https://*.run.app",
        "https://*-x7f3kq-uc.a.run.app",
        "https://*-123456789012.*.run.app",
        "https://a*-123456789012.us-central1.run.app",
        "https://*-123456789012.us-central1.run.app/base",
        "https://*-123456789012.us-central1.run.app:8443",
        "https://*-123456789012.us-central1.run.app.evil.example",
        "http://*-123456789012.us-central1.run.app",
        "https://*",
    ],
)
def test_a_star_elsewhere_is_no_upstream(url: str) -> None:
    with pytest.raises(ValueError, match="must be https://"):
        upstream_or_services(url)


@for_each(
    "host", ["*", "*.example.com", "*.127.0.0.1", "*.[::1]", "*.*.localhost", "a.*.localhost", "*a.localhost"]
)
def test_a_star_stands_for_names_under_localhost_alone(host: str) -> None:
    with pytest.raises(ValueError, match=r"localhost|no host name|brackets"):
        match_host(host)


def test_names_without_a_star_are_as_ever() -> None:
    assert match_host("Profiles.localhost") == "profiles.localhost"
    assert match_host("*.Run.localhost") == "*.run.localhost"
    assert upstream_or_services("https://a.run.app").host == "a.run.app"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "match: {host: a.localhost}, upstream: 'https://*-123456789012.us-central1.run.app'",
            "upstream: stands for every",
        ),
        ("match: {host: '*.run.localhost'}, upstream: 'https://a.run.app'", "match.host: stands for every"),
        (
            "match: {host: '*.run.localhost', path: /a}, upstream: 'https://*-123456789012.us-central1.run.app'",
            "match.path: has no place",
        ),
        (
            "match: {host: '*.run.localhost'}, upstream: 'https://*-123456789012.us-central1.run.app', audience: a",
            "audience: has no place",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_from_text(f"routes: [{{name: a, {text}}}]", "proxy.yaml", {})
    assert f"proxy.yaml:1: routes[0].{said}" in str(refused.value)


def test_how_many_at_a_time() -> None:
    assert settings().limits.services == 64
    assert settings(more="limits: {services: 2}").limits.services == 2
    with pytest.raises(ConfigError, match="from 1 to 1024"):
        settings(more="limits: {services: 0}")
