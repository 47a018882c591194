from __future__ import annotations

from idtoken_proxy.settings.pending import PENDING, pending
from tests.cases import for_each
from tests.settings.told import ROUTE, told

# The line of a configuration -> the key that it is told of.
CASES = [
    ("google: {universe_domain: a.com}", "google.universe_domain"),
]


@for_each(("line", "key"), CASES)
def test_what_is_still_to_come_is_refused_with_its_line(line: str, key: str) -> None:
    assert told(ROUTE + line) == [f"proxy.yaml:2: {key}: not in this version yet (0.1); remove the key"]


def test_every_row_is_tested() -> None:
    assert {key for _, key in CASES} == set(PENDING)


@for_each(
    "line",
    [
        "google: {}",
        "google: {iam_endpoint: null, universe_domain: null, token_endpoint: 'http://localhost:8090/token'}",
    ],
)
def test_what_says_no_more_than_the_default_passes(line: str) -> None:
    assert told(ROUTE + line) == []


def test_it_is_told_of_even_where_something_else_is_wrong() -> None:
    assert told("routes:\n- name: a\n  upstream: x\ngoogle: {universe_domain: a.com}\n") == [
        'proxy.yaml:3: routes[0].upstream: must be a URL that begins with https://, not "x"',
        "proxy.yaml:4: google.universe_domain: not in this version yet (0.1); remove the key",
    ]


def test_what_is_to_come_is_validated_all_the_same_and_told_once() -> None:
    assert told(ROUTE + "google: {universe_domain: 'a:1'}\n") == [
        (
            "proxy.yaml:2: google.universe_domain: is a name without a port (the port in Host does not matter); "
            'write "a"'
        )
    ]


def test_other_keys_of_the_same_names_are_none_of_its_business() -> None:
    elsewhere = {"universe_domain": 1}
    assert list(pending({"log": elsewhere, "routes": [elsewhere], "x": [[1]], "y": 5})) == []
