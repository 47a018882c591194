from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.target import PathMap
from tests.cases import for_each


def mapped(target: str | bytes, prefix: str = "/", base: str = "", *, strip: bool = False) -> bytes:
    raw = target.encode() if isinstance(target, str) else target
    return PathMap(prefix, base, strip_prefix=strip).map(raw, raw.partition(b"?")[0])


# -- where a target goes ------------------------------------------------------


@for_each(
    ("prefix", "base", "strip", "target", "outbound"),
    [
        ("/", "", False, "/", "/"),
        ("/", "", False, "/a/b?c=d", "/a/b?c=d"),
        ("/", "", False, "*", "*"),
        ("/", "", True, "/a", "/a"),
        ("/", "", True, "*", "*"),
        ("/a", "", False, "/a", "/a"),
        ("/a", "", False, "/a/b?c", "/a/b?c"),
        ("/a", "", True, "/a", "/"),
        ("/a", "", True, "/a/", "/"),
        ("/a", "", True, "/a?c=d", "/?c=d"),
        ("/a", "", True, "/a/?c=d", "/?c=d"),
        ("/a", "", True, "/a/b", "/b"),
        ("/a", "", True, "/a/b/?/c", "/b/?/c"),
        ("/a", "", True, "/a//b", "//b"),
        ("/a", "", True, "/a/a", "/a"),
        ("/a/b", "", True, "/a/b/c", "/c"),
        ("/", "/base", False, "/", "/base/"),
        ("/", "/base", False, "/a?b", "/base/a?b"),
        ("/", "/base", False, "/?b", "/base/?b"),
        ("/", "/base", True, "/a", "/base/a"),
        ("/", "/b/c", False, "/a", "/b/c/a"),
        ("/a", "/base", False, "/a", "/base/a"),
        ("/a", "/base", False, "/a/b", "/base/a/b"),
        ("/a", "/base", True, "/a", "/base"),
        ("/a", "/base", True, "/a/", "/base/"),
        ("/a", "/base", True, "/a?b", "/base?b"),
        ("/a", "/base", True, "/a/b?c", "/base/b?c"),
    ],
)
def test_a_prefix_comes_off_and_a_base_path_goes_on(
    prefix: str, base: str, target: str, outbound: str, *, strip: bool
) -> None:
    assert mapped(target, prefix, base, strip=strip) == outbound.encode()


@for_each(
    "rest",
    [
        "/%0d%0aHost:%20evil",
        "/%0D%0A",
        "/%20+%2B",
        "/%E2%82%AC%e2%82%ac",
        "/%zz%",
        "/a%3Fb%23c",
        "/a;b=c;d",
        "/{|}^`[]'!$&()*+,=:@~",
        "//double///",
        "/?",
        "?",
        "/??a?b",
        "/?a=%2f%5c%00..%2e/../\\",
        "/?next=/../../x",
        "/a?redirect=http://evil/",
    ],
)
def test_a_target_is_never_decoded_or_mended(rest: str) -> None:
    assert mapped("/a" + rest, "/a") == ("/a" + rest).encode()
    assert mapped("/a" + rest, "/", "/base") == ("/base/a" + rest).encode()
    assert mapped("/a" + rest, "/a", "/base", strip=True) == ("/base" + rest).encode()
    stripped = rest if rest.startswith("/") else "/" + rest
    assert mapped("/a" + rest, "/a", strip=True) == stripped.encode()


# -- ways out -----------------------------------------------------------------

ESCAPES = [
    "/..",
    "/../",
    "/../x",
    "/../../x",
    "/b/../../x",
    "/.",
    "/./x",
    "/b/./x",
    "/b/..",
    "//..",
    "/..//x",
    # Encoded, in either case and in part.
    "/%2e%2e/x",
    "/%2E%2E/x",
    "/%2e%2E/x",
    "/.%2e/x",
    "/%2e./x",
    "/%2e/x",
    "/b/%2E%2e",
    # With path parameters: Tomcat takes them off and then sees the dots.
    "/..;/x",
    "/..;x",
    "/..;x/y",
    "/..;x=y;z/w",
    "/.;/x",
    "/.;x",
    "/%2e%2e;/x",
    "/.%2E;x/y",
    "/..%3b/x",
    "/..%3Bx=y/z",
    "/%2e%2e%3b",
    # Encoded slashes, backslashes, NUL, wherever they are.
    "/..%2fx",
    "/..%2Fx",
    "/%2f..%2f",
    "/b%2fc",
    "/b%2Fc",
    "/%2f",
    "/..%5cx",
    "/b%5Cc",
    "/%5c%5c",
    "/b\\c",
    "/..\\x",
    "/\\",
    "/b%00",
    "/%00",
    "/b%00.html",
    "/..%00/x",
    # Decoded once more, or in another way: by the app behind a front end, by IIS, by old decoders of UTF-8, by NFKC.
    "/%252e%252e/x",
    "/%252E./x",
    "/%25252e%25252e/x",
    "/%2525252e/..",
    "/b/..%252fx",
    "/b/..%255cx",
    "/..%253b/x",
    "/..%2500/x",
    "/%u002e%u002E/x",
    "/%25u002e./x",
    "/b/..%u002fx",
    "/b/..%u2215x",
    "/%c0%ae%c0%ae/x",
    "/%C0%2e./x",
    "/%e0%80%ae%e0%80%ae/x",
    "/%f0%80%80%ae./x",
    "/b/..%c0%afx",
    "/b/..%c1%9cx",
    "/%c1/%252e%252e/x",  # of which the slash is no octet of an overlong form
    "/%ef%bc%8e%ef%bc%8e/x",
    "/%e2%80%a5/x",
    "/b/..%ef%bc%8fx",
    # Windows takes blanks off a name's end.
    "/..%20/x",
    "/..%2520/x",
    "/%20../x",
    "/..%09",
]


@for_each("query", ["", "?", "?q=1"])
@for_each(
    ("prefix", "base", "strip"),
    [
        ("/a", "", False),
        ("/a", "", True),
        ("/", "/base", False),
        ("/a", "/base", True),
        ("/a", "/base", False),
    ],
)
def test_a_way_out_of_a_prefix_or_base_path_is_400(
    query: str, prefix: str, base: str, *, strip: bool
) -> None:
    for escape in ESCAPES:
        error = refused("/a" + escape + query, prefix, base, strip=strip)
        assert (error.status, "dot segment" in error.detail) == (400, True), escape
        assert error.remedy is not None, escape


def refused(path: str, prefix: str, base: str, *, strip: bool) -> MalformedRequest:
    try:
        led_to = mapped(path, prefix, base, strip=strip)
    except MalformedRequest as error:
        return error
    pytest.fail(f"{path} leads to {led_to!r}")


@for_each("escape", ESCAPES)
def test_where_nothing_is_bounded_nothing_is_refused(escape: str) -> None:
    for strip in (False, True):
        assert mapped(escape, strip=strip) == escape.encode()


@for_each(
    "path",
    [
        "/...",
        "/....",
        "/.../x",
        "/..x",
        "/x..",
        "/.x",
        "/x.",
        "/.well-known/x",
        "/.git",
        "/a..b",
        "/a.b",
        "/..a;b",
        "/%2e%2e%2e",
        "/%2e%2ex",
        "/x%2e%2e",
        "/x%2e",
        "/;..",
        "/x;..",
        "/x;../y",
        "/b%252fc",  # once decoded, it is a name with an escape in it; and twice, it leads down alone
        "/b%25c%252F",
        "/%252e%252ex",
        "/%c1/x",
        "/%ef%bc%8e%ef%bc%8ex",
        "/%2",
        "/%2g",
        "/%25",
        "/%3b..",
        "/~..",
        "/%0d%0a",
    ],
)
def test_what_is_no_way_out_passes(path: str) -> None:
    assert mapped("/a" + path, "/a") == ("/a" + path).encode()
    assert mapped("/a" + path, "/a", "/base", strip=True) == ("/base" + path).encode()


def test_options_of_all_has_no_path_to_map() -> None:
    for prefix, base in (("/a", ""), ("/", "/base")):
        with pytest.raises(MalformedRequest, match=re.escape("OPTIONS *")):
            mapped("*", prefix, base)


def resolved(path: bytes) -> list[bytes]:
    """As a careless receiver reads a path: decoded, backslashes turned, parameters off, dot segments followed."""
    segments: list[bytes] = []
    for segment in unquote_to_bytes(path).replace(b"\\", b"/").split(b"/"):
        name = segment.partition(b";")[0]
        if name == b"..":
            if segments:
                segments.pop()
        elif name not in {b"", b"."}:
            segments.append(name)
    return segments


PIECE = st.sampled_from(
    [
        "/",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "\\",
        "%00",
        ";",
        "%3b",
        "a",
        "base",
        "%",
        "25",
        "2e",
        "?",
        "//",
    ]
)


@given(st.lists(PIECE).map("".join))
def test_nothing_that_passes_leads_out_however_carelessly_it_is_read(rest: str) -> None:
    target = "/a/" + rest
    for base, strip in (("/base/deep", True), ("/base/deep", False)):
        try:
            outbound = mapped(target, "/a", base, strip=strip)
        except MalformedRequest:
            continue
        path = outbound.partition(b"?")[0]
        for _ in range(3):
            assert resolved(path)[:2] == [b"base", b"deep"]
            path = unquote_to_bytes(path)
        assert outbound.endswith(rest.encode())


@for_each("path", ["/a/x%2Fy", "/a/%2e%2e/b", "/a/x%5cy", "*"])
def test_the_remedy_of_a_boundary_is_one_that_takes_it_away(path: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        mapped(path, "/a", strip=True)
    assert "match: {host: NAME.localhost}" in str(refused.value.remedy)
    assert mapped(path, "/") == path.encode()  # as it is with nothing but a host
