"""The names of a configuration's routes, for shell completion. Reads only that key.

A shell runs it at each press of the key, so it imports nothing heavy. It reports no mistakes: nobody completing a name
wants any.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from idtoken_proxy.settings.environment import substitute
from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml


def route_names(path: str, environ: Mapping[str, str]) -> list[str]:
    """In the file's order; empty if it cannot be read. Not from standard input, which is the shell's, nor a pipe, which
    can be read once.
    """
    try:
        if not Path(path).is_file():
            return []
        tree = read_yaml(Path(path).read_text("utf-8-sig"), lambda value: substitute(value, environ)).tree
    except (OSError, ValueError, YamlError):
        return []
    routes = tree.get("routes") if isinstance(tree, dict) else None
    if not isinstance(routes, list):
        return []
    names = [route.get("name") for route in routes if isinstance(route, dict)]
    # Anything else is no name, and might be something that a shell obeys.
    return [name for name in names if isinstance(name, str) and name.replace("-", "").isalnum()]
