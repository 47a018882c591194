from __future__ import annotations

import ast
from pathlib import Path

import idtoken_proxy.identity
from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.error_causes import CAUSES, REMEDIES, TRANSIENT, remedy_of

TREES = {
    path.name: ast.parse(path.read_text())
    for path in Path(*idtoken_proxy.identity.__path__).rglob("*.py")
    if path.name != "error_causes.py"
}


def test_every_cause_that_is_raised_is_explained() -> None:
    raised = {
        keyword.value.value
        for tree in TREES.values()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "TokenError"
        for keyword in call.keywords
        if keyword.arg == "cause" and isinstance(keyword.value, ast.Constant)
    }
    assert len(raised) > 20
    assert raised <= CAUSES.keys()


def test_no_explanation_is_left_over() -> None:
    words = {
        node.value for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.Constant)
    }
    assert CAUSES.keys() <= words


def test_each_is_one_sentence() -> None:
    for slug, sentence in CAUSES.items():
        assert slug == slug.lower().replace(" ", "_")
        assert sentence.endswith(".")
        assert sentence[0].isupper()


def error(cause: str, fault: Fault, remedy: str | None = None) -> TokenError:
    return TokenError("no", cause=cause, fault=fault, remedy=remedy)


def test_the_usual_remedy_goes_by_whose_fault_it_is() -> None:
    assert remedy_of(error("garbage", Fault.GOOGLE)) == REMEDIES["garbage"]
    told = remedy_of(error("garbage", Fault.OPERATOR)) or ""
    assert "one ID token" in told
    assert "guest network" not in told
    assert remedy_of(error("metadata_unavailable", Fault.GOOGLE)) == TRANSIENT
    assert remedy_of(error("internal", Fault.OPERATOR)) == REMEDIES["internal"]
    assert remedy_of(error("garbage", Fault.OPERATOR, "its own")) == "its own"
    assert remedy_of(error("invalid_grant", Fault.OPERATOR)) is None
