from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.policy.routes import RouteTable, forward
from idtoken_proxy.settings.model import Route, Upstream
from idtoken_proxy.turns import at_once
from tests.cases import for_each
from tests.steps import steps_of

T = TypeVar("T")


def table_of(routes: Iterable[tuple[str | None, str, T]]) -> RouteTable[T]:
    return at_once(RouteTable.filled(routes))


def forwarded_of(routes: Iterable[Route]) -> dict[tuple[str, str], Route]:
    forwarded: dict[tuple[str, str], Route] = {}
    for _ in forward(routes, forwarded):
        pass
    return forwarded


TABLE = table_of(
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


@for_each(
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


@for_each(
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
    assert table_of([(None, "/a", "a"), ("h", "/b", "b")]).match(host, path) == route


def test_no_routes_match_nothing() -> None:
    assert table_of([]).match("localhost", b"/") is None


def test_a_route_s_path_is_compared_by_its_octets() -> None:
    assert table_of([(None, "/caf\u00e9", "r")]).match("h", "/caf\u00e9/x".encode()) == "r"


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
    table = table_of((of, prefix, route) for (of, prefix), route in routes.items())
    assert table.match(host, path.encode()) == naive(routes, host, path)


@given(st.binary(max_size=40))
def test_no_path_but_its_own_gets_to_a_route(path: bytes) -> None:
    """Whatever octets: of two routes, each has the paths under its whole-segment prefix and no other."""
    table = table_of([(None, "/billing", "billing"), (None, "/bill", "bill")])
    for each in (path, b"/" + path, b"/bill" + path, b"/billing" + path, b"/bill/" + path):
        mine = [
            name
            for name in ("billing", "bill")
            if each.startswith(b"/" + name.encode()) and each[len(name) + 1 :][:1] in {b"", b"/"}
        ]
        if each.startswith(b"/"):
            assert table.match("localhost", each) == (mine[0] if mine else None)


# -- what a forward proxy's requests reach ----------------------------------------


def to(upstream: Upstream, name: str, path: str = "/", *, strip: bool = False) -> Route:
    return Route(name, upstream, None, path=path, strip_prefix=strip)


RUN = Upstream("https", "users.a.run.app", 443)


@for_each(
    ("upstream", "authorities"),
    [
        (RUN, {"users.a.run.app", "users.a.run.app:443"}),
        (Upstream("https", "users.example", 8443), {"users.example:8443"}),
        (Upstream("https", "users.example", 80), {"users.example"}),
        (Upstream("http", "127.0.0.1", 9001), {"127.0.0.1:9001"}),
        (Upstream("http", "localhost", 80), {"localhost"}),
        (Upstream("http", "localhost", 443), {"localhost:443"}),
        (Upstream("http", "::1", 9001), {"[::1]:9001"}),
    ],
)
def test_a_receiver_s_authority_is_that_of_an_http_url(upstream: Upstream, authorities: set[str]) -> None:
    forwarded = forwarded_of([to(upstream, "users")])
    assert set(forwarded) == {(authority, "/") for authority in authorities}


def test_the_path_is_the_receiver_s() -> None:
    functions = Upstream("https", "europe-west1-p.cloudfunctions.net", 443, "/resize")
    route = to(functions, "resize", "/images", strip=True)
    forwarded = forwarded_of([route])
    assert forwarded["europe-west1-p.cloudfunctions.net", "/resize"] == replace(
        route, path="/resize", strip_prefix=False, upstream=replace(functions, base_path="")
    )
    assert len(forwarded) == 2  # with :443, too


def reached(routes: list[Route], path: bytes) -> str | None:
    forwarded = forwarded_of(routes)
    table = table_of((authority, prefix, route.name) for (authority, prefix), route in forwarded.items())
    assert table.match("elsewhere.example", path) is None
    return table.match("users.a.run.app", path)


@for_each(
    ("path", "name"),
    [(b"/", "all"), (b"/a", "a"), (b"/a/x", "a"), (b"/a/b/c", "ab"), (b"/ab", "all"), (b"/c/x", "all")],
)
def test_of_those_that_share_a_receiver_the_longest_prefix_there_wins(path: bytes, name: str) -> None:
    routes = [
        to(replace(RUN, base_path="/a"), "ab", "/b"),
        to(RUN, "a", "/a"),
        to(RUN, "all"),
        to(RUN, "stripped", "/c", strip=True),  # is no path of the receiver's
    ]
    assert reached(routes, path) == name


def test_a_prefix_holds_unless_it_is_stripped() -> None:
    routes = [to(RUN, "a", "/a"), to(RUN, "b", "/b"), to(RUN, "c", "/b/c", strip=True)]
    assert [reached(routes, path) for path in (b"/a", b"/b/c", b"/x", b"/", b"*")] == [
        "a",
        "b",
        "c",
        "c",
        "c",
    ]
    alone = [to(RUN, "public", "/public")]
    paths = (b"/public", b"/public/x", b"/admin", b"/", b"*", b"/publication", b"/PUBLIC")
    assert [reached(alone, path) for path in paths] == ["public", "public", *[None] * 5]
    based = [to(replace(RUN, base_path="/base"), "public", "/public")]
    based_paths = (b"/base/public/x", b"/base", b"/base/admin", b"/public")
    assert [reached(based, path) for path in based_paths] == ["public", None, None, None]


def test_the_first_of_equals_wins() -> None:
    routes = [to(RUN, "a", "/a"), to(RUN, "again", "/a"), to(replace(RUN, base_path="/a"), "based")]
    assert reached(routes, b"/a/x") == "a"


def test_outside_of_every_base_path_there_is_nothing() -> None:
    routes = [to(replace(RUN, base_path="/a"), "a"), to(replace(RUN, base_path="/b"), "b", "/b")]
    assert [reached(routes, path) for path in (b"/a/1", b"/b/b/1", b"/b/1", b"/", b"/ab", b"*")] == [
        "a",
        "b",
        None,
        None,
        None,
        None,
    ]


# -- paths that receivers may read as another route's -----------------------------

NESTED = table_of(
    [
        (None, "/", "all"),
        (None, "/admin", "admin"),
        (None, "/v1/jobs:purge", "purge"),
        (None, "/a/b/c", "deep"),
        ("h.localhost", "/", "named"),
        ("p.localhost", "/own", "own"),
    ]
)


@for_each(
    "path",
    [
        # Escapes, once, twice and three times; wide and overlong ones; of any octet that a route's path may hold.
        *("/%61dmin", "/%2561dmin", "/%25%36%31dmin", "/%2525%36%31dmin", "/%u0061dmin", "/%c1%a1dmin"),
        *("/v1/jobs%3Apurge", "/v1/jobs%3apurge", "/a/b/%63", "/%76%31/jobs:purge", "/%EF%BD%81dmin"),
        # Dot segments, however they are spelled.
        *(
            "/x/../admin/1",
            "/x/..;/admin",
            "/x/..%2fadmin",
            "/x/..%3b/admin",
            "/x/%c0%ae%c0%ae/admin",
            "/..;/admin",
        ),
        *(
            "/x/..%20/admin",
            "/x\\..\\admin",
            "/x%5c..%5cadmin",
            "/a/b/x/../c",
            "/./admin",
            "/v1/./jobs:purge",
            "/.;/admin",
        ),
        *("/x/%2e%2e%u2216admin", "/x%c0%afy/../../admin", "/x/%e2%80%a5/admin", "/../admin"),
        # Empty segments, parameters, other slashes.
        *(
            "//admin",
            "/v1//jobs:purge",
            "/admin;x",
            "/;a/admin",
            "/%3b/admin",
            "/%5cadmin",
            "/%2fadmin",
            "/v1%2fjobs:purge",
        ),
        # Case, and what Windows takes off a name.
        *(
            "/ADMIN",
            "/Admin/x",
            "/%41dmin",
            "/admin.",
            "/admin..",
            "/admin%20",
            "/admin%00x",
            "/v1/jobs:purge.",
        ),
    ],
)
def test_another_spelling_of_a_route_s_path_is_found_out(path: str) -> None:
    assert NESTED.match("localhost", path.encode()) == "all"
    assert NESTED.ambiguous_with_other_route("localhost", path.encode(), "all")


@for_each("path", ["/admin/../x", "/admin/%2e%2e/x", "/admin/..;/x", "/admin/%c0%ae%c0%ae/x"])
def test_and_so_is_the_way_out_of_one(path: str) -> None:
    assert NESTED.ambiguous_with_other_route("localhost", path.encode(), "admin")


@for_each(
    "path",
    [
        *(
            "/",
            "*",
            "/a/../b",
            "/a%2fb",
            "/a;x",
            "//b",
            "/adminx",
            "/%61dminx",
            "/x%20y",
            "/administrator",
            "/a/b/d.txt",
        ),
        *(
            "/v1/jobs:run",
            "/V1/Jobs",
            "/Static/App.js",
            "/x/y/../admin",
            "/x/y/z/../admin/x",
            "/v1/objects/a%2Fb%20c",
        ),
        *(
            "/.well-known/x",
            "/x/%E2%82%AC/%C3%A4",
            "/x/" + "A" * 60_000,
            "/x" + "/Y" * 30_000,
            "/x/" + "%C3%A4" * 10_000,
        ),
    ],
)
def test_a_path_that_is_its_route_s_however_it_is_read(path: str) -> None:
    assert not NESTED.ambiguous_with_other_route("localhost", path.encode(), "all")


@for_each("path", ["/admin", "/admin/x.y", "/admin/X/y;z=1", "/admin//x", "/admin/a%2Fb"])
def test_what_comes_after_a_route_s_own_path_is_its_own_affair(path: str) -> None:
    assert not NESTED.ambiguous_with_other_route("localhost", path.encode(), "admin")


def test_where_a_host_has_one_route_every_path_is_its_own() -> None:
    assert not NESTED.ambiguous_with_other_route("h.localhost", b"/x/../admin", "named")


def test_where_a_host_has_no_route_for_it_a_path_is_anyone_s() -> None:
    assert NESTED.match("p.localhost", b"/%61dmin") == "all"
    assert NESTED.ambiguous_with_other_route("p.localhost", b"/%61dmin", "all")
    assert NESTED.ambiguous_with_other_route("p.localhost", b"/%6fwn", "all")
    assert not NESTED.ambiguous_with_other_route("p.localhost", b"/%6fther", "all")


def test_a_configured_name_of_an_odd_spelling_is_judged_by_its_plain_one_too() -> None:
    odd = table_of([(None, "/", "all"), (None, "/Admin", "admin"), (None, "/jobs;purge", "purge")])
    assert odd.ambiguous_with_other_route("localhost", b"/admin", "all")
    assert odd.ambiguous_with_other_route("localhost", b"/jobs", "all")
    assert not odd.ambiguous_with_other_route("localhost", b"/Admin/x", "admin")
    assert not odd.ambiguous_with_other_route("localhost", b"/jobs;purge", "purge")


@for_each(
    "path",
    [
        "/" + ";p" * 9_000 + "/admin",
        "/" * 20_000 + "admin",
        "/;" + "p" * 1_200 + "/%61dmin",
        "/x" * 3_000 + "/.." * 3_000 + "/admin",
        "/x" * 3_000 + "/%2e%2e" * 3_000 + "/admin",
        "/x" + "%2f.." * 3_000 + "%2fadmin",
    ],
)
def test_what_is_too_long_to_tell_is_another_s(path: str) -> None:
    assert NESTED.ambiguous_with_other_route("localhost", path.encode(), "all")


HABITS: list[Callable[[bytes], bytes]] = [
    unquote_to_bytes,
    lambda path: path.replace(b"\\", b"/"),
    lambda path: re.sub(rb";[^/]*", b"", path),
    lambda path: re.sub(rb"//+", b"/", path),
    lambda path: posixpath.normpath(path) if path.startswith(b"/") else path,
    bytes.lower,
    lambda path: b"/".join(segment.rstrip(b". ") or segment for segment in path.split(b"/")),
]
PIECES = st.sampled_from(
    [
        b"/",
        b"admin",
        b"%61dmin",
        b"a",
        b"b",
        b"c",
        b"..",
        b"%2e",
        b".",
        b";x",
        b"%2f",
        b"%5c",
        b"\\",
        b"%25",
        b"2e",
        b"A",
        b"%20",
        b"",
    ]
)


@given(st.lists(PIECES, max_size=9).map(b"".join), st.lists(st.sampled_from(HABITS), max_size=6))
def test_no_receiver_s_habits_lead_to_another_route_unnoticed(
    rest: bytes, habits: list[Callable[[bytes], bytes]]
) -> None:
    path = b"/" + rest
    route = NESTED.match("localhost", path)
    read = path
    for habit in habits:
        read = habit(read)
    if NESTED.match("localhost", read) != route:
        assert NESTED.ambiguous_with_other_route("localhost", path, str(route))


@for_each(
    "seed",
    ["%61", "/..", ";a/", "/%2e%2e", "%252e", "/a%2f..", "//", "A", "/A", "/%C3%A4", "\\..", "/admin/.."],
)
def test_what_it_costs_does_not_grow_with_the_path(seed: str) -> None:
    def cost(times: int) -> int:
        path = ("/" + seed * times).encode()
        return steps_of(lambda: NESTED.ambiguous_with_other_route("localhost", path, "all"))

    assert cost(16_000) <= cost(2_000)


def test_what_it_costs_does_not_grow_with_the_routes() -> None:
    path = b"/x/%61dmin/../r1/..;/r2"

    def cost(routes: int) -> int:
        table = table_of([(None, "/", "all"), *((None, f"/r{n}", f"r{n}") for n in range(routes))])
        return steps_of(lambda: table.ambiguous_with_other_route("localhost", path, "all"))

    assert cost(2_000) <= cost(100)
