from __future__ import annotations

import pytest

from idtoken_proxy.settings.yaml_lines import Reading, YamlError, plain_value, read_yaml
from tests.cases import for_each


def read(text: str) -> Reading:
    return read_yaml(text, lambda value: value)


def test_values_and_lines() -> None:
    reading = read(
        "# a comment\nlisten: [a, b]\nroutes:\n  - name: x\n    match:\n      path: /\n  - name: y\n"
    )
    assert reading.tree == {
        "listen": ["a", "b"],
        "routes": [{"name": "x", "match": {"path": "/"}}, {"name": "y"}],
    }
    assert reading.lines == {
        ("listen",): 2,
        ("listen", 0): 2,
        ("listen", 1): 2,
        ("routes",): 3,
        ("routes", 0): 4,
        ("routes", 0, "name"): 4,
        ("routes", 0, "match"): 5,
        ("routes", 0, "match", "path"): 6,
        ("routes", 1): 7,
        ("routes", 1, "name"): 7,
    }
    assert reading.mistakes == []


@for_each(
    ("written", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("42", 42),
        ("-1", -1),
        ("007", 7),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", "1e3"),
        ("0x10", "0x10"),
        (".nan", ".nan"),
        ("9" * 19, "9" * 19),
    ],
)
def test_plain_scalars_follow_the_core_schema(written: str, value: object) -> None:
    assert plain_value(written) == value
    assert read(f"a: {written}").tree == {"a": value}


def test_quoted_scalars_are_strings() -> None:
    assert read("a: '42'\nb: \"true\"\nc: |\n  7\n").tree == {"a": "42", "b": "true", "c": "7\n"}


def test_an_empty_text_has_no_value() -> None:
    assert read("").tree is None
    assert read("# nothing\n").tree is None


def test_a_key_twice_is_a_mistake_at_the_second() -> None:
    reading = read("a: 1\nb: 2\na: 3\n")
    assert reading.tree == {"a": 1, "b": 2}
    assert reading.mistakes == [(3, ("a",), "duplicate key; it stands on line 1 too, keep one")]


def test_values_are_substituted_and_then_read_as_if_they_stood_there() -> None:
    found = {"$N": "42", "$T": "true", "$E": ""}
    reading = read_yaml("a: $N\nb: '$N'\nc: [$T, $E]\n$N: x", lambda value: found.get(value, value))
    assert reading.tree == {"a": 42, "b": "42", "c": [True, None], "$N": "x"}


def test_what_cannot_be_substituted_is_a_mistake_and_has_no_value() -> None:
    def refuse(value: str) -> str:
        if value == "$A":
            raise ValueError("A is not set")
        return value

    reading = read_yaml("a:\n  b: $A\n  c: 1\n", refuse)
    assert reading.tree == {"a": {"b": None, "c": 1}}
    assert reading.mistakes == [(2, ("a", "b"), "A is not set")]
    assert reading.unreadable == {("a", "b")}


def test_anchors_aliases_and_merges() -> None:
    reading = read("a: &x {p: 1, q: 2}\nb: *x\nc:\n  <<: *x\n  q: 3\nd:\n  <<: [*x, {r: 4}]\n")
    assert reading.tree == {
        "a": {"p": 1, "q": 2},
        "b": {"p": 1, "q": 2},
        "c": {"q": 3, "p": 1},
        "d": {"p": 1, "q": 2, "r": 4},
    }
    assert reading.mistakes == []


@for_each(
    ("text", "mistake"),
    [
        ("a: 1\n<<: 5\n", (2, (), "merges with << what is not a mapping")),
        ("a: 1\n[b]: 2\n", (2, (), "has a key that is not a plain word")),
        (
            "a: !!binary eA==\n",
            (1, ("a",), "has the tag tag:yaml.org,2002:binary, which is not supported; remove it"),
        ),
        ("a: !x {}\n", (1, ("a",), "has the tag !x, which is not supported; remove it")),
    ],
)
def test_what_yaml_allows_and_a_configuration_does_not(
    text: str, mistake: tuple[int, tuple[str, ...], str]
) -> None:
    assert read(text).mistakes == [mistake]


@for_each(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [\n", 2, "not valid YAML: a value is missing, or a bracket or brace is not closed"),
        (
            "a: b: c\n",
            1,
            'not valid YAML: a second colon, or a key that is indented further than the one above; line the keys up, or put a value that holds ": " in quotes',
        ),
        (
            "a: 1\n\tb: 2\n",
            2,
            "not valid YAML: a tab stands where YAML takes blanks alone; indent with blanks",
        ),
        (
            "a: {b: ${C}}\n",
            1,
            "not valid YAML: the brace { is not closed, or a comma is missing between its keys; between { } and [ ], put ${NAME} in quotes",
        ),
        (
            "a: *b\n",
            1,
            "not valid YAML: an alias (*name) for which there is no anchor (&name) above; where the asterisk is part of a value, put the value in quotes",
        ),
        (
            "a: 1\n---\nb: 2\n",
            2,
            "not valid YAML: a second document begins here (---); one file is one configuration",
        ),
        ("\u0800\x1b\n", 1, "not valid YAML: it holds a control character"),
        ("a: 1\nb: \x01\n", 2, "not valid YAML: it holds a control character"),
        ("a: 1\nb: " + "[" * 100_000, 2, "not valid here: nested too deeply"),
        ("a: &a\n  - *a\n", 1, "holds too much: an alias of itself, or aliases of aliases"),
        ("a: &a\n  <<: *a\n", 1, "holds too much: an alias of itself, or aliases of aliases"),
    ],
)
def test_what_cannot_be_read(text: str, line: int, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        read(text)
    assert (caught.value.line, caught.value.message) == (line, message)


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    laughs = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    with pytest.raises(YamlError, match="holds too much"):
        read(laughs)
