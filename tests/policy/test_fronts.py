"""Who may say that the app came over TLS, in which words, and what follows from it."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine.http1 import parse_request
from idtoken_proxy.errors import MalformedRequest, Refused
from idtoken_proxy.policy.fronts import Fronts
from idtoken_proxy.policy.guard import Guard
from idtoken_proxy.policy.headers import NO_TOKEN, Outbound, Peer, outbound_head
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.settings.addresses import proxy_range
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Rewrite, Route, Upstream
from tests.cases import for_each

FRONT = "10.0.0.7"
NAMED = Guard(["proxy.test"])


def fronts(*listed: str) -> Fronts:
    return Fronts(proxy_range(one) for one in listed)


def asked(*fields: str, by: str | None = FRONT, host: str = "proxy.test", target: str = "/") -> Request:
    block = "\r\n".join((f"GET {target} HTTP/1.1", f"Host: {host}", *fields)).encode()
    request = parse_request(block)
    fronts(FRONT).settle(request, by, unix=False)
    return request


@for_each(
    ("listed", "peer", "trusted"),
    [
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.8", False),
        ("10.0.0.7", "::ffff:10.0.0.7", True),
        ("10.0.0.7", "::ffff:10.0.0.8", False),
        ("10.0.0.7", "::10.0.0.7", False),
        ("10.0.0.0/24", "::ffff:10.0.0.200", True),
        ("10.0.0.0/24", "10.0.1.0", False),
        ("::ffff:10.0.0.7", "10.0.0.7", True),
        ("::ffff:10.0.0.0/120", "10.0.0.9", True),
        ("::ffff:10.0.0.0/120", "10.0.1.9", False),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "fe80::1%eth0", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("127.0.0.1", "::1", False),
        ("unix", "127.0.0.1", False),
    ],
)
def test_a_peer_is_trusted_by_its_address(listed: str, peer: str, trusted: bool) -> None:  # noqa: FBT001
    one = fronts(listed)
    assert one.trusts(peer, unix=False) is trusted
    assert one.trusts(peer, unix=False) is trusted  # from memory


def test_a_unix_sockets_peer_is_trusted_by_that_word_alone() -> None:
    assert fronts("unix").trusts(None, unix=True)
    assert not fronts("127.0.0.1", "::1").trusts(None, unix=True)
    # A TCP peer that is gone has no address any more either.
    assert not fronts("unix", "127.0.0.1").trusts(None, unix=False)


@for_each(
    ("said", "over_tls"),
    [("https", True), ("HTTPS", True), ("wss", True), ("http", False), ("ws", False)],
)
def test_one_word_decides(said: str, over_tls: bool) -> None:  # noqa: FBT001
    assert asked(f"X-Forwarded-Proto: {said}").over_tls is over_tls


@for_each(
    "fields",
    [
        ("X-Forwarded-Proto: https, http",),
        ("X-Forwarded-Proto: http, https",),
        ("X-Forwarded-Proto: https,https",),
        ("X-Forwarded-Proto: https", "X-Forwarded-Proto: https"),
        ("X-Forwarded-Proto: http", "x-forwarded-proto: https"),
        ("X-Forwarded-Proto:",),
        ("X-Forwarded-Proto: https/2",),
        ('X-Forwarded-Proto: "https"',),
    ],
)
def test_whatever_else_a_trusted_one_says_is_refused_and_nobody_elses_is_read(
    fields: tuple[str, ...],
) -> None:
    with pytest.raises(MalformedRequest) as caught:
        asked(*fields)
    assert "proxy_set_header" in (caught.value.remedy or "")
    for stranger in ("10.0.0.8", "::ffff:10.0.0.8", None):
        assert not asked(*fields, by=stranger).over_tls


@for_each(
    "fields",
    [
        (),
        ("X_Forwarded_Proto: https",),
        ("Forwarded: proto=https",),
        ("X-Forwarded-Proto: https", "Connection: X-Forwarded-Proto"),
    ],
)
def test_what_is_not_the_field_says_nothing(fields: tuple[str, ...]) -> None:
    request = parse_request("\r\n".join(("GET / HTTP/1.1", "Host: proxy.test", *fields)).encode())
    assert request.forwarded_proto == ()


def test_of_a_forward_proxys_request_nothing_is_asked() -> None:
    request = asked("X-Forwarded-Proto: https", host="localhost", target="http://localhost/")
    assert not request.over_tls


def test_the_own_origin_is_the_https_one() -> None:
    tls = "X-Forwarded-Proto: https"
    for host, origin in (
        ("proxy.test", "https://proxy.test"),
        ("proxy.test:443", "https://proxy.test"),
        ("proxy.test:8443", "https://proxy.test:8443"),
        ("localhost:80", "https://localhost:80"),
    ):
        request = asked(tls, f"Origin: {origin}", "X-Forwarded-Host: evil.test", host=host)
        assert NAMED.admit(request).origin == origin.encode()
        with pytest.raises(Refused):
            NAMED.admit(asked(tls, f"Origin: {origin.replace('https', 'http')}", host=host))
        with pytest.raises(Refused):
            NAMED.admit(asked(tls, f"Origin: {origin}", host=host, by="10.0.0.8"))
    for origin in ("https://evil.test", "https://proxy.test:444", "null"):
        with pytest.raises(Refused):
            NAMED.admit(asked(tls, f"Origin: {origin}"))
    with pytest.raises(Refused):
        NAMED.admit(asked(tls, "X-Forwarded-Host: proxy.test", host="evil.test"))


def test_to_an_https_name_browsers_tell_what_page_a_request_is_from() -> None:
    assert not NAMED.admit(asked("X-Forwarded-Proto: https")).untold
    with pytest.raises(Refused) as caught:
        NAMED.admit(asked("X-Forwarded-Proto: https", "Sec-Fetch-Site: cross-site"))
    assert caught.value.reason == "fetch_site"
    for made in (
        asked("X-Forwarded-Proto: http"),
        asked(),
        asked("X-Forwarded-Proto: https", by="10.0.0.8"),
    ):
        with pytest.raises(Refused) as caught:
            NAMED.admit(made)
        assert caught.value.reason == "unverified_page"


def rewriter(path: str = "/") -> Rewriter:
    upstream = Upstream("https", "app.example", 443)
    return Rewriter(Route("r", upstream, None, NoIdentity(), path=path, strip_prefix=path != "/"), Rewrite())


@for_each(
    ("host", "path", "said", "back"),
    [
        ("proxy.test", "/", "https://app.example/a", "https://proxy.test/a"),
        ("proxy.test:8443", "/p", "http://app.example/a", "https://proxy.test:8443/p/a"),
        ("proxy.test", "/", "http://proxy.test/a", "https://proxy.test/a"),
        ("proxy.test", "/", "http://proxy.test:80/a", "https://proxy.test/a"),
        ("proxy.test", "/", "https://proxy.test:443/a", "https://proxy.test:443/a"),
        ("proxy.test", "/", "//proxy.test/a", "//proxy.test/a"),
        ("proxy.test", "/p", "https://proxy.test/a", "https://proxy.test/p/a"),
        ("proxy.test:8443", "/", "http://proxy.test:8443/a", "https://proxy.test:8443/a"),
        ("proxy.test", "/p", "https://proxy.test:8443/a", "https://proxy.test:8443/a"),
        ("proxy.test", "/p", "http://proxy.test:443/a", "http://proxy.test:443/a"),
        ("proxy.test", "/p", "https://accounts.google.com/a", "https://accounts.google.com/a"),
        ("proxy.test", "/p", "/a", "/p/a"),
    ],
)
def test_redirects_keep_https(host: str, path: str, said: str, back: str) -> None:
    caller = NAMED.admit(asked("X-Forwarded-Proto: https", host=host))
    assert rewriter(path).location(said.encode(), caller) == back.encode()


def test_secure_cookies_stay_so() -> None:
    caller = NAMED.admit(asked("X-Forwarded-Proto: https"))
    value = b"s=1; Secure; SameSite=None; Partitioned; Domain=app.example"
    assert rewriter().cookie(value, caller) == b"s=1; Secure; SameSite=None; Partitioned"


@for_each("more", [(), ("X-Forwarded-For: 1.2.3.4",), ("Via: 1.1 front",)])
def test_the_receiver_is_told(more: tuple[str, ...]) -> None:
    for by, proto in ((FRONT, b"https"), ("10.0.0.8", b"http")):
        request = asked("X-Forwarded-Proto: https", "Sec-Fetch-Site: same-origin", *more, by=by)
        head = outbound_head(
            Outbound(request, b"/", b"Host: r\r\n", NAMED.admit(request), Peer.of(by), NO_TOKEN, rewriter())
        )
        told = [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-forwarded-proto:")]
        assert told == [b"X-Forwarded-Proto: " + proto]


@for_each(
    ("written", "word"),
    [
        ("nginx", "no address"),
        ("10.0.0.7:80", "no address"),
        ("10.0.0.0/33", "no address"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
        ("::ffff:0.0.0.0/96", "everybody"),
    ],
)
def test_what_is_no_range_is_refused(written: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        proxy_range(written)
