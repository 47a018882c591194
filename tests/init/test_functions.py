"""What a function's own description tells of it, of either generation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.init.functions import is_function, receiver_of
from idtoken_proxy.init.item import Item
from idtoken_proxy.init.receivers import Receiver
from tests.cases import for_each
from tests.init.recorded import FUNCTIONS

FIRST, SECOND, BY_EVENT = json.loads(FUNCTIONS.read_text())


def read(tree: dict[str, Any]) -> Receiver:
    assert is_function(tree)
    return receiver_of(Item("functions.json", "item 1", tree))


def test_a_first_generation_one_s_audience_is_its_whole_url() -> None:
    found = read(FIRST)
    assert (found.name, found.region) == ("resize_Image", "us-central1")
    assert found.url == found.audience == "https://us-central1-my-project.cloudfunctions.net/resize_Image"
    assert found.what == "1st-generation function resize_Image, us-central1"


def test_a_second_generation_one_is_a_cloud_run_service() -> None:
    found = read(SECOND)
    assert found.url == found.audience == "https://tally-x7f3kq-uc.a.run.app"
    assert found.aliases == {"https://us-central1-my-project.cloudfunctions.net/tally"}
    assert "gcloud run services list" in found.unknown[0]


def test_the_second_api_s_form_of_a_first_generation_one() -> None:
    found = read({**SECOND, "environment": "GEN_1", "serviceConfig": {}})
    assert found.what.startswith("1st-generation")
    assert found.audience == "https://us-central1-my-project.cloudfunctions.net/tally"


def test_what_only_an_event_starts_has_no_url() -> None:
    assert read(BY_EVENT).lacking == "it has no URL: an event starts it"
    asked = read({"name": BY_EVENT["name"]}).lacking
    assert asked == "its URL is not told here: gcloud functions describe on-upload --region=us-central1"


def test_what_is_internal_says_so() -> None:
    assert "ingress is internal" in read({**FIRST, "ingressSettings": "ALLOW_INTERNAL_ONLY"}).notes[0]


@for_each(
    "name", ["projects/p/locations/us-central1/functions/\x1b", "projects/p/locations/x y1/functions/f"]
)
def test_strange_names_are_errors(name: str) -> None:
    with pytest.raises(ConfigError, match=r"functions.json: item 1: its"):
        read({**FIRST, "name": name})


def test_anything_else_is_no_function() -> None:
    assert not is_function({"name": "f"})
    assert not is_function([])
