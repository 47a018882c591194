"""Which class may not be a base where: an interpreted subclass of a compiled class is refused by mypyc when it is first called, so
that nothing says so before a compiled build runs.

https://mypyc.readthedocs.io/en/stable/native_classes.html#inheritance
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

ALLOWS: Final = "allow_interpreted_subclasses"  # of @mypyc_attr; a subclass does not inherit it
# What mypyc leaves to the interpreter: https://mypyc.readthedocs.io/en/stable/native_classes.html#defining-non-native-classes.
NOT_NATIVE: Final = {"NamedTuple", "TypedDict", "Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"}
# Natives with a layout of the interpreter's own, which mypyc lets anyone extend.
BUILT_IN_LAYOUT: Final = {"dict"}


@dataclass(frozen=True)
class Class:
    """`bases`: (module, name) of each, as far as an import or its own module tells; else ("", name)."""

    module: str
    name: str
    line: int
    bases: tuple[tuple[str, str], ...]
    allows: bool

    @property
    def is_protocol(self) -> bool:
        return any(name == "Protocol" for _, name in self.bases)


Classes = Mapping[tuple[str, str], Class]


def classes_of(module: str, source: str, *, package: bool = False) -> list[Class]:
    """All that `source` defines, in functions and classes too. `package`: it is an `__init__.py`."""
    if "class " not in source:
        return []
    nodes = list(ast.walk(ast.parse(source)))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    known = {node.name: (module, node.name) for node in classes}
    known.update(_imported(nodes, module if package else module.rpartition(".")[0]))
    return [
        Class(
            *(module, node.name, node.lineno),
            tuple(_resolved(base, known) for base in node.bases),
            any(map(_allows, node.decorator_list)),
        )
        for node in classes
    ]


def _imported(nodes: Iterable[ast.AST], package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(the name here, its module and its name there); ("a.b", "") for a module."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                yield alias.asname or alias.name, (source, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, (alias.name, "")


def _resolved(base: ast.expr, known: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    if isinstance(base, ast.Subscript):  # AppBody[AppConnection]
        base = base.value
    if isinstance(base, ast.Attribute):
        module, name = known.get(ast.unparse(base.value), ("", ""))
        return f"{module}.{name}".rstrip("."), base.attr
    name = ast.unparse(base)
    return known.get(name, ("", name))


def _allows(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and any(
        keyword.arg == ALLOWS and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in decorator.keywords
    )


def refused(classes: Classes, compiled: Collection[str]) -> list[str]:
    """A line for each interpreted class that mypyc will refuse to make an instance of."""
    return [
        f"{one.module}:{one.line}: {one.name} is interpreted, and its base {base} of {module} is compiled"
        for one in classes.values()
        if one.module not in compiled and not one.is_protocol  # of a protocol nobody makes an instance
        for module, base in one.bases
        if module in compiled and _is_closed(classes, (module, base))
    ]


def _is_closed(classes: Classes, key: tuple[str, str]) -> bool:
    one = classes.get(key)
    return one is not None and not one.allows and not _left_alone(classes, key)


def _left_alone(classes: Classes, key: tuple[str, str]) -> bool:
    """Not native, or an exception, whichever of its bases says so."""
    one = classes.get(key)
    if one is None:
        return key[1] in NOT_NATIVE | BUILT_IN_LAYOUT or _is_exception(key[1])
    return any(_left_alone(classes, base) for base in one.bases)


def _is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)
