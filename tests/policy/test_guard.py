"""Who may use the proxy: design's fine print on Host, Origin and Sec-Fetch-*, line by line."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http1 import parse_request
from idtoken_proxy.errors import MalformedRequest, Refused, RequestError
from idtoken_proxy.policy import fields
from idtoken_proxy.policy import guard as module
from idtoken_proxy.policy.fields import Field
from idtoken_proxy.policy.guard import UNIX, Caller, Guard
from idtoken_proxy.policy.request import Request
from tests.cases import for_each

LISTED = "https://app.example.com"


def request(
    host: str | None = "localhost:8080",
    *,
    method: str = "GET",
    origin: str | None = None,
    site: str | None = None,
    mode: str | None = None,
    dest: str | None = None,
) -> Request:
    made = Request()
    made.method = method.encode()
    made.target = b"/"
    made.passing = []
    made.http10 = host is None

    def octets(value: str | None) -> bytes | None:
        return None if value is None else value.encode("latin-1")

    made.host = octets(host)
    made.origin = octets(origin)
    made.fetch_site = octets(site)
    made.fetch_mode = octets(mode)
    made.fetch_dest = octets(dest)
    return made


def usual() -> Guard:
    names = ["Profiles.Internal", "[fd00::1]", "myhost"]
    return Guard(names, [LISTED, "HTTP://Other.Example:3000"], unverified_pages=True)


# -- names under which browsers do not say what page a request is from --------------

UNTOLD = ["proxy.test", "profiles.corp.example", "[fd00::1]", "10.1.2.3", "localhost.test", "127.0.0.1.test"]
TOLD = ["localhost", "127.0.0.1", "[::1]", "127.0.0.2", "app.localhost", "LocalHost:9"]


def referred(made: Request, *referers: str) -> Request:
    made.referers = tuple(Field(b"referer", one.encode(), b"", fields.REFERER) for one in referers)
    return made


@for_each("name", UNTOLD)
def test_under_a_name_that_browsers_do_not_trust_a_request_must_show_whose_it_is(name: str) -> None:
    guard = Guard(allowed_hosts=[name])
    with pytest.raises(Refused, match="cannot be told from a page") as caught:
        guard.admit(request(name), 8080)
    assert caught.value.reason == "unverified_page"
    assert caught.value.remedy is not None
    assert "unverified_pages: allow" in caught.value.remedy
    assert guard.admit(request(name, origin=f"http://{name}"), 8080).name
    assert guard.admit(request(name, site="same-origin"), 8080).name
    assert guard.admit(referred(request(name), f"http://{name}/page?x"), 8080).name
    for method in ("GET", "POST", "OPTIONS"):
        with pytest.raises(Refused):
            guard.admit(request(name, method=method), 8080)


@for_each("name", TOLD)
def test_under_one_that_they_trust_a_request_without_a_word_is_a_program_s(name: str) -> None:
    assert Guard(allowed_hosts=[name.partition(":")[0]]).admit(request(name), 8080).name


@for_each(
    "referer",
    [
        *(
            "http://evil.test/",
            "http://proxy.test.evil.test/",
            "http://proxy.testevil/",
            "https://proxy.test/",
            "null",
            "",
        ),
        *("http://proxy.test:81/", "http://user@proxy.test/", "http://proxy.test@evil.test/", "/proxy.test"),
    ],
)
@for_each("unverified", [False, True])
def test_a_page_of_another_site_that_says_so_is_refused_there(referer: str, *, unverified: bool) -> None:
    guard = Guard(allowed_hosts=["proxy.test"], unverified_pages=unverified)
    for referers in ((referer,), ("http://proxy.test/", referer)):
        with pytest.raises(Refused) as caught:
            guard.admit(referred(request("proxy.test"), *referers), 8080)
        assert caught.value.reason == "referer"


def test_who_knows_the_secret_is_no_page() -> None:
    guard = Guard(["proxy.test"], secret=("X-Secret", b"s" * 32))
    made = referred(request("proxy.test"), "http://elsewhere.test/")
    made.passing = [b"X-Secret: " + b"s" * 32 + b"\r\n"]
    assert guard.admit(made, 8080).name
    with pytest.raises(Refused, match="X-Secret"):
        guard.admit(request("proxy.test"), 8080)


def test_a_route_s_own_host_is_such_a_name_too_and_where_it_is_said_so_no_word_is_needed() -> None:
    with pytest.raises(Refused, match="cannot be told from a page"):
        Guard(routed=["profiles.corp.example"]).admit(request("profiles.corp.example"), 8080)
    guard = Guard(routed=["profiles.corp.example"], unverified_pages=True)
    assert guard.admit(request("profiles.corp.example"), 8080).name == "profiles.corp.example"


def test_what_is_sent_to_a_proxy_is_no_page_s_unless_it_says_so() -> None:
    guard = Guard(upstreams=["users.a.run.app"], routed=["named.example"])
    for host in ("users.a.run.app", "named.example"):
        assert guard.admit(absolute(host), 8080).name
        with pytest.raises(Refused, match="Referer"):
            guard.admit(referred(absolute(host), "http://evil.test/"), 8080)


# -- Host ---------------------------------------------------------------------


@for_each(
    ("host", "name", "origin"),
    [
        ("localhost", "localhost", "http://localhost"),
        ("localhost:8080", "localhost", "http://localhost:8080"),
        # The port does not matter: docker -p, ssh -L.
        ("localhost:1", "localhost", "http://localhost:1"),
        ("localhost:65535", "localhost", "http://localhost:65535"),
        # As a browser says it: without its scheme's default port.
        ("localhost:80", "localhost", "http://localhost"),
        ("localhost:", "localhost", "http://localhost"),
        ("localhost:443", "localhost", "http://localhost:443"),
        ("LOCALHOST:8080", "localhost", "http://localhost:8080"),
        ("LocalHost", "localhost", "http://localhost"),
        ("127.0.0.1:8080", "127.0.0.1", "http://127.0.0.1:8080"),
        ("[::1]", "[::1]", "http://[::1]"),
        ("[::1]:8080", "[::1]", "http://[::1]:8080"),
        ("profiles.localhost", "profiles.localhost", "http://profiles.localhost"),
        ("a.b-c.d_e.localhost:8080", "a.b-c.d_e.localhost", "http://a.b-c.d_e.localhost:8080"),
        ("Profiles.LOCALHOST", "profiles.localhost", "http://profiles.localhost"),
        # Allowed by the configuration.
        ("profiles.internal", "profiles.internal", "http://profiles.internal"),
        ("PROFILES.internal:9", "profiles.internal", "http://profiles.internal:9"),
        ("[FD00::1]:9", "[fd00::1]", "http://[fd00::1]:9"),
        ("myhost", "myhost", "http://myhost"),
    ],
)
def test_a_name_that_is_ours_is_admitted(host: str, name: str, origin: str) -> None:
    guard = usual()
    for _ in range(2):
        caller = guard.admit(request(host))
        assert caller == Caller(name, origin.encode(), f"X-Forwarded-Host: {host}\r\n".encode())


@for_each(
    "host",
    [
        "evil.com",
        "evil.com:8080",
        "localhost.evil.com",
        "profiles.localhost.evil.com",
        "evil-localhost",
        "evillocalhost",
        "xlocalhost",
        "localhost-",
        "-localhost",
        "local",
        "localhost.localdomain",
        "localhost6",
        # Names that only look like an address.
        "127a0b0c1",
        "127.0.0.1.evil.com",
        "127.0.0.1.nip.io",
        "127-0-0-1",
        # Other spellings of loopback, and its other addresses: no browser sends the first kind.
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "0",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::0001]",
        "[::ffff:127.0.0.1]",
        "[::2]",
        "[127.0.0.1]",
        "169.254.169.254",
        # A trailing dot names the same host to DNS.
        "localhost.",
        "localhost.:8080",
        "127.0.0.1.",
        "profiles.localhost.",
        "profiles.internal.",
        "evil.com.",
        # Labels that are none.
        ".localhost",
        "..localhost",
        "a..localhost",
        "-a.localhost",
        "b.-a.localhost",
        # What was allowed is allowed to the letter.
        "internal",
        "a.profiles.internal",
        "profiles.internal.evil.com",
        "myhost.localdomain",
        ".",
        "-",
        "_",
    ],
)
def test_any_other_name_is_403(host: str) -> None:
    guard = usual()
    for _ in range(2):
        with pytest.raises(Refused, match="not a name of this proxy") as caught:
            guard.admit(request(host))
        assert (caught.value.status, caught.value.closes) == (403, False)
        assert caught.value.remedy is not None
    assert guard.remembered == 0


@for_each(
    "host",
    [
        "",
        ":",
        ":8080",
        "localhost:8080:80",
        "localhost:http",
        "localhost:-1",
        "localhost:+80",
        "localhost:808080",
        "localhost: 80",
        "localhost :80",
        "local host",
        "localhost\t",
        "localhost,evil.com",
        "localhost, localhost",
        "localhost/",
        "localhost/evil",
        "localhost?",
        "localhost#",
        "localhost\\",
        "http://localhost",
        "user@localhost",
        "localhost@evil.com",
        "user:pass@localhost:80",
        "localhost%00",
        "localhost%2eevil.com",
        "%6cocalhost",
        "localhost;evil",
        "localhost*",
        "*.localhost",
        "::1",
        "::1:8080",
        "[::1",
        "::1]",
        "[]",
        "[::1]x",
        "[::1]x:80",
        "[[::1]]",
        "[::1%25lo]",
        "[::1%lo]",
        "[v1.localhost]",
        "[localhost]",
        "caf\xe9.localhost",
        "localhost\xa0",
        "127.0.0.1\x85",
        "a" * 254,
        "a" * 250 + ".localhost",
        "[" + "0:" * 23 + "]",
        "a" * 60_000 + ".localhost",
    ],
)
def test_what_is_no_host_is_400_and_not_quoted(host: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        usual().admit(request(host))
    assert str(caught.value) == "the Host header is not a host name with an optional port"


@given(st.text(st.characters(max_codepoint=255)))
def test_no_host_but_ours_is_ever_admitted(host: str) -> None:
    try:
        caller = Guard().admit(request(host))
    except RequestError:
        return
    assert caller.name in {"localhost", "127.0.0.1", "[::1]"} or caller.name.endswith(".localhost")


@given(
    st.sampled_from(["localhost", "127.0.0.1", "[::1]"]), st.text("abc.:@[]-_0/ \\%", min_size=1, max_size=5)
)
def test_nothing_is_ours_for_what_it_begins_or_ends_with(name: str, more: str) -> None:
    for host in (name + more, more + name):
        try:
            caller = Guard().admit(request(host))
        except RequestError:
            continue
        port = host.removeprefix(name)
        assert (host.startswith(name) and port[:1] == ":" and port[1:].strip("0") == "") or (
            caller.name.endswith(".localhost") and ".." not in host and not host.startswith((".", "-"))
        )


# -- no Host ------------------------------------------------------------------


def test_http_1_0_without_a_host_is_admitted_and_has_no_name() -> None:
    assert usual().admit(request(None)) == Caller("", b"", b"")


@for_each("origin", ["", "http://", "null", "http://localhost", "http://evil.com"])
def test_without_a_host_no_origin_is_its_own(origin: str) -> None:
    for site in (None, "same-origin"):
        with pytest.raises(Refused):
            usual().admit(request(None, origin=origin, site=site))
    assert usual().admit(request(None, origin=LISTED)).name == ""


def test_without_a_host_a_page_of_another_site_is_refused_still() -> None:
    with pytest.raises(Refused):
        usual().admit(request(None, site="cross-site"))


# -- Origin -------------------------------------------------------------------

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]  # OPTIONS: preflights too


@for_each("method", METHODS)
@for_each(
    ("host", "origin"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("localhost:8080", "HTTP://LOCALHOST:8080"),
        ("LOCALHOST:8080", "http://localhost:8080"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("127.0.0.1:1", "http://127.0.0.1:1"),
        ("a.localhost:8080", "http://a.localhost:8080"),
        ("profiles.internal", "http://profiles.internal"),
        ("localhost:8080", LISTED),
        ("localhost:8080", LISTED.upper()),
        ("localhost:8080", "http://other.example:3000"),
    ],
)
def test_the_proxys_own_origin_and_the_listed_ones_are_admitted(host: str, origin: str, method: str) -> None:
    for site in (None, "same-origin"):
        assert usual().admit(request(host, origin=origin, site=site, method=method)).name in host.lower()


@for_each(
    "origin",
    [
        "http://evil.com",
        "https://evil.com",
        "http://localhost",
        "http://localhost:3000",
        "http://localhost:80800",
        "http://localhost:808",
        "https://localhost:8080",  # not how the app addressed it
        "ws://localhost:8080",
        "http://127.0.0.1:8080",  # the same place by another name
        "http://[::1]:8080",
        "http://a.localhost:8080",
        "http://localhost.:8080",
        "http://localhost:8080.evil.com",
        "http://localhost:8080/",
        "http://localhost:8080@evil.com",
        "http://user@localhost:8080",
        "http://evil.com http://localhost:8080",
        "http://localhost:8080 http://evil.com",
        "http://localhost:8080, http://evil.com",
        "localhost:8080",
        "//localhost:8080",
        "NULL",
        "",
        "*",
        "file://",
        "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
        "moz-extension://0fb2f3a2-6b4a-4b2a-9a3a-2c6b5f5b9d3e",
        "app://localhost:8080",
        "https://app.example.com:443",  # a browser never says it so
        "https://app.example.com.evil.com",
        "http://app.example.com",
        "https://app.example.com/",
        "https://sub.app.example.com",
        "caf\xe9",
    ],
)
def test_any_other_origin_is_403_whatever_else_the_request_says(origin: str) -> None:
    for method, site in product(METHODS, (None, "same-origin", "none", "cross-site")):
        asked = request(origin=origin, method=method, site=site, mode="navigate", dest="document")
        with pytest.raises(Refused, match="a page of origin") as caught:
            usual().admit(asked)
        assert caught.value.status == 403


@for_each("method", METHODS)
def test_null_is_the_proxys_own_where_the_browser_says_same_origin(method: str) -> None:
    """A form in a page with `Referrer-Policy: no-referrer`."""
    asked = request(origin="null", method=method, site="same-origin", mode="navigate", dest="document")
    asked.passing = [PREFLIGHT]
    usual().admit(asked)
    assert (asked.listed, asked.preflight) == (False, False)


@for_each("method", METHODS)
@for_each("site", [None, "none", "same-site", "cross-site", "", "Same-Origin", "same-origin, none"])
def test_any_other_null_is_403(site: str | None, method: str) -> None:
    """Of a sandboxed frame, a file, a redirect from elsewhere; or of a browser too old to say whose page it is."""
    asked = request(origin="null", method=method, site=site, mode="navigate", dest="document")
    with pytest.raises(Refused, match='a page of origin "null"'):
        usual().admit(asked)


@for_each(
    ("origin", "listing"),
    [
        ("https://app.example", True),
        ("http://localhost:5173", True),
        ("chrome-extension://abcdef", True),
        ("null", False),
        ("https://app.example/", False),
        ("https://app.example']}", False),
        ("https://app.example:", False),
        ("https://[::1]:5173", False),  # YAML would need more quotes than the line has
    ],
)
def test_whoever_runs_it_is_told_how_a_page_is_let_in(origin: str, listing: bool) -> None:  # noqa: FBT001
    with pytest.raises(Refused) as caught:
        usual().admit(request(origin=origin))
    remedy = str(caught.value.remedy)
    assert remedy.startswith("only pages that the proxy itself serves")
    assert (f"guard: {{allowed_origins: ['{origin}']}} (--allow-origin {origin})" in remedy) == listing
    assert ("allowed_origins" in remedy) == listing


def test_an_origin_is_shown_within_reason() -> None:
    for origin, shown in (("http://evil.com", "http://evil.com"), ("e" * 257, "too long to show")):
        with pytest.raises(Refused, match=f'"{shown}"'):
            usual().admit(request(origin=origin))
    with pytest.raises(Refused, match="\ufffd"):
        usual().admit(request(origin="\xe9"))


def test_an_empty_list_lists_nothing() -> None:
    with pytest.raises(Refused):
        Guard().admit(request(origin=LISTED))


# -- Sec-Fetch-Site -----------------------------------------------------------


@for_each("site", [None, "same-origin", "none"])
@for_each("method", METHODS)
def test_the_proxys_own_pages_and_the_address_bar_are_admitted(site: str | None, method: str) -> None:
    usual().admit(request(site=site, method=method))
    usual().admit(request(site=site, method=method, mode="cors", dest="empty"))


OTHER_SITES = [
    "cross-site",
    "same-site",
    "",
    "SAME-ORIGIN",
    "None",
    "same-origin, none",
    "unheard-of",
    "\xff",
]


@for_each("site", OTHER_SITES)
def test_a_link_from_elsewhere_into_a_page_keeps_working(site: str) -> None:
    usual().admit(request(site=site, mode="navigate", dest="document"))


@for_each(
    ("method", "mode", "dest"),
    [
        ("GET", None, None),
        ("GET", "navigate", None),
        ("GET", None, "document"),
        ("GET", "navigate", "iframe"),
        ("GET", "navigate", "frame"),
        ("GET", "navigate", "embed"),
        ("GET", "navigate", "object"),
        ("GET", "navigate", "empty"),
        ("GET", "navigate", ""),
        ("GET", "navigate", "Document"),
        ("GET", "Navigate", "document"),
        ("GET", "no-cors", "document"),
        ("GET", "no-cors", "image"),
        ("GET", "no-cors", "script"),
        ("GET", "cors", "empty"),
        ("GET", "same-origin", "document"),
        ("GET", "websocket", "websocket"),
        ("GET", "", "document"),
        ("HEAD", "navigate", "document"),
        ("POST", "navigate", "document"),
        ("PUT", "navigate", "document"),
        ("OPTIONS", "navigate", "document"),
        ("get", "navigate", "document"),
        ("Get", "navigate", "document"),
    ],
)
def test_and_nothing_else_from_another_site(method: str, mode: str | None, dest: str | None) -> None:
    for site in OTHER_SITES:
        with pytest.raises(Refused, match="another site") as caught:
            usual().admit(request(site=site, method=method, mode=mode, dest=dest))
        assert caught.value.status == 403


def test_a_navigation_with_an_origin_is_no_link() -> None:
    """The exception is for what a link sends, and that has no Origin; not even the proxy's own helps."""
    with pytest.raises(Refused):
        usual().admit(
            request(origin="http://localhost:8080", site="cross-site", mode="navigate", dest="document")
        )


def test_a_listed_origin_may_come_from_another_site() -> None:
    usual().admit(request(origin=LISTED, site="cross-site", method="POST", mode="cors", dest="empty"))
    with pytest.raises(Refused):  # an image of that page's names no origin
        usual().admit(request(site="cross-site", mode="no-cors", dest="image"))


def test_mode_and_destination_alone_tell_nothing() -> None:
    usual().admit(request(mode="cors", dest="empty", method="POST"))


PREFLIGHT = b"Access-Control-Request-Method: PUT\r\n"


@for_each(
    ("origin", "method", "listed", "preflight"),
    [
        (None, "OPTIONS", False, False),
        ("http://localhost:8080", "OPTIONS", False, False),  # the proxy's own: for the receiver to answer
        (LISTED, "OPTIONS", True, True),
        (LISTED.upper(), "OPTIONS", True, True),
        (LISTED, "PUT", True, False),
        # Listed and the proxy's own, as the app addresses it: its own.
        ("http://profiles.localhost", "OPTIONS", True, True),
    ],
)
def test_a_listed_pages_requests_are_marked(
    *, origin: str | None, method: str, listed: bool, preflight: bool
) -> None:
    guard = Guard((), [LISTED, "http://profiles.localhost"])
    asked = request(origin=origin, method=method, site="cross-site" if listed else None)
    asked.passing = [PREFLIGHT]
    guard.admit(asked)
    assert (asked.listed, asked.preflight) == (listed, preflight)
    own = request("profiles.localhost", origin="http://profiles.localhost", method="OPTIONS")
    own.passing = [PREFLIGHT]
    guard.admit(own)
    assert (own.listed, own.preflight) == (False, False)


def test_an_unlisted_pages_preflight_is_refused_as_its_request_would_be() -> None:
    for origin in ("https://evil.com", "null", "http://localhost:3000"):
        asked = request(origin=origin, method="OPTIONS")
        asked.passing = [PREFLIGHT]
        with pytest.raises(Refused) as caught:
            usual().admit(asked)
        assert caught.value.reason == "origin"
        assert not asked.listed
        assert not asked.preflight


def test_a_foreign_host_is_refused_before_its_page_is_looked_at() -> None:
    with pytest.raises(Refused, match="not a name"):
        usual().admit(request("evil.com", origin="http://evil.com", site="same-origin"))


# -- what is remembered -------------------------------------------------------


def test_a_caller_is_made_once() -> None:
    guard = usual()
    assert guard.admit(request("localhost:1")) is guard.admit(request("localhost:1"))


def test_admitted_hosts_are_remembered_within_bounds() -> None:
    guard = usual()
    for i in range(3 * module._MEMO_LIMIT):
        assert guard.admit(request(f"a{i}.localhost")).name == f"a{i}.localhost"
        assert guard.remembered <= module._MEMO_LIMIT


def test_a_remembered_host_does_not_excuse_a_page() -> None:
    guard = usual()
    guard.admit(request("localhost:8080"))
    with pytest.raises(Refused):
        guard.admit(request("localhost:8080", origin="http://evil.com"))
    with pytest.raises(Refused):
        guard.admit(request("localhost:8080", site="cross-site"))


# -- a caller's secret ------------------------------------------------------------

SECRET = b"a-secret-of-24-characters"


def with_lines(*lines: bytes) -> Request:
    request = Request()
    request.method, request.host = b"GET", b"localhost"
    request.passing = [b"Accept: */*\r\n", *lines]
    return request


@for_each("name", [b"X-Caller", b"x-caller", b"X-CALLER"])
def test_the_secret_lets_in_and_goes_no_further(name: bytes) -> None:
    request = with_lines(name + b": " + SECRET + b"\r\n")
    Guard(secret=("X-Caller", SECRET)).admit(request)
    assert request.passing == [b"Accept: */*\r\n"]


@for_each(
    "lines",
    [
        (),
        (b"X-Caller: \r\n",),
        (b"X-Caller: wrong\r\n",),
        (b"X-Caller: " + SECRET[:-1] + b"\r\n",),
        (b"X-Caller: " + SECRET + b"x\r\n",),
        (b"X-Caller: " + SECRET.upper() + b"\r\n",),
        (b"X-Callers: " + SECRET + b"\r\n",),
        (b"X-Caller: " + SECRET + b"\r\n", b"X-Caller: " + SECRET + b"\r\n"),
        (b"X-Caller: wrong\r\n", b"x-caller: " + SECRET + b"\r\n"),
    ],
)
def test_without_it_nobody_is_let_in(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(Refused) as caught:
        Guard(secret=("X-Caller", SECRET)).admit(with_lines(*lines))
    assert caught.value.detail == "the header X-Caller is missing or wrong"
    assert SECRET.decode() not in str(caught.value)


def test_it_is_asked_of_a_listed_page_but_not_of_its_preflight_which_cannot_carry_it() -> None:
    guard = Guard(allowed_origins=[LISTED], secret=("X-Caller", SECRET))
    for method, let_in in ((b"OPTIONS", True), (b"PUT", False)):
        asked = with_lines(PREFLIGHT)
        asked.method, asked.origin = method, LISTED.encode()
        if let_in:
            guard.admit(asked)
            assert asked.preflight
        else:
            with pytest.raises(Refused, match="X-Caller"):
                guard.admit(asked)
    asked = with_lines(PREFLIGHT)  # by whoever names no page
    asked.method = b"OPTIONS"
    with pytest.raises(Refused, match="X-Caller"):
        guard.admit(asked)


def test_the_secret_is_not_asked_of_one_whose_host_is_refused() -> None:
    request = with_lines(b"X-Caller: " + SECRET + b"\r\n")
    request.host = b"evil.example"
    with pytest.raises(Refused, match=r"evil\.example"):
        Guard(secret=("X-Caller", SECRET)).admit(request)


# -- targets that are URLs ------------------------------------------------------

UPSTREAMS = ("users.a.run.app", "users.a.run.app:443", "127.0.0.1:9001", "internal.example:8443", "localhost")


# -- unix sockets -------------------------------------------------------------------


ANY_HOST = [
    "docker",
    "anything",
    "",
    "evil.example",
    "a.b:9",
    "/run/proxy.sock",
    "%2Frun%2Fproxy.sock",
    "user@a",
    "a b",
]


@for_each("host", ANY_HOST)
def test_a_unix_socket_takes_any_host(host: str) -> None:
    guard = Guard(["mine.example"], [LISTED])
    for _ in range(2):
        caller = guard.admit(request(host), UNIX)
        assert caller.upstream is None
        assert caller.origin == b""  # no page's
        valid = host in {"docker", "anything", "evil.example", "a.b:9"}
        assert caller.forwarded_host == (b"X-Forwarded-Host: " + host.encode() + b"\r\n" if valid else b"")
    # What one door lets in, another does not remember.
    with pytest.raises((Refused, MalformedRequest)):
        guard.admit(request(host), 8080)


@for_each("host", ["mine.example", "MINE.example:8080", "x.localhost", "routed.example"])
def test_a_name_of_ours_is_one_on_a_unix_socket_too(host: str) -> None:
    """And need not show there that no page asks."""
    guard = Guard(["mine.example"], routed=["routed.example"])
    caller = guard.admit(request(host), UNIX)
    assert caller.name == host.partition(":")[0].lower()
    assert caller.origin == b"http://" + host.lower().encode()


@for_each("host", ["docker", "evil.example", "", "mine.example", "localhost"])
def test_pages_are_refused_on_a_unix_socket_too(host: str) -> None:
    """A port may be forwarded to it, and a name rebound to that port."""
    guard = Guard(["mine.example"], [LISTED])
    for changes in (
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
        {"site": "cross-site"},
    ):
        with pytest.raises(Refused):
            guard.admit(request(host, **changes), UNIX)
    if host in {"docker", "evil.example"}:
        with pytest.raises(Refused):
            guard.admit(request(host, origin=f"http://{host}"), UNIX)
    guard.admit(request(host, origin=LISTED), UNIX)


def test_a_url_for_nobody_of_ours_is_refused_on_a_unix_socket_too() -> None:
    """It names another server, and would go to a receiver that it was never meant for."""
    guard = forwarding()
    assert guard.admit(absolute("users.a.run.app"), UNIX).upstream == "users.a.run.app"
    with pytest.raises(Refused, match="no host that this proxy forwards to"):
        guard.admit(absolute("evil.example"), UNIX)


def test_the_secret_is_asked_for_on_a_unix_socket_too() -> None:
    with pytest.raises(Refused, match="missing or wrong"):
        Guard(secret=("X-Caller", b"a secret")).admit(request("docker"), UNIX)


def forwarding(*names: str) -> Guard:
    return Guard(names, [LISTED], None, UPSTREAMS, unverified_pages=True)


def absolute(host: str, **changes: str) -> Request:
    made = request(host, **changes)
    made.absolute = True
    return made


@for_each(
    ("host", "upstream", "origin"),
    [
        ("users.a.run.app", "users.a.run.app", b"http://users.a.run.app"),
        ("Users.A.Run.App", "users.a.run.app", b"http://users.a.run.app"),
        ("users.a.run.app:80", "users.a.run.app", b"http://users.a.run.app"),
        ("users.a.run.app:443", "users.a.run.app:443", b"http://users.a.run.app:443"),
        ("127.0.0.1:9001", "127.0.0.1:9001", b"http://127.0.0.1:9001"),
        ("internal.example:8443", "internal.example:8443", b"http://internal.example:8443"),
    ],
)
def test_a_target_may_name_a_receiver(host: str, upstream: str, origin: bytes) -> None:
    guard = forwarding()
    for _ in range(2):  # what was remembered is the same
        caller = guard.admit(absolute(host))
        assert (caller.upstream, caller.origin) == (upstream, origin)
        assert caller.forwarded_host == b"X-Forwarded-Host: " + host.encode() + b"\r\n"


@for_each("host", ["users.a.run.app", "users.a.run.app:443", "internal.example:8443"])
def test_a_host_header_alone_may_not(host: str) -> None:
    guard = forwarding()
    guard.admit(absolute(host))
    with pytest.raises(Refused, match="is not a name of this proxy"):
        guard.admit(request(host))


def test_what_a_host_header_made_known_does_not_answer_for_a_target() -> None:
    guard = forwarding()
    for _ in range(2):
        assert guard.admit(request("127.0.0.1:9001")).upstream is None
        assert guard.admit(absolute("127.0.0.1:9001")).upstream == "127.0.0.1:9001"


@for_each(
    "host",
    [
        "localhost",
        "localhost:80",
        "LOCALHOST:8080",
        "127.0.0.1",
        "[::1]:8080",
        "x.localhost",
        "mine.example:1",
    ],
)
def test_a_name_of_the_proxy_s_own_comes_before_a_receiver_s(host: str) -> None:
    """On a unix socket, which has no port, its port does not matter."""
    caller = forwarding("mine.example").admit(absolute(host))
    assert caller.upstream is None
    assert caller == forwarding("mine.example").admit(request(host))


@for_each(
    ("host", "port"),
    [
        ("localhost:8080", 8080),
        ("127.0.0.1:8080", 8080),
        ("[::1]:8080", 8080),
        ("x.localhost:8080", 8080),
        ("mine.example:8080", 8080),
        ("127.0.0.1", 80),
        ("localhost", 80),  # before the receiver of that name
        ("localhost:80", 80),
    ],
)
def test_with_the_port_that_was_connected_to_a_target_is_the_proxy_itself(host: str, port: int) -> None:
    caller = forwarding("mine.example").admit(absolute(host), port)
    assert caller == forwarding("mine.example").admit(request(host))


@for_each("host", ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "x.localhost:3000", "mine.example:3000"])
def test_with_another_port_it_is_another_server_of_this_machine(host: str) -> None:
    """An app with HTTP_PROXY and no NO_PROXY: not what it asks for, and not what a receiver was to see."""
    guard = forwarding("mine.example")
    guard.admit(absolute(host), 3000)
    with pytest.raises(Refused, match="is another port of this machine than the proxy's own, 8080") as caught:
        guard.admit(absolute(host), 8080)
    assert str(caught.value.remedy).endswith(f"NO_PROXY={host.removesuffix(':3000')}")
    assert guard.admit(request(host)).upstream is None  # in a Host header the port does not matter


@for_each("host", ["named.localhost", "Named.Localhost:80", "named.localhost:9", "named.example"])
def test_a_host_that_a_route_matches_is_its_own_with_any_port(host: str) -> None:
    guard = Guard(upstreams=UPSTREAMS, routed=["named.localhost", "named.example"], unverified_pages=True)
    assert guard.admit(absolute(host), 8080) == guard.admit(request(host))


@for_each(
    "host",
    [
        "evil.example",
        "users.a.run.app.",
        "users.a.run.app:444",
        "internal.example",
        "a.run.app",
        "169.254.169.254",
    ],
)
def test_any_other_host_is_refused_with_the_list_of_known_ones(host: str) -> None:
    with pytest.raises(Refused, match="is no host that this proxy forwards to") as caught:
        forwarding("mine.example").admit(absolute(host))
    assert caught.value.remedy == (
        "it forwards to 127.0.0.1:9001, internal.example:8443, localhost, mine.example, users.a.run.app; "
        "add a route whose upstream it is, or name it in the app's NO_PROXY"
    )


def test_few_or_many_known_hosts() -> None:
    with pytest.raises(Refused) as caught:
        Guard().admit(absolute("evil.example"))
    assert str(caught.value.remedy).startswith("it forwards to none; ")
    with pytest.raises(Refused) as caught:
        Guard(upstreams=[f"{n:02}.example" for n in range(25)]).admit(absolute("evil.example"))
    assert "19.example and 5 more; " in str(caught.value.remedy)


@for_each("host", ["a b", "user@users.a.run.app", "users.a.run.app:x", ""])
def test_a_target_s_host_is_as_strict(host: str) -> None:
    with pytest.raises(MalformedRequest):
        forwarding().admit(absolute(host))


@for_each("origin", ["https://evil.example", "null", "http://localhost:8080", "https://users.a.run.app"])
def test_pages_of_other_origins_are_refused_as_ever(origin: str) -> None:
    with pytest.raises(Refused, match="page of origin"):
        forwarding().admit(absolute("users.a.run.app", origin=origin))
    with pytest.raises(Refused, match="another site"):
        forwarding().admit(absolute("users.a.run.app", site="cross-site"))
    assert forwarding().admit(absolute("users.a.run.app", origin="http://users.a.run.app")).upstream
    assert forwarding().admit(absolute("users.a.run.app", origin=LISTED, site="cross-site")).upstream


def test_a_target_needs_the_secret_too() -> None:
    guard = Guard(secret=("X-Caller", b"s" * 16), upstreams=UPSTREAMS)
    with pytest.raises(Refused, match="X-Caller"):
        guard.admit(absolute("users.a.run.app"))


def test_targets_are_not_remembered_without_end() -> None:
    guard = Guard(upstreams=UPSTREAMS)
    for number in range(module._MEMO_LIMIT + 10):
        assert guard.admit(absolute(f"127.0.0.1:{number}0")).upstream is None
        assert guard.remembered <= module._MEMO_LIMIT


@for_each(
    ("origin", "dev_server"),
    [
        ("http://localhost:5173", True),
        ("http://127.0.0.1:3000", True),
        ("https://app.localhost:8443", True),
        ("http://localhost.example.com", False),
        ("https://app.example.com", False),
        ("null", False),
    ],
)
def test_a_page_of_this_machine_may_be_a_dev_servers_that_changes_host(
    origin: str, *, dev_server: bool
) -> None:
    request = parse_request(f"POST / HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: {origin}".encode())
    with pytest.raises(Refused) as refused:
        Guard().admit(request)
    assert ("changeOrigin: false" in str(refused.value.remedy)) == dev_server
    if dev_server:  # which is what it then sends
        host = origin.partition("://")[2]
        same = parse_request(f"POST / HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}".encode())
        assert Guard().admit(same).name


# -- schemes, and CONNECT -----------------------------------------------------------


@for_each(
    ("scheme", "host", "upstream", "origin"),
    [
        (b"https", "users.a.run.app", "users.a.run.app:443", b"https://users.a.run.app"),
        (b"wss", "users.a.run.app:443", "users.a.run.app:443", b"https://users.a.run.app"),
        (b"ws", "users.a.run.app", "users.a.run.app", b"http://users.a.run.app"),
        (b"https", "internal.example:8443", "internal.example:8443", b"https://internal.example:8443"),
        (b"https", "127.0.0.1:9001", "127.0.0.1:9001", b"https://127.0.0.1:9001"),
    ],
)
def test_a_target_of_another_scheme_may_name_a_receiver(
    scheme: bytes, host: str, upstream: str, origin: bytes
) -> None:
    guard = forwarding()
    for _ in range(2):
        made = absolute(host)
        made.scheme = scheme
        caller = guard.admit(made, 8080)
        assert (caller.upstream, caller.origin) == (upstream, origin)


@for_each(
    ("scheme", "host"),
    [
        (b"https", "internal.example"),
        (b"https", "plain.example"),
        (b"wss", "users.a.run.app:8443"),
        (b"ws", "internal.example"),
        (b"https", "evil.example"),
    ],
)
def test_its_default_port_is_its_own(scheme: bytes, host: str) -> None:
    guard = Guard(upstreams=[*UPSTREAMS, "plain.example"])
    made = absolute(host)
    made.scheme = scheme
    guard.admit(absolute("plain.example"), 8080)
    with pytest.raises(Refused, match="no host that this proxy forwards to"):
        guard.admit(made, 8080)


def connecting(target: str, host: str | None = None, **changes: str) -> Request:
    made = request(target if host is None else host, **changes)
    made.method, made.target = b"CONNECT", target.encode()
    return made


@for_each(
    ("target", "host", "authority"),
    [
        ("users.a.run.app:80", None, "users.a.run.app"),
        ("Users.a.run.app:80", "users.A.run.app", "users.a.run.app"),
        ("internal.example:8443", "internal.example", "internal.example:8443"),
        ("127.0.0.1:9001", "127.0.0.1:9001", "127.0.0.1:9001"),
    ],
)
def test_a_connect_to_a_receiver(target: str, host: str | None, authority: str) -> None:
    assert forwarding().admit_tunnel(connecting(target, host), 8080) == authority


@for_each(
    ("target", "remedy"),
    [
        ("users.a.run.app:443", "write http://users.a.run.app/"),
        ("users.a.run.app:8443", "NO_PROXY"),
        ("evil.example:80", "NO_PROXY"),
        ("evil.example:443", "NO_PROXY"),
        ("localhost:8080", "NO_PROXY=localhost"),
        ("localhost:80", "NO_PROXY=localhost"),
        ("localhost:5432", "NO_PROXY=localhost"),
        ("mine.example:80", "NO_PROXY=mine.example"),
        ("users.a.run.app", "http://"),
        ("users.a.run.app:", "http://"),
        ("user@users.a.run.app:80", "http://"),
        ("/", "http://"),
        ("*", "http://"),
    ],
)
def test_any_other_connect_is_told_what_to_do(target: str, remedy: str) -> None:
    with pytest.raises(Refused) as caught:
        forwarding("mine.example").admit_tunnel(connecting(target), 8080)
    assert caught.value.reason == "host"
    assert remedy in (caught.value.remedy or "")
