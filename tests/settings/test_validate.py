"""One mistake is told once, and hides no other."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.mistakes import Location
from idtoken_proxy.settings.validate import validated
from tests.cases import for_each
from tests.settings.told import told

RUN = "upstream: 'https://a.a.run.app'"


def keys(text: str, environ: dict[str, str] | None = None) -> list[str]:
    """The keys that something is said of."""
    return [line.split(": ")[1] for line in told(text, environ)]


@for_each(
    ("text", "said_of"),
    [
        # a misspelt key is not missing, too
        ("routes: [{name: a, upstrem: 'https://a.a.run.app'}]", ["routes[0].upstrem"]),
        ("routes: [{nme: a, upstream: 'https://a.a.run.app'}]", ["routes[0].nme"]),
        # one that resembles another key more is that one, misspelt, and the required one is missing besides
        ("routes: [{name: a, upstrrefix: x}]", ["routes[0].upstream", "routes[0].upstrrefix"]),
        (f"routes: [{{namtch: x, {RUN}}}]", ["routes[0].name", "routes[0].namtch"]),
        # nor is what was to be derived
        ("routes: [{name: a, upstream: 'https://x.com', audiense: b}]", ["routes[0].audiense"]),
        ("routes: [{name: a, upstream: 'https://x.com', audience: 'b c'}]", ["routes[0].audience"]),
        ("routes: [{name: a, upstream: 'https://x.com', identity: nnoe}]", ["routes[0].identity"]),
        ("identity: nnoe\nroutes: [{name: a, upstream: 'https://x.com'}]", ["identity"]),
        ("identty: none\nroutes: [{name: a, upstream: 'https://x.com'}]", ["identty"]),
        ("routes: [{name: a, upstream: 'https://x.com', audience: '${A}'}]", ["routes[0].audience"]),
        # a match that is in doubt matches nothing else
        (
            f"routes: [{{name: a, mach: {{path: /a}}, {RUN}}}, {{name: b, {RUN}}}]",
            ["routes[0].mach"],
        ),
        (
            f"routes: [{{name: a, match: {{path: a}}, {RUN}}}, {{name: b, {RUN}}}]",
            ["routes[0].match.path"],
        ),
        # what is wrong elsewhere hides nothing
        (
            f"lisen: x\nroutes: [{{name: a, {RUN}}}, {{name: a, match: {{path: /b}}, {RUN}}}]",
            ["lisen", "routes[1].name"],
        ),
        (
            f"routes: [{{name: a, {RUN}, methods: [get]}}, {{name: b, upstream: 'https://x.com', match: {{path: /x}}}}]",
            ["routes[0].methods[0]", "routes[1].audience"],
        ),
        ("routes: 5\nlisten: 0.0.0.0:1\n", ["routes", "listen"]),
        ("listen: 0.0.0.0:1\nroutes: [5]\n", ["listen", "routes[0]"]),
        ("egress_proxy: a\nroutes: [{}]", ["egress_proxy", "routes[0].name", "routes[0].upstream"]),
        # what is wrong with a listener is not told of the others
        ("listen: x\nadmin: x\nroutes: [{name: a, upstream: 'https://a.a.run.app'}]", ["listen", "admin"]),
        (
            "alow_remote: true\nlisten: 0.0.0.0:1\nroutes: [{name: a, upstream: 'https://a.a.run.app'}]",
            ["alow_remote"],
        ),
        # a route that is none hides no other
        ("routes: [5, {name: a, upstream: 'https://x.com'}]", ["routes[0]", "routes[1].audience"]),
        (
            f"routes: [{{name: a, upstream: 5, match: {{path: /x}}}}, {{name: a, match: {{path: /x}}, {RUN}}}]",
            ["routes[0].upstream", "routes[1].name", "routes[1].match"],
        ),
        (f"routes: [{{name: a, host: h, {RUN}}}, {{name: b, {RUN}}}]", ["routes[0].host"]),
        ("google: 5\nroutes: [{name: a, upstream: 'https://a.a.run.app'}]", ["google"]),
        ("identity: {type: file, pth: x}\nroutes: [{name: a, upstream: 'https://x.com'}]", ["identity.pth"]),
    ],
)
def test_said_of(text: str, said_of: list[str]) -> None:
    assert keys(text) == said_of


def test_a_variable_in_place_of_what_could_not_be_read() -> None:
    route = "routes: [{name: a, upstream: 'https://a.a.run.app'}]"
    for written in ("admin: {x: {y: '${UNSET}'}}", "admin: [['${UNSET}']]", "admin: [x, '${UNSET}']"):
        said = keys(f"{route}\n{written}\n", {"IDTOKEN_PROXY_ADMIN": "localhost:2"})
        assert [key.partition("[")[0].partition(".")[0] for key in said] == ["admin"], written


ROUTE = {"name": "a", "upstream": "https://a.a.run.app"}


def locations(tree: dict[str, Any], *unreadable: Location) -> list[Location]:
    _, mistakes = validated(tree, unreadable, lambda path: path)
    return [location for location, _ in mistakes]


def test_what_is_right_is_a_document() -> None:
    document, mistakes = validated({"routes": [ROUTE]}, (), lambda path: path)
    assert isinstance(document, Document)
    assert mistakes == []


def test_the_tree_is_left_as_it_was() -> None:
    tree = {"routes": [{**ROUTE, "upstrem": 1, "match": 5}], "log": 5, "identity": {"type": 5}}
    before = deepcopy(tree)
    locations(tree)
    assert tree == before


def test_what_could_not_be_read_is_not_told_again() -> None:
    assert locations({"routes": [ROUTE], "log": {"level": None}}, ("log", "level")) == []
    assert locations({"routes": [ROUTE], "log": {}}, ("log", "level")) == []
    assert locations({"routes": [ROUTE]}, ("log", "level")) == []
    assert locations({"routes": [{**ROUTE, "name": None}]}, ("routes", 0, "name")) == []
    assert locations({"routes": [ROUTE, None]}, ("routes", 1)) == []
    assert locations({"routes": [ROUTE, {**ROUTE, "match": None}]}, ("routes", 1, "match")) == [
        ("routes", 1, "name")
    ]


def test_positions_are_those_of_the_file_where_routes_are_left_out() -> None:
    found = told(
        f"routes:\n- {{name: bad name, {RUN}}}\n- {{name: a, match: {{path: /a}}, {RUN}}}\n"
        f"- {{name: a, match: {{path: /b}}, {RUN}}}\n"
    )
    assert (
        found[1] == 'proxy.yaml:4: routes[2].name: "a" is already the name of routes[1]; names must be unique'
    )
