"""What a Cloud Run service's own description tells of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.init.cloud_run import is_service, receivers_of
from idtoken_proxy.init.item import Item
from idtoken_proxy.init.receivers import Door, Receiver
from tests.cases import for_each
from tests.init.recorded import service


def read(tree: dict[str, Any]) -> list[Receiver]:
    assert is_service(tree)
    return list(receivers_of(Item("services.json", "item 1", tree)))


def test_a_private_service_s_audience_is_its_url() -> None:
    [ledger] = read(service("ledger", ingress="all"))
    assert (ledger.name, ledger.url, ledger.audience, ledger.region) == (
        "ledger",
        "https://ledger-x7f3kq-uc.a.run.app",
        "https://ledger-x7f3kq-uc.a.run.app",
        "us-central1",
    )
    assert (ledger.door, ledger.notes, ledger.unknown, ledger.lacking) == (Door.PRIVATE, (), (), None)
    assert "https://ledger-123456789012.us-central1.run.app" in ledger.aliases


def test_a_custom_audience_comes_before_its_url_and_holds_for_its_tags() -> None:
    orders, tagged = read(service("orders"))
    assert orders.audience == tagged.audience == "https://orders.example.com"
    assert "custom audiences" in orders.notes[0]
    assert (tagged.name, tagged.url) == ("orders-next", "https://next---orders-x7f3kq-uc.a.run.app")


def test_a_tag_s_audience_is_the_service_s_url() -> None:
    orders, tagged = read(service("orders", custom_audiences=""))
    assert tagged.audience == orders.url


def test_behind_iap_no_id_token_will_do() -> None:
    [admin] = read(service("admin"))
    assert (admin.door, admin.audience) == (Door.IAP, None)
    assert "OAuth client" in admin.unknown[0]


def test_an_invoker_check_that_is_off_needs_no_token_unless_iap_is_there() -> None:
    [website] = read(service("website"))
    assert (website.door, website.audience) == (Door.PUBLIC, None)
    [behind_iap] = read(service("admin", invoker_iam_disabled="true"))
    assert behind_iap.door is Door.IAP


def test_what_is_internal_says_so() -> None:
    [ledger] = read(service("ledger"))
    assert "ingress is internal" in ledger.notes[0]
    assert ledger.unknown == ("whether this machine is within its networks",)


def test_a_disabled_url_is_no_upstream() -> None:
    [ledger] = read(service("ledger", default_url_disabled="true"))
    assert ledger.lacking is not None
    assert "disabled" in ledger.lacking


def test_a_manifest_without_a_status_has_the_url_that_project_number_and_region_make() -> None:
    tree = service("ledger")
    del tree["status"]
    [ledger] = read(tree)
    assert ledger.url == "https://ledger-123456789012.us-central1.run.app"
    del tree["metadata"]["labels"]
    [unplaced] = read(tree)
    assert unplaced.url is None
    assert "gcloud run services describe ledger --region=REGION" in str(unplaced.lacking)


def test_an_audience_that_no_configuration_takes_is_left_out_and_told() -> None:
    [ledger] = read(service("ledger", ingress="all", custom_audiences='["has blanks", "good"]'))
    assert ledger.audience == "good"
    assert "left out" in ledger.notes[0]


@for_each(
    "audience",
    [
        "https://billing-x7f3kq-uc.a.run.app",
        "HTTPS://Billing-x7f3kq-uc.a.run.app./",
        "billing-x7f3kq-uc.a.run.app",
        "https://us-central1-p.cloudfunctions.net/f",
        "1234-x.apps.googleusercontent.com",
        "https://oauth2.googleapis.com/token",
    ],
)
def test_another_receiver_s_audience_is_never_taken(audience: str) -> None:
    [ledger] = read(service("ledger", ingress="all", custom_audiences=json.dumps([audience])))
    assert ledger.audience == ledger.url
    assert "another receiver's" in ledger.notes[0]


def changed(*path: str, to: object) -> dict[str, Any]:
    tree = service("orders")
    inner: Any = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return tree


STRANGE = [
    (changed("metadata", "name", to="\x1b[2J"), "its name is no name"),
    (changed("metadata", "name", to=["a"]), "metadata.name must be a string"),
    (changed("metadata", "annotations", to=[1]), "metadata.annotations must be a mapping"),
    (changed("metadata", "labels", "cloud.googleapis.com/location", to="../x"), "is no region"),
    (changed("metadata", "annotations", "run.googleapis.com/custom-audiences", to="{}"), "no JSON list"),
    (
        changed("metadata", "annotations", "run.googleapis.com/custom-audiences", to="[" * 9999),
        "no JSON list",
    ),
    (changed("status", "url", to="http://evil.example"), "would send tokens in the clear"),
    (changed("status", "url", to="https://metadata.google.internal"), "metadata server"),
    (changed("status", "traffic", to="x"), "status.traffic must be a list"),
    (changed("status", "traffic", to=[{"tag": "\n", "url": "https://a.run.app"}]), "has a tag that is none"),
]


@for_each("strange", STRANGE)
def test_strange_input_is_an_error_that_names_file_and_item(strange: tuple[dict[str, Any], str]) -> None:
    tree, said = strange
    with pytest.raises(ConfigError) as refused:
        read(tree)
    assert str(refused.value).startswith("services.json: item 1: ")
    assert said in str(refused.value)
