"""One entry of somebody else's file, read strictly."""

from __future__ import annotations

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.init.item import Item

ITEM = Item(
    "f.json", "item 2", {"a": {"b": "x", "on": True, "said": "True", "list": [1], "none": None}, "n": 7}
)


def test_what_is_there_and_what_is_not() -> None:
    assert (ITEM.text("a", "b"), ITEM.text("a", "none"), ITEM.text("a", "c", "d")) == ("x", None, None)
    assert (ITEM.mapping("z"), ITEM.sequence("a", "list"), ITEM.sequence("z")) == ({}, [1], [])
    assert (ITEM.flag("a", "on"), ITEM.flag("a", "said"), ITEM.flag("a", "b")) == (True, True, False)


def test_another_shape_is_an_error() -> None:
    for read in (
        lambda: ITEM.text("a"),
        lambda: ITEM.text("n", "b"),
        lambda: ITEM.mapping("n"),
        lambda: ITEM.sequence("a"),
        lambda: ITEM.name("no name"),
        lambda: ITEM.url("ftp://x", "url"),
    ):
        with pytest.raises(ConfigError, match=r"f.json: item 2: "):
            read()


def test_an_audience_that_may_be_a_secret_is_none() -> None:
    assert ITEM.audience("https://orders.example.com") == "https://orders.example.com"
    assert ITEM.audience("ya29.abcdefgh") is None
    assert ITEM.audience(7) is None
