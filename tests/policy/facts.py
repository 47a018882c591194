"""The facts that a head may have, by name: as its source says them, since a compiled class does not."""

from __future__ import annotations

import ast
from pathlib import Path

from idtoken_proxy.policy import request


def facts_of(kind: type) -> dict[str, str]:
    """Name -> type, as it is written."""
    source = Path(request.__file__).with_name("request.py").read_text(encoding="utf-8")
    (found,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    facts = {
        each.target.id: ast.unparse(each.annotation)
        for each in found.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    assert "passing" in facts
    return facts
