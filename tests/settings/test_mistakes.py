from __future__ import annotations

from idtoken_proxy.settings.mistakes import Location, Origin, dotted, in_tree, nearest, unknown_key
from tests.cases import for_each

TREE = {"routes": [{"name": "a", "identity": {"type": "file"}}], "listen": "localhost:1"}


@for_each(
    ("location", "written"),
    [((), ""), (("listen",), "listen"), (("routes", 0, "match", "path"), "routes[0].match.path")],
)
def test_locations_are_written_as_paths(location: Location, written: str) -> None:
    assert dotted(location) == written


@for_each(
    ("location", "missing", "found"),
    [
        (("routes", 0, "name"), False, ("routes", 0, "name")),
        (("listen", 0), False, ("listen",)),
        (("routes", 7), False, ("routes",)),
        (("routes", 0, "identity", "path"), True, ("routes", 0, "identity", "path")),
    ],
)
def test_a_location_is_one_of_the_document(location: Location, missing: bool, found: Location) -> None:  # noqa: FBT001
    assert in_tree(TREE, location, missing=missing) == found


@for_each(("name", "near"), [("upstrem", "upstream"), ("UPSTREAM", "upstream"), ("zzz", None), ("", None)])
def test_the_nearest_word(name: str, near: str | None) -> None:
    assert nearest(name, ["name", "upstream"]) == near


def test_an_unknown_key_is_told_what_is_known() -> None:
    assert unknown_key("nam", ["name", "upstream"]) == 'unknown key; did you mean "name"?'
    assert unknown_key("zzz", ["name", "upstream"]) == "unknown key; known here: name, upstream"


def test_a_problem_stands_where_the_deepest_known_part_does() -> None:
    origin = Origin("f.yaml", TREE, {("routes",): 3, ("routes", 0): 4})
    assert str(origin.problem(("routes", 0, "name"), "bad")) == "f.yaml:4: routes[0].name: bad"
    assert str(origin.problem(("listen",), "bad")) == "f.yaml: listen: bad"
    assert str(origin.problem((), "bad")) == "f.yaml: bad"


def test_a_problem_of_a_variable_names_the_variable() -> None:
    origin = Origin("f.yaml", TREE, {("listen",): 1}, {("listen",): "IDTOKEN_PROXY_LISTEN"})
    assert str(origin.problem(("listen", 0), "bad")) == "IDTOKEN_PROXY_LISTEN: bad"
