from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.routes import RouteTable

TABLE = RouteTable(
    [
        (None, "/", "root"),
        (None, "/profiles", "profiles"),
        (None, "/profiles/v2/admin", "admin"),
        (None, "/a/b", "ab"),
        ("Api.localhost", "/", "api"),
        ("api.localhost", "/profiles", "api profiles"),
        ("web.localhost", "/web", "web"),
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "route"),
    [
        ("localhost", b"/", "root"),
        ("localhost", b"/other", "root"),
        ("localhost", b"*", "root"),
        # Whole segments.
        ("localhost", b"/profiles", "profiles"),
        ("localhost", b"/profiles/", "profiles"),
        ("localhost", b"/profiles/7", "profiles"),
        ("localhost", b"/profiles//", "profiles"),
        ("localhost", b"/profiles-old", "root"),
        ("localhost", b"/profiles.json", "root"),
        ("localhost", b"/profile", "root"),
        ("localhost", b"/profiles;v=1", "root"),
        ("localhost", b"/profiles%2f7", "root"),
        # As raw octets: case, escapes and empty segments make another path.
        ("localhost", b"/Profiles", "root"),
        ("localhost", b"/%70rofiles", "root"),
        ("localhost", b"//profiles", "root"),
        ("localhost", b"/x/profiles", "root"),
        # The longest wins.
        ("localhost", b"/profiles/v2", "profiles"),
        ("localhost", b"/profiles/v2/admins", "profiles"),
        ("localhost", b"/profiles/v2/admin", "admin"),
        ("localhost", b"/profiles/v2/admin/x", "admin"),
        ("localhost", b"/profiles/v2//admin", "profiles"),
        ("localhost", b"/a", "root"),
        ("localhost", b"/a/b", "ab"),
        # A host before no host, and no host where the host has nothing.
        ("api.localhost", b"/", "api"),
        ("api.localhost", b"/x", "api"),
        ("api.localhost", b"/profiles/7", "api profiles"),
        ("api.localhost", b"/profiles/v2/admin", "api profiles"),
        ("web.localhost", b"/web", "web"),
        ("web.localhost", b"/profiles", "profiles"),
        ("web.localhost", b"/webs", "root"),
        ("x.api.localhost", b"/profiles", "profiles"),
        ("localhost", b"/web", "root"),
        ("", b"/profiles", "profiles"),
    ],
)
def test_whose_a_request_is(host: str, path: bytes, route: str) -> None:
    assert TABLE.match(host, path) == route


@pytest.mark.parametrize(
    ("host", "path", "route"),
    [
        ("localhost", b"/", None),
        ("localhost", b"/ab", None),
        ("localhost", b"/a", "a"),
        ("localhost", b"*", None),
        ("h", b"/b", "b"),
        ("h", b"/a", "a"),
        ("h", b"/", None),
        ("other", b"/b", None),
    ],
)
def test_without_a_route_for_all_some_requests_have_none(host: str, path: bytes, route: str | None) -> None:
    assert RouteTable([(None, "/a", "a"), ("h", "/b", "b")]).match(host, path) == route


def test_no_routes_match_nothing() -> None:
    assert RouteTable[str]([]).match("localhost", b"/") is None


def test_a_route_s_path_is_compared_by_its_octets() -> None:
    assert RouteTable([(None, "/caf\u00e9", "r")]).match("h", "/caf\u00e9/x".encode()) == "r"


SEGMENT = st.sampled_from(["a", "b", "ab", "A", "a.", "%61", "a;b"])
HOST = st.sampled_from(["h", "g", "a.localhost"])
PREFIX = st.lists(SEGMENT, max_size=3).map(lambda segments: "/" + "/".join(segments))
ROUTES = st.dictionaries(st.tuples(st.none() | HOST, PREFIX), st.integers(), max_size=8)
PATH = st.lists(st.just("") | SEGMENT | st.text("ab./%;", max_size=3), max_size=5).map(
    lambda segments: "/" + "/".join(segments)
)


def naive(routes: dict[tuple[str | None, str], int], host: str, path: str) -> int | None:
    for candidates in (
        [(prefix, route) for (of, prefix), route in routes.items() if of == host],
        [(prefix, route) for (of, prefix), route in routes.items() if of is None],
    ):
        fitting = [
            (len(prefix), route)
            for prefix, route in candidates
            if prefix in {"/", path} or path.startswith(prefix + "/")
        ]
        if fitting:
            return max(fitting)[1]
    return None


@given(ROUTES, HOST, PATH)
def test_the_table_agrees_with_the_plain_reading_of_its_rules(
    routes: dict[tuple[str | None, str], int], host: str, path: str
) -> None:
    table = RouteTable((of, prefix, route) for (of, prefix), route in routes.items())
    assert table.match(host, path.encode()) == naive(routes, host, path)


@given(st.binary(max_size=40))
def test_no_path_but_its_own_gets_to_a_route(path: bytes) -> None:
    """Whatever octets: of two routes, each has the paths under its whole-segment prefix and no other."""
    table = RouteTable([(None, "/billing", "billing"), (None, "/bill", "bill")])
    for each in (path, b"/" + path, b"/bill" + path, b"/billing" + path, b"/bill/" + path):
        mine = [
            name
            for name in ("billing", "bill")
            if each.startswith(b"/" + name.encode()) and each[len(name) + 1 :][:1] in {b"", b"/"}
        ]
        if each.startswith(b"/"):
            assert table.match("localhost", each) == (mine[0] if mine else None)
