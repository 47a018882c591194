"""Options in place of a file."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.command_line import ANYWHERE, KEYS, CommandLine
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.load import settings_from_options
from tests.cases import for_each


@for_each(
    ("route", "name", "match"),
    [
        ("/a=https://a.run.app", "a", {"path": "/a"}),
        ("/=https://a.run.app", "root", {"path": "/"}),
        ("/a/b_c.d=https://a.run.app/x", "a-b-c-d", {"path": "/a/b_c.d"}),
        ("mcp.localhost=https://a.run.app", "mcp", {"host": "mcp.localhost", "path": "/"}),
        ("app.test/v1=https://a.run.app", "app-test-v1", {"host": "app.test", "path": "/v1"}),
        ("/a=https://a.run.app/b=c", "a", {"path": "/a"}),
    ],
)
def test_a_route_is_where_it_is_and_where_it_leads(route: str, name: str, match: dict[str, str]) -> None:
    tree, _ = CommandLine(routes=(route,)).tree()
    assert tree == {
        "routes": [{"name": name, "upstream": route.partition("=")[2], "match": match, "strip_prefix": True}]
    }


@for_each("secret", ["https://me:hunter2@a.run.app", "hunter2", "https://x/?hunter2=1"])
def test_a_route_that_is_none_is_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError) as refused:
        CommandLine(routes=(secret,)).tree()
    assert "hunter2" not in refused.value.detail
    assert "/PATH=URL" in refused.value.detail


@given(st.lists(st.text()), st.none() | st.text())
def test_any_routes(routes: list[str], upstream: str | None) -> None:
    with contextlib.suppress(ConfigError):
        settings_from_options(CommandLine(upstream, None, tuple(routes)), {})


def test_every_option_stands_for_a_key_of_the_document() -> None:
    for section, *rest in KEYS.values():
        declared = Document.declared
        assert section in declared
        assert len(rest) <= 1
    assert set(KEYS) > ANYWHERE
