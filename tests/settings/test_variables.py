"""Every reading of the environment is declared, and none of what is declared gives a secret away."""

from __future__ import annotations

import ast
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import idtoken_proxy
from idtoken_proxy.admin.doctor import examine
from idtoken_proxy.admin.report import as_json, as_text
from idtoken_proxy.errors import ProxyError
from idtoken_proxy.settings.environment import CONFIG, OVERRIDES
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.variables import BY_LIBRARIES, READ
from tests.cases import for_each
from tests.settings.test_plausible import SECRETS

PACKAGE = Path(idtoken_proxy.__file__).parent
# The name is not in the code that reads: what the configuration's ${NAME} says, and those of two lists.
ANY_NAME = {"settings/environment.py: name", "wrapper/variables.py: name", "wrapper/variables.py: other"}


def keys_read(source: str) -> Iterator[ast.expr]:
    """What `environ[...]`, `environ.get(...)`, `os.getenv(...)` and the like ask for, whatever `environ` is part of."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Subscript(value=mapping, slice=key) if is_environ(mapping):
                yield key
            case ast.Call(
                func=ast.Attribute(value=mapping, attr="get" | "pop" | "setdefault"), args=[key, *_]
            ) if is_environ(mapping):
                yield key
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[mapping]) if is_environ(
                mapping
            ):
                yield key
            case ast.Call(func=function, args=[key, *_]) if ast.unparse(function) in {"os.getenv", "getenv"}:
                yield key


def is_environ(node: ast.expr) -> bool:
    return ast.unparse(node).rpartition(".")[2].lstrip("_") in {"environ", "environb"}


def name_of(key: ast.expr, path: Path) -> str:
    """The variable's name, or where the reading is if that cannot be told."""
    if isinstance(key, ast.Constant):
        return str(key.value)
    parts = ("idtoken_proxy", *path.relative_to(PACKAGE).with_suffix("").parts)
    modules = [".".join(parts).removesuffix(".__init__")]
    modules += [  # some import within a function
        str(node.module)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and any(ast.unparse(key) == one.name for one in node.names)
    ]
    for module in modules:
        found = getattr(importlib.import_module(module), ast.unparse(key), None)
        if isinstance(found, str):
            return found
    return f"{path.relative_to(PACKAGE)}: {ast.unparse(key)}"


def test_every_variable_that_is_read_is_declared_and_the_other_way_round() -> None:
    found = {
        name_of(key, path) for path in PACKAGE.rglob("*.py") for key in keys_read(path.read_text("utf-8"))
    }
    assert found - ANY_NAME <= set(READ)
    assert set(READ) <= found | set(OVERRIDES) | {CONFIG, "NO_PROXY", "no_proxy"}
    assert found >= ANY_NAME


@for_each(
    "source",
    ["os.environ['A']", "self._environ.get('A', 1)", "os.getenv('A')", "'A' in environ", "environ.pop('A')"],
)
def test_a_reading_is_found_in_each_form(source: str) -> None:
    assert [ast.unparse(key) for key in keys_read(source)] == ["'A'"]


@pytest.mark.parametrize("variable", sorted({*READ, *BY_LIBRARIES} - {"PATH"}))
async def test_no_variable_gives_a_secret_away(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In doctor's words, as text and as JSON, of a route whose token and receiver are asked for; and in the log."""
    text = "routes: [{name: a, upstream: 'http://127.0.0.1:9', audience: 'https://a.run.app'}]"
    for secret in SECRETS.values():
        kept = {"HOME": str(tmp_path), "GCE_METADATA_HOST": "127.0.0.1:9", variable: secret}
        monkeypatch.setenv(variable, secret)
        environ = {**os.environ, **kept}
        environ.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
        environ |= kept
        try:
            found = await examine(settings_from_text(text, "proxy.yaml", environ), environ)
            said = as_json(found) + "\n".join(as_text(found, colors=False))
        except ProxyError as error:
            said = f"{error.title} {error.detail} {error.remedy}"
        said += "".join(capfd.readouterr())
        assert said
        assert "SENTINEL" not in said, said
        assert secret not in said
