"""What is said about a configuration, as `check` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import Route, Settings

FILE = "proxy.yaml"
ROUTE = "routes: [{name: a, upstream: 'https://a.a.run.app'}]\n"  # all that a configuration needs


def settings(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return settings_from_text(dedent(text), FILE, environ or {})


def route(keys: str) -> Route:
    """Of a configuration with the one route, its keys beside the name as a flow mapping has them."""
    (only,) = settings(f"routes: [{{name: a, {keys}}}]").routes
    return only


def told(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Every problem; none where the text is a configuration."""
    try:
        settings(text, environ)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []
