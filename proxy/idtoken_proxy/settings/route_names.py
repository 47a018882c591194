"""The names of a configuration's routes, for a shell to complete: the one key, read by itself.

It is read at each press of the key, so nothing heavy is imported; and nobody who completes a name wants to hear of mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from idtoken_proxy.settings.environment import substitute
from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml


def route_names(path: str, environ: Mapping[str, str]) -> list[str]:
    """In the file's order; none where it cannot be read. Standard input is the shell's own, and a pipe is read once."""
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
    # Whatever else stands there is no name, and might be something that a shell obeys.
    return [name for name in names if isinstance(name, str) and name.replace("-", "").isalnum()]
