"""REST's second version tells of a service what the first does, under names of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.init.inventory import receivers_of
from idtoken_proxy.init.receivers import Door, Receiver
from tests.cases import for_each
from tests.init.recorded import FUNCTIONS, SERVICES

NAME = "projects/my-project/locations/us-central1/services/orders"
URI = "https://orders-x7f3kq-uc.a.run.app"
PLACED = "https://orders-123456789012.us-central1.run.app"
TAGGED = {
    "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
    "revision": "orders-00004-xyz",
    "tag": "next",
    "uri": "https://next---orders-x7f3kq-uc.a.run.app",
}
ALL = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}
ORDERS: dict[str, Any] = {
    "name": NAME,
    "uid": "2f0c",
    "generation": "3",
    "createTime": "2026-03-02T09:11:21.000000Z",
    "ingress": "INGRESS_TRAFFIC_ALL",
    "launchStage": "GA",
    "template": {"containers": [{"image": "us-docker.pkg.dev/my-project/apps/orders"}]},
    "traffic": [ALL, {key: value for key, value in TAGGED.items() if key != "uri"}],
    "customAudiences": ["https://orders.example.com", "orders"],
    "trafficStatuses": [ALL, TAGGED],
    "urls": [PLACED, URI],
    "uri": URI,
}


def read(tree: object) -> list[Receiver]:
    return receivers_of("services.json", json.dumps(tree).encode())


def test_it_says_the_same_of_a_service_as_the_first() -> None:
    first = receivers_of("services.json", SERVICES.read_bytes())
    assert read([ORDERS]) == first[:2]
    assert first[0].audience == "https://orders.example.com"


def test_one_alone_and_what_a_list_answers_will_do() -> None:
    assert read(ORDERS) == read([ORDERS]) == read({"services": [ORDERS], "nextPageToken": "a"})
    functions = json.loads(FUNCTIONS.read_text())
    assert read({"functions": functions}) == read(functions)


@for_each(
    ("said", "door", "note"),
    [
        ({"iapEnabled": True}, Door.IAP, "behind IAP"),
        ({"invokerIamDisabled": True}, Door.PUBLIC, "invoker check is off"),
        ({"invokerIamDisabled": False}, Door.PRIVATE, ""),
        ({"ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY"}, Door.PRIVATE, "ingress is internal:"),
        ({"ingress": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"}, Door.PRIVATE, "internal and load balancing"),
    ],
)
def test_who_gets_in(said: dict[str, Any], door: Door, note: str) -> None:
    (found,) = read([{**ORDERS, "trafficStatuses": [], "customAudiences": [], **said}])
    assert found.door is door
    assert note in "".join(found.notes)


def test_a_disabled_url_is_no_upstream() -> None:
    found = read([{**ORDERS, "defaultUriDisabled": True}])[0]
    assert "run.app URL is disabled" in str(found.lacking)


def test_one_that_has_no_url_yet_has_that_of_its_project_s_number() -> None:
    made = {**ORDERS, "name": NAME.replace("my-project", "123456789012"), "uri": ""}
    assert read([made])[0].url == PLACED
    assert "gcloud run services describe orders" in str(read([{**ORDERS, "uri": None}])[0].lacking)


@for_each(
    ("said", "told"),
    [
        ({"uri": "http://evil.example"}, "would send tokens in the clear"),
        ({"uri": 7}, "uri must be a string"),
        ({"customAudiences": "a"}, "customAudiences must be a list"),
        ({"customAudiences": [7]}, "no JSON list of strings"),
        ({"iapEnabled": "yes"}, "iapEnabled must be true or false"),
        ({"trafficStatuses": [{"tag": "A b", "uri": URI}]}, "has a tag that is none"),
        ({"name": NAME.replace("us-central1", "..")}, "is no region"),
    ],
)
def test_strange_input_is_an_error_that_names_file_and_item(said: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read([{**ORDERS, **said}])
    assert str(refused.value).startswith("services.json: item 1 (orders): ")
    assert told in str(refused.value)
