"""Receivers that containers are told of, and nothing else of what their environment holds."""

from __future__ import annotations

from typing import Any

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.init.compose import (
    is_compose,
    named_in,
    named_in_containers,
    receivers_of_compose,
    service_of,
)
from idtoken_proxy.init.item import Item
from tests.cases import for_each


def urls_in(*values: Any) -> list[tuple[str, str | None, str | None]]:
    return [
        (one.name, one.url, one.audience)
        for one in named_in(Item("compose.yaml", "services.app", {}), values)
    ]


def test_a_service_s_audience_is_its_origin_and_a_function_s_its_whole_url() -> None:
    assert urls_in("http://orders-x7f3kq-uc.a.run.app/v1?x=1 and more") == [
        ("orders", "https://orders-x7f3kq-uc.a.run.app", "https://orders-x7f3kq-uc.a.run.app")
    ]
    assert urls_in("${TALLY:-https://us-central1-p.cloudfunctions.net/tally/sub}") == [
        (
            "tally",
            "https://us-central1-p.cloudfunctions.net/tally",
            "https://us-central1-p.cloudfunctions.net/tally",
        )
    ]


def test_a_tag_is_no_part_of_the_audience() -> None:
    [(name, url, audience)] = urls_in("https://next---orders-123456789012.us-central1.run.app")
    assert (name, url) == ("next-orders", "https://next---orders-123456789012.us-central1.run.app")
    assert audience == "https://orders-123456789012.us-central1.run.app"


@for_each(
    "value",
    [
        "postgres://me:secret@db/x",
        "https://me:secret@orders.run.app.evil.example/",
        "https://orders.run.app@evil.example/",
        "https://orders.run.app:pw@evil.example/",
        "https://user@orders.run.app",
        "https://us-central1-p.cloudfunctions.net/",
        7,
        None,
        ["https://a.run.app"],
    ],
)
def test_other_values_are_not_looked_into(value: object) -> None:
    assert [url for _, url, _ in urls_in(value) if url is not None and "evil" in url] == []
    assert all(url is None or url == "https://orders.run.app" for _, url, _ in urls_in(value))


def test_what_has_no_audience_of_its_own_lacks_it() -> None:
    [(_, url, _)] = urls_in("https://orders-x-uc.mtls.run.app")
    assert url is None


def test_both_forms_of_an_environment() -> None:
    tree = {
        "services": {
            "a": {"environment": {"A": "https://a-x-uc.a.run.app"}},
            "b": {"environment": ["B=https://b-x-uc.a.run.app"]},
            "c": None,
        }
    }
    assert is_compose(tree)
    found = receivers_of_compose(Item("compose.yaml", "services", tree))
    assert [one.name for one in found] == ["a", "b"]


def test_a_manifest_s_containers() -> None:
    env = [{"name": "A", "value": "https://a-x-uc.a.run.app"}, {"name": "B", "valueFrom": {}}, "odd"]
    tree = {"spec": {"template": {"spec": {"containers": [{"env": env}, {}, 7]}}}}
    assert [one.name for one in named_in_containers(Item("service.yaml", "item 1", tree))] == ["a"]


@for_each("service", ["text", {"environment": "A=1"}])
def test_a_strange_service_is_an_error_that_names_it(service: object) -> None:
    tree = {"services": {"app": service}}
    with pytest.raises(ConfigError, match=r"compose.yaml: services.app: "):
        list(receivers_of_compose(Item("compose.yaml", "services", tree)))


def test_names() -> None:
    assert service_of("x7.a.run.app") == "x7"
    assert service_of("7-x-uc.a.run.app") == "receiver"
