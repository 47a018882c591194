from __future__ import annotations

import pytest

from idtoken_proxy.settings import urls
from idtoken_proxy.settings.model import Upstream
from tests.cases import for_each


@for_each(
    ("written", "upstream"),
    [
        ("https://a-uc.a.run.app", Upstream("https", "a-uc.a.run.app", 443)),
        ("HTTPS://A-uc.a.run.app/", Upstream("https", "a-uc.a.run.app", 443)),
        ("https://a.run.app:8443/v1/api/", Upstream("https", "a.run.app", 8443, "/v1/api")),
        ("http://localhost:3000", Upstream("http", "localhost", 3000)),
        ("http://app.localhost", Upstream("http", "app.localhost", 80)),
        ("http://127.0.0.9:1/x", Upstream("http", "127.0.0.9", 1, "/x")),
        ("http://[::1]:3000", Upstream("http", "::1", 3000)),
        ("https://10.0.0.1", Upstream("https", "10.0.0.1", 443)),
    ],
)
def test_upstreams(written: str, upstream: Upstream) -> None:
    assert urls.upstream(written) == upstream


NO_URL = 'must be a URL that begins with https://, not "{}"'
CLEAR = "would send tokens in the clear; write https://{}, as http is for loopback alone"
METADATA = "{} is, or may be, a metadata server, which must not be reached through a proxy"


@for_each(
    ("written", "message"),
    [
        ("a.run.app", "must be a URL that begins with https://; write https://a.run.app"),
        ("ftp://a.run.app", NO_URL.format("ftp://a.run.app")),
        ("//a.run.app", NO_URL.format("//a.run.app")),
        ("", NO_URL.format("")),
        (12, "must be a URL such as https://SERVICE.a.run.app, not 12"),
        ("https://", "names no host; write https://HOST"),
        ("https://a.run.app:0", '"0" is no port; write a number from 1 to 65535'),
        ("https://a.run.app:", '"" is no port; write a number from 1 to 65535'),
        ("https://a.run.app?x=1", "must end with its path; remove the query and the fragment"),
        ("https://a.run.app/p#f", "must end with its path; remove the query and the fragment"),
        ("https://a.run.app/p?", "must end with its path; remove the query and the fragment"),
        ("https://a.run.app/a/../b", 'must not hold "." or ".." segments, as "/a/../b" does'),
        ("https://a.run.app\\@evil/", 'must begin with "/", not "\\@evil/"'),
        (
            "https://a.run.app/\r\nX: y",
            "holds characters that no URL path has: what it holds (not shown: it looks like text of several lines)",
        ),
        ("https://a.run .app", '"a.run .app" is no host name; write one such as example.com or localhost'),
        ("http://a.run.app", CLEAR.format("a.run.app")),
        ("http://10.0.0.1:80", CLEAR.format("10.0.0.1:80")),
        ("http://localhost.evil.com", CLEAR.format("localhost.evil.com")),
        ("http://metadata.google.internal", METADATA.format("metadata.google.internal")),
        ("https://METADATA.google.internal/", METADATA.format("metadata.google.internal")),
        ("http://metadata", METADATA.format("metadata")),
        ("http://metadata.goog", METADATA.format("metadata.goog")),
        ("http://169.254.169.254", METADATA.format("169.254.169.254")),
        ("https://169.254.1.1", METADATA.format("169.254.1.1")),
        ("https://[fd20:ce::254]", METADATA.format("fd20:ce::254")),
        ("https://[fd20:00ce:0::0254]", METADATA.format("fd20:ce::254")),
        ("https://[fe80::1]", METADATA.format("fe80::1")),
        ("https://[::ffff:169.254.169.254]", METADATA.format("::ffff:a9fe:a9fe")),
        ("http://0xa9fea9fe", '"0xa9fea9fe" is no IPv4 address; write four decimal numbers, as in 127.0.0.1'),
    ],
)
def test_what_is_no_upstream(written: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        urls.upstream(written)
    assert str(caught.value) == message


def test_a_password_in_an_upstream_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        urls.upstream("https://user:hunter2@a.run.app")
    assert str(caught.value) == (
        "must not hold a user name or password; the proxy attaches an ID token in their place"
    )


@for_each(
    ("written", "path"),
    [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/a/b.c", "/a/b.c"),
        ("/~u/@v:1", "/~u/@v:1"),
        ("/.well-known", "/.well-known"),
        ("/...", "/..."),
    ],
)
def test_paths(written: str, path: str) -> None:
    assert urls.path(written) == path


@for_each(
    ("written", "message"),
    [
        ("", 'must begin with "/", not ""'),
        ("a", 'must begin with "/", not "a"'),
        ("/a?b", "is a path alone; remove the query and the fragment"),
        ("/a#b", "is a path alone; remove the query and the fragment"),
        ("/%61", 'must not hold percent-escapes (one path would have several spellings), as "/%61" does'),
        ("/a\\b", 'must not hold a backslash; segments are divided by "/"'),
        ("/a b", 'holds characters that no URL path has: "/a b"'),
        ("/é", 'holds characters that no URL path has: "/é"'),
        ("/a\n", 'holds characters that no URL path has: "/a?"'),
        ("/a//b", 'must not hold empty segments ("//"), as "/a//b" does'),
        ("//", 'must not hold empty segments ("//"), as "//" does'),
        ("/.", 'must not hold "." or ".." segments, as "/." does'),
        ("/a/..", 'must not hold "." or ".." segments, as "/a/.." does'),
        ("/..;x/a", 'must not hold "." or ".." segments, as "/..;x/a" does'),
        (7, "must be a string, not 7; put it in quotes"),
    ],
)
def test_what_is_no_path(written: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        urls.path(written)
    assert str(caught.value) == message


def test_an_endpoint_is_an_upstream_written_out() -> None:
    assert urls.endpoint("https://OAuth2.googleapis.com/token") == "https://oauth2.googleapis.com/token"
    assert urls.endpoint("http://localhost:8090/token") == "http://localhost:8090/token"


@for_each(
    ("written", "normal"),
    [
        ("https://App.example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:080", "http://[::1]"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_origins(written: str, normal: str) -> None:
    assert urls.origin(written) == normal


@for_each("written", ["*", "null", "app.example.com", "https://a.example/", "https://a@b", "https://"])
def test_what_is_no_origin(written: str) -> None:
    with pytest.raises(
        ValueError, match=r"must be an origin such as https://app.example.com, without a path, not "
    ):
        urls.origin(written)
