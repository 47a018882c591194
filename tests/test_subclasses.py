"""No interpreted class has a compiled base that mypyc would refuse it; and the rule by which that is found is mypyc's own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import idtoken_proxy
from tests.cases import for_each
from tests.subclasses import Class, Classes, classes_of, refused
from tests.test_build import MODULES

PACKAGE = Path(idtoken_proxy.__file__).parent

# What a compiled module may define, and whether an interpreted class may extend it.
KINDS = """\
from __future__ import annotations
import enum
from abc import ABC
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypedDict, TypeVar
from mypy_extensions import mypyc_attr

T = TypeVar("T")

class Plain: ...
class UnderPlain(Plain): ...
class Abstract(ABC): ...
class Of(Generic[T]): ...
class Shape(Protocol): ...
@dataclass(frozen=True)
class Data: ...
@dataclass(frozen=True, slots=True)
class Slotted: ...
@mypyc_attr(allow_interpreted_subclasses=True)
class Open: ...
class UnderOpen(Open): ...
class Pair(NamedTuple):
    one: int = 1
class Row(TypedDict): ...
class Kind(enum.Enum): ...
class Wrong(ValueError): ...
class UnderWrong(Wrong): ...
class Mapped(dict[str, int]): ...
"""
CLOSED = {"Plain", "UnderPlain", "Abstract", "Of", "Shape", "Data", "Slotted", "UnderOpen"}
FREE = {"Open", "Pair", "Row", "Kind", "Wrong", "UnderWrong", "Mapped"}


def by_name(*classes: Class) -> Classes:
    return {(one.module, one.name): one for one in classes}


@cache
def of_the_package() -> Classes:
    found: list[Class] = []
    for path in PACKAGE.rglob("*.py"):
        parts = ("idtoken_proxy", *path.relative_to(PACKAGE).with_suffix("").parts)
        package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if package else parts)
        found += classes_of(module, path.read_text(encoding="utf-8"), package=package)
    return by_name(*found)


def said_of(subclass: str, source: str = KINDS) -> list[str]:
    """Where `source` is the compiled module `app.kinds`, and `subclass` an interpreted one beside it."""
    return refused(
        by_name(*classes_of("app.kinds", source), *classes_of("app.others", subclass)), {"app.kinds"}
    )


def test_no_interpreted_class_has_a_base_that_refuses_it() -> None:
    classes = of_the_package()
    assert len({one.module for one in classes.values()}.intersection(MODULES)) > 40
    assert refused(classes, MODULES) == []


@for_each("base", sorted(CLOSED))
def test_one_that_is_planted_is_found(base: str) -> None:
    (line,) = said_of(f"from app.kinds import {base}\n\nclass Mine({base}): ...\n")
    assert line == f"app.others:3: Mine is interpreted, and its base {base} of app.kinds is compiled"


@for_each("base", sorted(FREE))
def test_what_mypyc_leaves_to_the_interpreter_is_anyone_s_base(base: str) -> None:
    assert said_of(f"from app.kinds import {base}\n\nclass Mine({base}): ...\n") == []


@for_each(
    "subclass",
    [
        "from app.kinds import Plain as Other\nclass Mine(Other): ...",
        "from app import kinds\nclass Mine(kinds.Plain): ...",
        "import app.kinds\nclass Mine(app.kinds.Plain): ...",
        "from .kinds import Plain\nclass Mine(Plain): ...",
        "from app.kinds import Of\nclass Mine(Of[int]): ...",
        "from app.kinds import Plain\nclass Mine(dict[str, str], Plain): ...",
        "def make():\n    from app.kinds import Plain\n    class Mine(Plain): ...",
    ],
)
def test_however_it_is_written(subclass: str) -> None:
    assert len(said_of(subclass)) == 1


@for_each(
    "subclass",
    [
        "class Plain: ...\nclass Mine(Plain): ...",  # another one of that name
        "from app.elsewhere import Plain\nclass Mine(Plain): ...",
        "from typing import Protocol\nfrom app.kinds import Shape\nclass Mine(Shape, Protocol): ...",
    ],
)
def test_no_other_class_is_taken_for_one(subclass: str) -> None:
    assert said_of(subclass) == []


def test_the_compiled_may_extend_the_compiled() -> None:
    assert said_of("") == []


def test_the_planted_one_is_found_in_the_package_itself() -> None:
    planted = classes_of(
        "idtoken_proxy.admin.planted", "from idtoken_proxy.engine.pool import Pool\nclass Mine(Pool): ..."
    )
    (line,) = refused({**of_the_package(), **by_name(*planted)}, MODULES)
    assert line.startswith("idtoken_proxy.admin.planted:2: Mine is interpreted, and its base Pool")


TRY = """\
import app_kinds
assert app_kinds.__file__.endswith((".so", ".pyd")), app_kinds.__file__
for name in {names!r}:
    try:
        scope = {{"app_kinds": app_kinds}}
        exec(f"class Mine(app_kinds.{{name}}): pass", scope)
        if name != "Kind":  # is made by being defined
            scope["Mine"]()
    except TypeError as error:
        print(name, error, sep=": ")
"""


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler; .ci/run installs one")
def test_mypyc_refuses_what_is_held_for_refused_and_nothing_else(tmp_path: Path) -> None:
    """By compiling each kind of class, and extending it."""
    assert importlib.util.find_spec("mypyc") is not None
    (tmp_path / "app_kinds.py").write_text(KINDS)
    build = "import sys; from mypyc.build import mypycify; from setuptools import setup; setup(name='kinds', py_modules=[], ext_modules=mypycify(['--config-file=', 'app_kinds.py'], opt_level='0'))"
    command = [sys.executable, "-c", build, "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = subprocess.run(
        [sys.executable, "-c", TRY.format(names=sorted(CLOSED | FREE))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said = dict(line.split(": ", 1) for line in tried.stdout.splitlines())
    assert set(said) == CLOSED
    assert all("interpreted classes cannot inherit from compiled" in words for words in said.values())
