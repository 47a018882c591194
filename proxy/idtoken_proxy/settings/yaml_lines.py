"""YAML text -> plain values and the line of every key. Duplicate keys are mistakes.

Scalars follow YAML 1.2's core schema: `off`, `yes` and `1:30` are strings (PyYAML's 1.1 makes them a boolean and a
number in base 60). Tags are refused: nothing but str, int, float, bool, None, list and dict is ever constructed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from idtoken_proxy.settings.mistakes import Location
from idtoken_proxy.settings.plausible import credential_in
from idtoken_proxy.settings.yaml_words import words_for

_DEPTH: Final = 40  # the configuration's deepest key is at 6; impersonation may nest its sources
_VALUES: Final = 200_000  # or the text's length, if that is more; aliases of aliases multiply without end

_TOO_DEEP: Final = "not valid here: nested too deeply"

# YAML uses braces, too: to it `{upstream: ${URL}}` never ends.
_REFERENCE_HINT: Final = "; between { } and [ ], put ${NAME} in quotes"

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}\.[0-9]{0,18})", re.ASCII)
_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")}


def shown_tag(tag: str) -> str:
    return tag if len(tag) <= 80 and credential_in(tag) is None else "(not shown)"


class YamlError(Exception):
    """Not YAML, or refused. `line` counts from 1; 0 means that there is none."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(slots=True)
class Reading:
    """`lines`: of each mapping's key and each list's item. `mistakes`: (line, location, message). `unreadable`:
    locations whose values could not be read; they are None in the tree.
    """

    tree: object = None
    lines: dict[Location, int] = field(default_factory=dict)
    mistakes: list[tuple[int, Location, str]] = field(default_factory=list)
    unreadable: set[Location] = field(default_factory=set)


_UNTAGGED: Final = {
    yaml.ScalarNode: "tag:yaml.org,2002:str",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
    yaml.MappingNode: "tag:yaml.org,2002:map",
}
_STEPS: Final = {
    yaml.SequenceStartEvent: 1,
    yaml.MappingStartEvent: 1,
    yaml.SequenceEndEvent: -1,
    yaml.MappingEndEvent: -1,
}


def _resolve(_loader: object, kind: type[yaml.Node], _value: object, _implicit: object) -> str:
    """Keeps every scalar as it was written."""
    return _UNTAGGED[kind]


# libyaml's, if PyYAML was built with it.
_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"resolve": _resolve})


def read_yaml(text: str, substitute: Callable[[str], str]) -> Reading:
    """`substitute` maps the text of each value (not of keys), and reports mistakes by ValueError. Raises YamlError."""
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problem = f"{error.context}; {error.problem}"
        lines = text.splitlines() or [""]
        line = min(mark.line + 1, len(lines)) if mark else 0  # the end of the text may count as a line
        # A newer PyYAML's scanner has a limit of its own and runs before _limit_depth.
        if "nesting depth" in problem:
            raise YamlError(line, _TOO_DEEP) from None
        hint = _REFERENCE_HINT if "${" in lines[line - 1] else ""
        raise YamlError(line, f"not valid YAML: {words_for(problem, lines[line - 1])}{hint}") from None
    except yaml.YAMLError as error:
        raise YamlError(_line_of(error, text), "not valid YAML: it holds a control character") from None
    walk = _Walk(substitute, max(_VALUES, len(text)))
    if node is not None:
        walk.reading.tree = walk.value(node, ())
    return walk.reading


def _compose(text: str) -> yaml.Node | None:
    _limit_depth(text)
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _limit_depth(text: str) -> None:
    """PyYAML's composer recurses, in C without a limit: a file of 100,000 brackets would crash the process."""
    depth, step = 0, _STEPS.get
    loader = _Loader(text)
    try:
        for event in iter(loader.get_event, None):
            depth += step(type(event), 0)
            if depth > _DEPTH:
                raise YamlError(_line(event), _TOO_DEEP)
    finally:
        loader.dispose()


def _line(place: yaml.Node | yaml.Event) -> int:
    mark = place.start_mark
    return mark.line + 1 if mark else 0


def _line_of(error: yaml.YAMLError, text: str) -> int:
    """The line of a ReaderError. Its position counts octets in libyaml and characters in Python."""
    character = chr(getattr(error, "character", 0))
    return text.count("\n", 0, max(0, text.find(character))) + 1


class _Walk:
    def __init__(self, substitute: Callable[[str], str], most: int) -> None:
        self.reading = Reading()
        self._substitute = substitute
        self._values = 0
        self._most = most
        self._merging = 0

    def value(self, node: yaml.Node, location: Location) -> object:
        self._count(node, len(location))
        if node.tag not in _TAGS:
            self._mistake(
                node, location, f"has the tag {shown_tag(node.tag)}, which is not supported; remove it"
            )
            self.reading.unreadable.add(location)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*location, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, location)

    def _count(self, node: yaml.Node, depth: int) -> None:
        """An alias may name what contains it, and aliases of aliases multiply without end."""
        self._values += 1
        if depth > _DEPTH or self._values > self._most:
            raise YamlError(_line(node), "holds too much: an alias of itself, or aliases of aliases")

    def _item(self, node: yaml.Node, location: Location) -> object:
        self.reading.lines[location] = _line(node)
        return self.value(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        mapping: dict[str, object] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._mistake(key_node, location, "has a key that is not a plain word")
            elif key == "<<":
                merged.append(value_node)
            elif key in mapping:
                first = self.reading.lines[(*location, key)]
                self._mistake(
                    key_node, (*location, key), f"duplicate key; it stands on line {first} too, keep one"
                )
            else:
                self.reading.lines[(*location, key)] = _line(key_node)
                mapping[key] = self.value(value_node, (*location, key))
        for source in merged:
            self._merge(mapping, source, location)
        return mapping

    def _merge(self, mapping: dict[str, object], node: yaml.Node, location: Location) -> None:
        """`<<: *defaults`, or a list of such. The mapping's own keys win."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                self._mistake(source, location, "merges with << what is not a mapping")
                continue
            self._count(source, self._merging)
            self._merging += 1
            rest = [pair for pair in source.value if pair[0].value not in mapping]
            inner = yaml.MappingNode(source.tag, rest, source.start_mark, source.end_mark)
            mapping.update(self._mapping(inner, location))
            self._merging -= 1

    def _scalar(self, node: yaml.ScalarNode, location: Location) -> object:
        try:
            text = self._substitute(node.value)
        except ValueError as error:
            self._mistake(node, location, str(error))
            self.reading.unreadable.add(location)
            return None
        return text if node.style else plain_value(text)

    def _mistake(self, node: yaml.Node, location: Location, message: str) -> None:
        self.reading.mistakes.append((_line(node), location, message))


def plain_value(text: str) -> str | int | float | bool | None:
    """An unquoted scalar, by the core schema. A number of implausible length stays a string."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
