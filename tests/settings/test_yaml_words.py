"""What is no YAML is told in words that say what to do: libyaml's own and PyYAML's own repeat what they met, or nothing useful."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml
from idtoken_proxy.settings.yaml_words import UNTOLD, words_for
from tests.cases import for_each

SENTINEL = "s3ntinelS3ntinel"
BROKEN = {
    "a: 1\n\tb: 2\n": (2, "a tab"),
    "a:\t- b\n  - c\n": (1, "list's item"),
    "a:\n  - b\n - c\n": (3, "dashes"),
    "a:\n  b: 1\n c: 2\n": (3, "keys above"),
    "a\nb: 1\n": (2, "colon"),
    "a:1\nb: 2\n": (2, "colon"),
    "a: b: c\n": (1, "second colon"),
    "a: 1\n---\nb: 2\n": (2, "second document"),
    "a: {b: 1\n": (2, "brace"),
    "a: [1, 2\nb: 3\n": (2, "bracket"),
    'a: "b\n': (1, "quote"),
    "a: 'it's'\n": (1, "quote"),
    "a: *b\n": (1, "alias"),
    "a: &a 1\nb: &a 2\n": (2, "twice"),
    "a: @b\n": (1, "cannot begin with @"),
    "a: `b`\n": (1, "cannot begin with `"),
    "a: %b\n": (1, "cannot begin with %"),
    'a: "\\d+"\n': (1, "backslash"),
    "a: & b\n": (1, "anchor"),
    "a: |x\n  b\n": (1, "behind | or >"),
    "a: b\n- c\n": (2, "dashes"),
    "- a\nb: 1\n": (2, "dashes"),
    "%x\na: 1\n": (1, "directive"),
    "a: !<b\n": (1, "exclamation mark"),
}


@for_each("text", BROKEN)
def test_it_says_what_to_do(text: str) -> None:
    line, words = BROKEN[text]
    with pytest.raises(YamlError) as caught:
        read_yaml(text, str)
    assert words in caught.value.message
    assert abs(caught.value.line - line) <= 1


@for_each("text", BROKEN)
def test_pythons_own_scanner_is_understood_too(text: str) -> None:
    """PyYAML without libyaml, as some platforms have it."""
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        yaml.safe_load(text)
    line = caught.value.problem_mark
    assert line is not None
    words = words_for(
        f"{caught.value.context}; {caught.value.problem}",
        (text.splitlines() or [""])[min(line.line, text.count("\n") - 1)],
    )
    assert words != UNTOLD


PIECES = st.lists(
    st.sampled_from(
        [SENTINEL, *"*&!|>%@`\"'{}[],:-?#\\\n\t ", ": ", "\n  ", "- ", "<<", "---\n", "!<", "*" + SENTINEL]
    ),
    max_size=14,
).map("".join)


def told(text: str) -> Iterator[str]:
    for loader in {yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)}:
        try:
            yaml.load(text, Loader=loader)
        except yaml.MarkedYAMLError as error:
            yield words_for(f"{error.context}; {error.problem}", text)
        except (yaml.YAMLError, ValueError, TypeError):
            yield ""
    try:
        read_yaml(text, str)
    except YamlError as error:
        yield error.message


@given(PIECES)
def test_nothing_of_the_text_is_repeated(text: str) -> None:
    assert not any(SENTINEL in words for words in told(text))
