"""docs/threat-model.md keeps its word: each row names tests, and each of them exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from tests.cases import for_each
from tests.hostile.differential import DOCUMENT

ROOT = Path(__file__).parents[2]
TEXT = DOCUMENT.read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@functools.cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def rows(section: str) -> list[str]:
    body = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line for line in body.splitlines() if line.startswith("| ")][1:]


def test_each_test_that_it_names_exists() -> None:
    assert len(NAMED) > 100
    assert [f"{path}::{name}" for path, name in NAMED if name not in functions_of(path)] == []


@for_each(("section", "count"), [("Threats", 22), ("Faults", 15)])
def test_every_row_has_its_proof(section: str, count: int) -> None:
    assert len(rows(section)) >= count
    for row in rows(section):
        proof = row.rstrip("| ").rpartition("|")[2]
        assert re.fullmatch(r"(`tests/[\w/]+\.py::test_\w+`(, )?)+", proof.strip()), row


def test_each_place_that_it_names_exists() -> None:
    places = set(re.findall(r"`((?:proxy|bench|tests)/[\w/]+(?:\.py)?)`", TEXT))
    assert len(places) > 20
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []


@for_each(
    "who",
    [
        "A name on the network",
        "A page without a referrer",
        "A link",
        "A shared network namespace",
        "The same user",
    ],
)
def test_it_says_what_does_not_hold(who: str) -> None:
    assert f"\n- **{who}" in TEXT.partition("\n## What does not hold\n")[2].partition("\n## ")[0]
