"""Addresses, rewritten to the octet: what is the receiver's becomes the proxy's, and what is anybody else's passes."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.policy import fields
from idtoken_proxy.policy.fields import Field
from idtoken_proxy.policy.guard import Caller, Guard
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.policy.target import PathMap
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Rewrite, Route, Upstream
from tests.cases import for_each

HOST = "app-x7f3kq-uc.a.run.app"
RUN = Upstream("https", HOST, 443)
BASED = Upstream("https", HOST, 443, "/base/v1")
LOCAL = Upstream("http", "127.0.0.1", 9000)


def rewriter(
    upstream: Upstream = RUN, path: str = "/", *, strip: bool = False, rewrite: Rewrite | None = None
) -> Rewriter:
    route = Route("r", upstream, None, NoIdentity(), path=path, strip_prefix=strip)
    return Rewriter(route, rewrite or Rewrite())


def caller(host: str | None = "localhost:8080") -> Caller:
    """As the guard makes it of a Host header."""
    request = Request()
    request.host = None if host is None else host.encode()
    return Guard(["proxy.example.com"], unverified_pages=True).admit(request)


PLAIN = rewriter()
STRIPPED = rewriter(path="/p", strip=True)
KEPT = rewriter(path="/p")
BASE = rewriter(BASED)
BOTH = rewriter(BASED, "/p", strip=True)
APP = caller()

# -- Location -----------------------------------------------------------------

OWN = [
    f"https://{HOST}",
    f"https://{HOST}:443",
    f"https://{HOST}:",
    f"http://{HOST}",
    f"http://{HOST}:80",
    f"HTTPS://{HOST}",
    f"https://{HOST.upper()}",
    f"hTTp://{HOST.title()}:80",
    f"//{HOST}",
    f"//{HOST}:443",
    f"//{HOST}:80",
]

PATHS = [
    "/",
    "/login",
    "/login?next=/a&b=%2f",
    "/a/../b#c?d",
    "//x",
    "/?",
    "/#",
    "/a b\xe9",
    "/p/x",
    "/@evil.com",
]


@for_each("own", OWN)
def test_the_receivers_own_address_becomes_the_proxys(own: str) -> None:
    for path in PATHS:
        value, wire = f"{own}{path}".encode("latin-1"), path.encode("latin-1")
        assert PLAIN.location(value, APP) == b"http://localhost:8080" + wire
        assert KEPT.location(value, APP) == b"http://localhost:8080" + wire
        assert STRIPPED.location(value, APP) == b"http://localhost:8080/p" + wire
        assert PLAIN.location(value, caller("app.LOCALHOST:8080")) == b"http://app.localhost:8080" + wire
        assert PLAIN.location(value, caller("localhost:80")) == b"http://localhost" + wire
        assert PLAIN.location(value, caller("[::1]:1")) == b"http://[::1]:1" + wire


@for_each("own", OWN)
@for_each(("rest", "path"), [("", "/"), ("?a=b", "/?a=b"), ("#c", "/#c")])
def test_an_address_without_a_path_gets_the_one_that_it_means(own: str, rest: str, path: str) -> None:
    assert PLAIN.location(f"{own}{rest}".encode(), APP) == f"http://localhost:8080{path}".encode()
    assert STRIPPED.location(f"{own}{rest}".encode(), APP) == f"http://localhost:8080/p{path}".encode()


FOREIGN = [
    "https://accounts.google.com/o/oauth2/v2/auth?client_id=1&redirect_uri=https%3A%2F%2F" + HOST + "%2Fcb",
    "https://iap.googleapis.com/v1/oauth/clientIds/1:handleRedirect",
    f"https://{HOST}.evil.com/",
    f"https://evil.com/{HOST}",
    f"https://evil-{HOST}/",
    f"https://sub.{HOST}/",
    f"https://{HOST}./",
    f"https://{HOST}@evil.com/",
    f"https://{HOST}:443@evil.com/",
    f"https://user@{HOST}/",
    f"https://user:password@{HOST}/",
    f"https://{HOST}\\@evil.com/",
    f"https://evil.com\\@{HOST}/",
    f"https://{HOST}%2eevil.com/",
    f"https://{HOST}:8443/",
    f"https://{HOST}:80/",
    f"http://{HOST}:443/",
    f"https://{HOST}:443x/",
    f"https://{HOST}:443:443/",
    f"https://{HOST};evil.com/",
    f"https://{HOST} /",
    f"https://{HOST}\t.evil.com/",
    f"ftp://{HOST}/",
    f"wss://{HOST}/",
    f"javascript://{HOST}/%0aalert(1)",
    f"myapp://{HOST}/callback",
    f"https:/{HOST}/",
    f"https:{HOST}/",
    f"https:///{HOST}/",
    f"///{HOST}/",
    f"//evil.com/{HOST}",
    f"//{HOST}.evil.com/",
    f"//{HOST}:8443/",
    f"//user@{HOST}/",
    f"\\\\{HOST}/",
    f"/\\{HOST}/",
    f"https://{HOST}\xe9/",
    "http://localhost/",
    "http://localhost:3000/",
    "http://localhost:8081/",
    "http://127.0.0.1:8080/",
    "http://localhost:8080.evil.com/",
    "http://localhost:8080@evil.com/",
    "https://localhost:3000/",
    "//localhost/",
    "https://",
    "//",
    "http://:80/",
]

RELATIVE = ["", "login", "./login", "../login", "?a=b", "#c", "a/b:c", "p/x", "mailto:a@b", "data:,x"]


@for_each("who", [PLAIN, STRIPPED, KEPT, BASE, BOTH])
def test_what_is_not_the_receivers_passes_to_the_last_octet(who: Rewriter) -> None:
    for octets in (value.encode("latin-1") for value in FOREIGN + RELATIVE):
        for app in (APP, caller(None)):
            assert who.location(octets, app) == octets


@for_each(
    ("upstream", "own", "foreign"),
    [
        (LOCAL, ["http://127.0.0.1:9000", "https://127.0.0.1:9000", "//127.0.0.1:9000"], ["http://127.0.0.1"]),
        (Upstream("https", "h.example", 8443), ["https://h.example:8443", "http://h.example:8443"], ["https://h.example"]),
        (Upstream("http", "::1", 80), ["http://[::1]", "http://[::1]:80", "https://[::1]:443"], ["http://::1", "http://[::2]"]),
        (Upstream("http", "127.0.0.1", 443), ["http://127.0.0.1:443", "https://127.0.0.1"], ["http://127.0.0.1"]),
    ],
)  # fmt: skip
def test_the_port_tells_one_receiver_from_another(
    upstream: Upstream, own: list[str], foreign: list[str]
) -> None:
    who = rewriter(upstream)
    for value in own:
        assert who.location(f"{value}/x".encode(), APP) == b"http://localhost:8080/x"
    for value in foreign:
        assert who.location(f"{value}/x".encode(), APP) == f"{value}/x".encode()


@for_each(
    ("who", "value", "expected"),
    [
        (PLAIN, "/login", "/login"),
        (KEPT, "/login", "/login"),
        (KEPT, "/p/login", "/p/login"),
        (STRIPPED, "/", "/p/"),
        (STRIPPED, "/login?a=/b", "/p/login?a=/b"),
        (STRIPPED, "/?a", "/p/?a"),
        # The receiver's own /p is not the proxy's.
        (STRIPPED, "/p", "/p/p"),
        (STRIPPED, "/p/x", "/p/p/x"),
        (STRIPPED, "/\t/evil.com", "/p/\t/evil.com"),
        (BASE, "/base/v1/x", "/x"),
        (BASE, "/base/v1/", "/"),
        (BASE, "/base/v1", "/"),
        (BASE, "/base/v1?a", "/?a"),
        (BASE, "/base/v1#a", "/#a"),
        (BOTH, "/base/v1/x", "/p/x"),
        (BOTH, "/base/v1/", "/p/"),
        (BOTH, "/base/v1", "/p"),
        (BOTH, "/base/v1?a", "/p?a"),
        # What is not under the base path cannot be asked for through the proxy.
        (BASE, "/", "/"),
        (BASE, "/base", "/base"),
        (BASE, "/base/v12", "/base/v12"),
        (BASE, "/BASE/v1/x", "/BASE/v1/x"),
        (BOTH, "/other", "/other"),
        (BOTH, f"https://{HOST}/other", f"https://{HOST}/other"),
        (BASE, f"https://{HOST}/base/v1/x", "http://localhost:8080/x"),
        (BASE, f"https://{HOST}/base/v1", "http://localhost:8080/"),
        (BOTH, f"https://{HOST}/base/v1/x?y", "http://localhost:8080/p/x?y"),
        (BOTH, f"https://{HOST}", f"https://{HOST}"),
        # A path must not turn into a host when a base path is taken off.
        (BASE, "/base/v1//evil.com/x", "http://localhost:8080//evil.com/x"),
        (BASE, "/base/v1/\\evil.com", "http://localhost:8080/\\evil.com"),
        (BASE, "/base/v1/\t/evil.com", "http://localhost:8080/\t/evil.com"),
        (BOTH, "/base/v1//evil.com/x", "/p//evil.com/x"),
        (BASE, f"https://{HOST}/base/v1//evil.com", "http://localhost:8080//evil.com"),
    ],
)
def test_rooted_paths_are_mapped_as_targets_are_and_back(who: Rewriter, value: str, expected: str) -> None:
    assert who.location(value.encode(), APP) == expected.encode()


@for_each(
    ("who", "value", "expected"),
    [
        # By apps that believe X-Forwarded-Host, and X-Forwarded-Proto as Cloud Run sets it.
        (PLAIN, "http://localhost:8080/x", "http://localhost:8080/x"),
        (PLAIN, "http://localhost:8080", "http://localhost:8080"),
        (PLAIN, "http://LOCALHOST:8080/x", "http://LOCALHOST:8080/x"),
        (PLAIN, "https://localhost:8080/x", "http://localhost:8080/x"),
        (PLAIN, "https://localhost:8080", "http://localhost:8080/"),
        (PLAIN, "//localhost:8080/x", "//localhost:8080/x"),
        (STRIPPED, "https://localhost:8080/x", "http://localhost:8080/p/x"),
        (STRIPPED, "http://localhost:8080/x", "http://localhost:8080/p/x"),
        (STRIPPED, "//localhost:8080/x", "http://localhost:8080/p/x"),
        # By those that were told their address here.
        (STRIPPED, "http://localhost:8080/p/x", "http://localhost:8080/p/x"),
        (STRIPPED, "https://localhost:8080/p?x", "http://localhost:8080/p?x"),
        (STRIPPED, "http://localhost:8080/px", "http://localhost:8080/p/px"),
        (BASE, "http://localhost:8080/base/v1/x", "http://localhost:8080/x"),
        (BASE, "http://localhost:8080/x", "http://localhost:8080/x"),
        (BASE, "https://localhost:8080/x", "http://localhost:8080/x"),
        (BOTH, "http://localhost:8080/base/v1/x", "http://localhost:8080/p/x"),
        (BOTH, "http://localhost:8080/p/x", "http://localhost:8080/p/x"),
    ],
)
def test_the_proxys_own_address_is_put_right(who: Rewriter, value: str, expected: str) -> None:
    assert who.location(value.encode(), APP) == expected.encode()


def test_https_without_a_port_is_another_server_than_http_without_one() -> None:
    context = caller("proxy.example.com")
    assert PLAIN.location(b"https://proxy.example.com/x", context) == b"https://proxy.example.com/x"
    assert STRIPPED.location(b"http://proxy.example.com/x", context) == b"http://proxy.example.com/p/x"


@for_each(
    ("who", "value", "expected"),
    [
        (PLAIN, f"https://{HOST}/x", "/x"),
        (PLAIN, f"https://{HOST}", "/"),
        (PLAIN, f"https://{HOST}?a", "/?a"),
        (STRIPPED, f"https://{HOST}//x", "/p//x"),
        (PLAIN, f"https://{HOST}//evil.com", f"https://{HOST}//evil.com"),
        (PLAIN, f"https://{HOST}/\\evil.com", f"https://{HOST}/\\evil.com"),
        (BASE, "/base/v1//evil.com", "/base/v1//evil.com"),
        (BASE, f"https://{HOST}/base/v1/\t/evil.com", f"https://{HOST}/base/v1/\t/evil.com"),
    ],
)
def test_where_the_app_named_no_host_a_rooted_path_does(who: Rewriter, value: str, expected: str) -> None:
    assert who.location(value.encode(), caller(None)) == expected.encode()


segments = st.text("abcp/?#=%.~", max_size=12)
prefixes = st.sampled_from(["/", "/p", "/p/q", "/a"])
bases = st.sampled_from(["", "/a", "/a/b", "/p"])


@given(prefix=prefixes, base=bases, strip=st.booleans(), rest=segments)
def test_where_a_receiver_sends_an_app_its_request_comes_back_to(
    *, prefix: str, base: str, strip: bool, rest: str
) -> None:
    """A redirect of a receiver to the very target that it got leads to that target again."""
    asked = (prefix.rstrip("/") + "/" + rest).partition("#")[0].encode()
    if re.search(rb"(?:^|/)\.\.?(?=/|$|\?)|%|//", asked) is not None:
        return
    paths = PathMap(prefix, base, strip_prefix=strip)
    got = paths.map(asked, asked.partition(b"?")[0])
    who = rewriter(Upstream("https", HOST, 443, base), prefix, strip=strip)
    for value in (got, b"https://" + HOST.encode() + got):
        back = who.location(value, APP).removeprefix(b"http://localhost:8080")
        again = paths.map(back, back.partition(b"?")[0])
        assert again == got


@given(st.binary(max_size=40).filter(lambda value: not re.search(rb"[\r\n\0]", value)))
def test_whatever_comes_out_leads_to_no_host_that_did_not_stand_there(rest: bytes) -> None:
    for who in (PLAIN, STRIPPED, BASE, BOTH):
        for app in (APP, caller(None)):
            for value in (rest, b"/" + rest, b"/base/v1" + rest, b"https://" + HOST.encode() + rest):
                out = who.location(value, app)
                assert out in (value, *_within(out))


def _within(out: bytes) -> tuple[bytes, ...]:
    """`out` itself, where it cannot but lead to the proxy."""
    own = re.match(rb"http://localhost:8080/|/(?![/\\\t])", out)
    return () if own is None else (out,)


# -- Set-Cookie ---------------------------------------------------------------


@for_each(
    ("value", "expected"),
    [
        ("a=b", "a=b"),
        ("a=b; Path=/; Secure; HttpOnly; SameSite=None", "a=b; Path=/; Secure; HttpOnly; SameSite=None"),
        (f"a=b; Domain={HOST}; Path=/x", "a=b; Path=/x"),
        (f"a=b; domain=.{HOST.upper()};path=/x", "a=b;path=/x"),
        ("a=b;Domain=a.run.app;Secure", "a=b;Secure"),
        (f"a=b; Domain = {HOST} ; Secure", "a=b; Secure"),
        (f"a=b; Domain={HOST}; Domain=a.run.app", "a=b"),
        (f"a=b; Domain={HOST}", "a=b"),
        # not the receiver's to say
        ("a=b; Domain=evil.com; Path=/", "a=b; Domain=evil.com; Path=/"),
        (f"a=b; Domain=x.{HOST}", f"a=b; Domain=x.{HOST}"),
        (f"a=b; Domain={HOST}.evil.com", f"a=b; Domain={HOST}.evil.com"),
        ("a=b; Domain=uc.a.run.app", "a=b; Domain=uc.a.run.app"),
        ("a=b; Domain=app", "a=b; Domain=app"),
        ("a=b; Domain=.", "a=b; Domain=."),
        (f"a=b; Domain={HOST}; Domain=evil.com", f"a=b; Domain={HOST}; Domain=evil.com"),
        # nothing that would have a meaning
        ("a=b; Domain", "a=b; Domain"),
        ("a=b; Domain=; Path=/", "a=b; Domain=; Path=/"),
        # not attributes
        (f"Domain={HOST}", f"Domain={HOST}"),
        (f"a=Domain={HOST}; X-Domain={HOST}", f"a=Domain={HOST}; X-Domain={HOST}"),
        # every octet of the rest
        (
            f'  a="b c,\xe9" ;;Expires=Wed, 21 Oct 2026 07:28:00 GMT;\tMax-Age=0; Domain={HOST};Priority=High; =;',
            '  a="b c,\xe9" ;;Expires=Wed, 21 Oct 2026 07:28:00 GMT;\tMax-Age=0;Priority=High; =;',
        ),
        # worth nothing with another Path or Domain, or without them
        (f"__Host-a=b; Secure; Path=/; Domain={HOST}", f"__Host-a=b; Secure; Path=/; Domain={HOST}"),
        (f"__Secure-a=b; Secure; Domain={HOST}", "__Secure-a=b; Secure"),
    ],
)
def test_a_cookies_domain_is_dropped_where_it_covers_the_receiver(value: str, expected: str) -> None:
    assert PLAIN.cookie(value.encode("latin-1"), APP) == expected.encode("latin-1")


def test_a_domain_that_covers_the_name_that_the_app_used_stays() -> None:
    forward = Caller(HOST, b"http://" + HOST.encode(), b"", HOST)  # a forward proxy's request
    value = f"a=b; Domain={HOST}".encode()
    assert PLAIN.cookie(value, forward) == value


def test_an_address_has_no_subdomains() -> None:
    local = rewriter(LOCAL)
    assert local.cookie(b"a=b; Domain=127.0.0.1", APP) == b"a=b"
    assert local.cookie(b"a=b; Domain=0.0.1", APP) == b"a=b; Domain=0.0.1"
    six = rewriter(Upstream("http", "::1", 1))
    assert six.cookie(b"a=b; Domain=[::1]", APP) == b"a=b"
    assert six.cookie(b"a=b; Domain=0.0.1]", APP) == b"a=b; Domain=0.0.1]"
    mapped = rewriter(Upstream("http", "::ffff:127.0.0.1", 1))
    assert mapped.cookie(b"a=b; Domain=0.0.1]", APP) == b"a=b; Domain=0.0.1]"


@for_each(
    ("who", "path", "expected"),
    [
        (PLAIN, "/", "/"),
        (KEPT, "/", "/"),
        (KEPT, "/x", "/x"),
        (STRIPPED, "/", "/p"),  # /p/ would leave out /p itself
        (STRIPPED, "/x", "/p/x"),
        (STRIPPED, "/x/", "/p/x/"),
        (STRIPPED, "/p", "/p/p"),
        (BASE, "/", "/"),
        (BASE, "/base", "/"),
        (BASE, "/base/", "/"),
        (BASE, "/base/v1", "/"),
        (BASE, "/base/v1/", "/"),
        (BASE, "/base/v1/x", "/x"),
        (BASE, "/base/v", "/base/v"),
        (BASE, "/base/v12", "/base/v12"),
        (BASE, "/other", "/other"),
        (BOTH, "/", "/p"),
        (BOTH, "/base", "/p"),
        (BOTH, "/base/", "/p"),
        (BOTH, "/base/v1", "/p"),
        (BOTH, "/base/v1/", "/p/"),
        (BOTH, "/base/v1/x", "/p/x"),
        (BOTH, "/other", "/other"),
        # none that a browser would take
        (STRIPPED, "", ""),
        (STRIPPED, "x", "x"),
        (STRIPPED, '"/"', '"/"'),
    ],
)
def test_a_cookies_path_is_mapped(who: Rewriter, path: str, expected: str) -> None:
    for cookie in (
        "a=/; Path={}; Secure",
        "a=/;PATH = {} ;HttpOnly",
        "a=/; path=\t{}",
        "a=/; Path={}; Path={}",
    ):
        assert who.cookie(cookie.replace("{}", path).encode(), APP) == cookie.replace("{}", expected).encode()


@for_each("name", ["__Host-a", "__host-a", "__HOST-Http-a"])
@for_each("who", [STRIPPED, BASE, BOTH])
def test_a_cookie_of_the_whole_host_stays_one(who: Rewriter, name: str) -> None:
    value = f"{name}=b; Secure; Path=/".encode()
    assert who.cookie(value, APP) == value


@for_each("who", [STRIPPED, BOTH])
def test_a_cookie_without_a_path_takes_that_of_its_page(who: Rewriter) -> None:
    assert who.cookie(b"a=b; Path; Secure", APP) == b"a=b; Path; Secure"


@for_each("who", [STRIPPED, BOTH])
@for_each("target", [b"/p", b"/p?a=/p/"])
def test_but_that_of_a_bare_prefix_would_be_everybodys(who: Rewriter, target: bytes) -> None:
    """RFC 6265 section 5.1.4: of /p it is /, where the other routes' receivers are; to its own one the page was /."""
    assert who.cookie(b"a=b; Secure", APP, target) == b"a=b; Secure; Path=/p"
    assert who.cookie(b"a=b; Path", APP, target) == b"a=b; Path; Path=/p"
    assert who.cookie(b"a=b; Path=/other", APP, target).count(b"Path") == 1
    assert who.cookie(b"__Host-a=b; Secure; Path=/", APP, target) == b"__Host-a=b; Secure; Path=/"
    for deeper in (b"/p/", b"/p/x", b"/p/x?a"):
        assert who.cookie(b"a=b", APP, deeper) == b"a=b"


def test_a_bare_prefix_that_stays_is_the_receivers_own() -> None:
    assert KEPT.cookie(b"a=b", APP, b"/p") == b"a=b"
    assert PLAIN.cookie(b"a=b", APP, b"/") == b"a=b"


@given(st.text('ab=;/ \t"', max_size=30))
def test_a_cookie_without_attributes_of_ours_passes_to_the_last_octet(text: str) -> None:
    value = text.encode()
    for who in (PLAIN, STRIPPED, BASE, BOTH):
        assert who.cookie(value, APP) == value


# -- field lines --------------------------------------------------------------


def line(name: str, value: str) -> Field:
    kind = fields.response_kind(name.lower().encode())
    return Field(name.lower().encode(), value.encode(), f"{name}: {value}\r\n".encode(), kind)


@for_each(
    ("field", "expected"),
    [
        (line("Location", f"https://{HOST}/x"), "Location: http://localhost:8080/p/x\r\n"),
        (line("content-LOCATION", "/x"), "content-LOCATION: /p/x\r\n"),
        (line("Location", ""), "Location: \r\n"),
        (line("Set-Cookie", f"a=b; Domain={HOST}; Path=/"), "Set-Cookie: a=b; Path=/p\r\n"),
        (line("Refresh", f"0; url=https://{HOST}/x"), f"Refresh: 0; url=https://{HOST}/x\r\n"),
    ],
)
def test_a_fields_name_stays_as_it_was_spelled(field: Field, expected: str) -> None:
    assert STRIPPED.back(field, APP) == expected.encode()


def test_what_is_as_it_was_is_not_written_afresh() -> None:
    for field in (line("Location", "login"), line("Set-Cookie", "a=b")):
        assert STRIPPED.back(field, APP) is field.wire


@for_each("off", ["location", "cookies", "origin"])
def test_each_may_be_switched_off(off: str) -> None:
    who = rewriter(path="/p", strip=True, rewrite=Rewrite(**{off: False}))
    location, cookie = line("Location", "/x"), line("Set-Cookie", "a=b; Path=/")
    assert (who.back(location, APP) == location.wire) == (off == "location")
    assert (who.back(cookie, APP) == cookie.wire) == (off == "cookies")
    assert (who.origin_line is None) == (off == "origin")
    referer = b"Referer: http://localhost:8080/p/x\r\n"
    assert (who.referer(referer, b"http://localhost:8080/p/x", APP) == referer) == (off == "origin")


# -- Origin and Referer -------------------------------------------------------


@for_each(
    ("upstream", "expected"),
    [(RUN, f"https://{HOST}"), (BASED, f"https://{HOST}"), (LOCAL, "http://127.0.0.1:9000")],
)
def test_the_origin_is_the_receivers(upstream: Upstream, expected: str) -> None:
    assert rewriter(upstream).origin_line == f"Origin: {expected}\r\n".encode()


@for_each(
    ("who", "rest", "expected"),
    [
        (PLAIN, "", "/"),
        (PLAIN, "/", "/"),
        (PLAIN, "/x/y?z=http://localhost:8080/", "/x/y?z=http://localhost:8080/"),
        (PLAIN, "?a", "/?a"),
        (PLAIN, "//x", "//x"),
        (KEPT, "/p/x", "/p/x"),
        (KEPT, "/q/x", "/q/x"),
        (STRIPPED, "/p/x?y", "/x?y"),
        (STRIPPED, "/p/", "/"),
        (STRIPPED, "/p", "/"),
        (STRIPPED, "/p?y", "/?y"),
        # another route's page
        (STRIPPED, "/q/x?secret", "/"),
        (STRIPPED, "/pq", "/"),
        (STRIPPED, "/", "/"),
        (BASE, "/x", "/base/v1/x"),
        (BASE, "", "/base/v1/"),
        (BOTH, "/p/x", "/base/v1/x"),
        (BOTH, "/p", "/base/v1"),
        (BOTH, "/p?y", "/base/v1?y"),
        (BOTH, "/q/x", "/base/v1/"),
    ],
)
def test_a_page_of_the_proxys_becomes_the_receivers(who: Rewriter, rest: str, expected: str) -> None:
    for origin in ("http://localhost:8080", "HTTP://LocalHost:8080"):
        value = f"{origin}{rest}".encode()
        assert who.referer(b"referer: " + value + b"\r\n", value, APP) == f"Referer: https://{HOST}{expected}\r\n".encode()  # fmt: skip


@for_each(
    "value",
    [
        "",
        "/x",
        "about:client",
        "https://localhost:8080/",
        "http://localhost/",
        "http://localhost:80800/",
        "http://localhost:8080.evil.com/",
        "http://localhost:8080@evil.com/",
        "http://localhost:8080\\@evil.com/",
        "http://evil.com/http://localhost:8080/",
        "http://localhost:3000/",
        "http://app.localhost:8080/",
        "https://accounts.google.com/",
        f"https://{HOST}/",
    ],
)
def test_a_page_of_anybody_elses_passes_to_the_last_octet(value: str) -> None:
    wire = f"REFERER: {value}\r\n".encode()
    for who in (PLAIN, STRIPPED, BOTH):
        for app in (APP, caller(None)):
            assert who.referer(wire, value.encode(), app) is wire
