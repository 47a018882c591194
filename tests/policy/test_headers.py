"""The outbound head: what a client sent, less what it may not say, and one token, last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.engine.http1 import parse_request, parse_response
from idtoken_proxy.errors import RequestError
from idtoken_proxy.policy.fields import TOKEN_HEADERS, folded
from idtoken_proxy.policy.guard import Guard
from idtoken_proxy.policy.headers import (
    NO_TOKEN,
    Outbound,
    Peer,
    TokenLines,
    TokenPlace,
    inbound_head,
    outbound_head,
    turn_back,
)
from idtoken_proxy.policy.rewrite import Rewriter
from idtoken_proxy.settings.identities import NoIdentity, SignedJwtIdentity
from idtoken_proxy.settings.model import Rewrite, Route, Scopes, TokenHeader, Upstream
from tests.cases import for_each

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhIn0.c2ln"
BEARER = f"Bearer {TOKEN}"
RUN = Upstream("https", "profiles-x7f3kq-uc.a.run.app", 443)
FUNCTION = Upstream("https", "us-central1-proj.cloudfunctions.net", 443, "/hello")
IAP = Upstream("https", "intranet.example.com", 443)
IAP_AUDIENCE = "123-abc.apps.googleusercontent.com"
PEER = Peer.of("127.0.0.1")


def route(
    upstream: Upstream = RUN,
    audience: str | None = None,
    header: TokenHeader = TokenHeader.AUTO,
    *,
    public: bool = False,
) -> Route:
    if public:
        return Route("r", upstream, None, NoIdentity(), token_header=header)
    return Route("r", upstream, audience or upstream.origin, token_header=header)


def lines_for(of: Route) -> TokenLines:
    return TokenPlace.of(of).lines(TOKEN)


PLAIN = Rewriter(
    Route("plain", Upstream("https", "receiver", 443), None, NoIdentity()), Rewrite(origin=False)
)


def outbound(block: bytes, token: TokenLines, *, peer: Peer = PEER) -> bytes:
    request = parse_request(block)
    caller = Guard().admit(request)
    return outbound_head(Outbound(request, request.target, b"Host: receiver\r\n", caller, peer, token, PLAIN))


def lines_of(head: bytes) -> list[tuple[str, str]]:
    """As plain a reading as can be, and not our parser's."""
    assert head.endswith(b"\r\n\r\n")
    return [
        (name, value)
        for name, _, value in (line.partition(": ") for line in head[:-4].decode("latin-1").split("\r\n")[1:])
    ]


def sent(
    *fields: str,
    to: Route | None = None,
    method: str = "GET",
    host: str = "localhost:8080",
    peer: Peer = PEER,
    version: str = "1.1",
) -> list[tuple[str, str]]:
    """The field lines that go upstream for a request with these."""
    block = "\r\n".join((f"{method} / HTTP/{version}", f"Host: {host}", *fields)).encode("latin-1")
    return lines_of(outbound(block, lines_for(to or route()), peer=peer))


def test_only_its_own_pseudonym_is_a_loop() -> None:
    peer = Peer.of("127.0.0.1", b"idtoken-proxy-1a2b3c4d")
    assert b"Via: 1.1 idtoken-proxy-1a2b3c4d\r\n" in peer.lines
    for via in (
        b"1.1 idtoken-proxy-1a2b3c4d",
        b"1.1 a, 1.0 idtoken-proxy-1a2b3c4d (x) , 2 b",
        b"HTTP/1.1 idtoken-proxy-1a2b3c4d",
    ):
        assert peer.was_passed((via,))
        assert peer.was_passed((b"1.1 a", via))
    for via in (
        b"",
        b",",
        b"1.1",
        b"1.1 idtoken-proxy",
        b"1.1 idtoken-proxy-1a2b3c4e",
        b"1.1 xidtoken-proxy-1a2b3c4d",
        b"idtoken-proxy-1a2b3c4d",
    ):
        assert not peer.was_passed((via,))


def values(got: list[tuple[str, str]], name: str) -> list[str]:
    return [value for each, value in got if each.lower() == name.lower()]


def credentials(got: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [line for line in got if folded(line[0].lower().encode("latin-1")) in TOKEN_HEADERS]


# -- the whole of it ----------------------------------------------------------


def test_a_usual_request_from_first_octet_to_last() -> None:
    block = (
        b"POST /profiles/7?x=%2f HTTP/1.1\r\nHost: localhost:8080\r\nuser-agent: curl/8.5.0\r\nAccept:*/*\r\n"
        b"Connection: keep-alive\r\nContent-Length: 0012\r\nX-Request-Id: 7"
    )
    assert outbound(block, lines_for(route())) == (
        b"POST /profiles/7?x=%2f HTTP/1.1\r\nHost: receiver\r\nuser-agent: curl/8.5.0\r\nAccept: */*\r\n"
        b"X-Request-Id: 7\r\nContent-Length: 12\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
        b"Via: 1.1 idtoken-proxy\r\nX-Forwarded-Host: localhost:8080\r\nAuthorization: "
        + BEARER.encode()
        + b"\r\n\r\n"
    )


def test_the_least_request_of_http_1_0_over_a_unix_socket() -> None:
    head = outbound(b"GET / HTTP/1.0", lines_for(route(public=True)), peer=Peer.of(None))
    assert head == (
        b"GET / HTTP/1.1\r\nHost: receiver\r\nX-Forwarded-Proto: http\r\nVia: 1.0 idtoken-proxy\r\n\r\n"
    )


# -- where the token goes -----------------------------------------------------

AUTH, SERVERLESS, PROXY_AUTH = "Authorization", "X-Serverless-Authorization", "Proxy-Authorization"
APP = "Basic dXNlcjpwYXNz"


@for_each(
    ("to", "alone", "beside"),
    [
        (
            route(),
            [(AUTH, BEARER)],
            [(AUTH, APP), (SERVERLESS, BEARER)],
        ),
        (
            route(IAP, IAP_AUDIENCE),
            [(AUTH, BEARER)],
            [(AUTH, APP), (PROXY_AUTH, BEARER)],
        ),
        (
            route(FUNCTION),
            [(AUTH, BEARER)],
            [(SERVERLESS, BEARER), (AUTH, BEARER)],
        ),
        (
            route(Upstream("http", "localhost", 9000)),
            [(AUTH, BEARER)],
            [(AUTH, APP), (SERVERLESS, BEARER)],
        ),
        # Names that only look like a function's or IAP's.
        (
            route(Upstream("https", "cloudfunctions.net.example.com", 443)),
            [(AUTH, BEARER)],
            [(AUTH, APP), (SERVERLESS, BEARER)],
        ),
        (
            route(Upstream("https", "notcloudfunctions.net", 443)),
            [(AUTH, BEARER)],
            [(AUTH, APP), (SERVERLESS, BEARER)],
        ),
        (
            route(RUN, "https://apps.googleusercontent.com.example.com"),
            [(AUTH, BEARER)],
            [(AUTH, APP), (SERVERLESS, BEARER)],
        ),
        # An explicit header is where it goes, and the app's passes unless it is that one.
        (
            route(header=TokenHeader.AUTHORIZATION),
            [(AUTH, BEARER)],
            [(AUTH, BEARER)],
        ),
        (
            route(header=TokenHeader.X_SERVERLESS_AUTHORIZATION),
            [(SERVERLESS, BEARER)],
            [(AUTH, APP), (SERVERLESS, BEARER)],
        ),
        (
            route(header=TokenHeader.PROXY_AUTHORIZATION),
            [(PROXY_AUTH, BEARER)],
            [(AUTH, APP), (PROXY_AUTH, BEARER)],
        ),
        (
            route(FUNCTION, header=TokenHeader.X_SERVERLESS_AUTHORIZATION),
            [(SERVERLESS, BEARER)],
            [(AUTH, APP), (SERVERLESS, BEARER)],
        ),
        (
            route(IAP, IAP_AUDIENCE, header=TokenHeader.AUTHORIZATION),
            [(AUTH, BEARER)],
            [(AUTH, BEARER)],
        ),
        # A public route.
        (route(public=True), [], [(AUTH, APP)]),
        (route(FUNCTION, public=True), [], [(AUTH, APP)]),
        (route(public=True, header=TokenHeader.AUTHORIZATION), [], [(AUTH, APP)]),
    ],
)
def test_where_the_token_goes(to: Route, alone: list[tuple[str, str]], beside: list[tuple[str, str]]) -> None:
    assert credentials(sent(to=to)) == alone
    assert credentials(sent(f"Authorization: {APP}", to=to)) == beside
    assert credentials(sent(f"AUTHORIZATION:{APP}", to=to)) == [
        (AUTH.upper() if value == APP else name, value) for name, value in beside
    ]


ROUTES = {
    "run": route(),
    "iap": route(IAP, IAP_AUDIENCE),
    "function": route(FUNCTION),
    "authorization": route(header=TokenHeader.AUTHORIZATION),
    "serverless": route(header=TokenHeader.X_SERVERLESS_AUTHORIZATION),
    "proxy": route(header=TokenHeader.PROXY_AUTHORIZATION),
    "public": route(public=True),
}


@for_each("to", ROUTES.values(), ids=ROUTES)
@for_each(
    "brought",
    [
        ["X-Serverless-Authorization: Bearer theirs"],
        ["x-serverless-authorization: Bearer theirs"],
        ["X-SERVERLESS-AUTHORIZATION:Bearer theirs"],
        ["X_Serverless_Authorization: Bearer theirs"],
        ["X.Serverless.Authorization: Bearer theirs"],
        ["x_serverless-authorization: Bearer theirs"],
        ["X~Serverless~Authorization: Bearer theirs"],
        ["Proxy-Authorization: Basic theirs"],
        ["PROXY-authorization: Basic theirs"],
        ["Proxy_Authorization: Basic theirs"],
        ["proxy.authorization: Basic theirs"],
        ["X-Serverless-Authorization: a", "x-serverless-authorization: b", "X_SERVERLESS_AUTHORIZATION: c"],
        ["Proxy-Authorization: a", "Proxy-Authorization: b", "X-Serverless-Authorization:"],
    ],
)
def test_what_a_client_brings_of_a_token_header_never_passes(to: Route, brought: list[str]) -> None:
    assert sent(*brought, to=to) == sent(to=to)
    beside = f"Authorization: {APP}"
    assert sent(*brought, beside, to=to) == sent(beside, *brought, to=to) == sent(beside, to=to)


@for_each("to", ROUTES.values(), ids=ROUTES)
def test_of_two_authorizations_none_passes(to: Route) -> None:
    got = credentials(sent("Authorization: Bearer a", "authorization: Bearer b", to=to))
    assert got == [line for line in credentials(sent("Authorization: x", to=to)) if line[1] == BEARER]


@for_each("to", ROUTES.values(), ids=ROUTES)
@for_each(
    "nominating",
    [
        ["Connection: authorization, x-serverless-authorization, proxy-authorization, host, content-length"],
        ["Connection:", "Connection: Authorization", "connection: ,X-SERVERLESS-AUTHORIZATION,,Host"],
        ["Connection: close, AUTHORIZATION", "Connection: proxy-authorization, via, x-forwarded-for"],
        ["Connection: keep-alive,authorization\t,\tx-serverless-authorization"],
    ],
)
def test_a_client_cannot_nominate_the_token_away(to: Route, nominating: list[str]) -> None:
    assert sent(*nominating, to=to) == sent(to=to)
    # Its own goes, since it said so, and then the token stands alone.
    assert credentials(sent(*nominating, f"Authorization: {APP}", to=to)) == credentials(sent(to=to))
    got = sent(*nominating, "Content-Length: 5", to=to, method="POST")
    assert values(got, "host") == ["receiver"]
    assert values(got, "content-length") == ["5"]


def test_the_token_is_the_last_that_is_said() -> None:
    for to in ROUTES.values():
        for fields in ([], [f"Authorization: {APP}"], ["Via: a", "X-Forwarded-For: b"]):
            got = sent(*fields, to=to)
            ours = [line for line in got if line[1] == BEARER]
            assert got[len(got) - len(ours) :] == ours


def test_token_lines_do_not_show_the_token() -> None:
    for to in ROUTES.values():
        assert TOKEN not in repr(lines_for(to))


def test_no_token_is_what_a_public_route_attaches() -> None:
    assert lines_for(route(public=True)) == NO_TOKEN


# -- framing, written afresh --------------------------------------------------


@for_each(
    ("fields", "framing"),
    [
        ([], [("Content-Length", "0")]),
        (["content-length:  0005"], [("Content-Length", "5")]),
        (["Content-Length: 0"], [("Content-Length", "0")]),
        (["TRANSFER-ENCODING:\tCHUNKED"], [("Transfer-Encoding", "chunked")]),
        (["Transfer-Encoding: chunked", "Trailer: X-A"], [("Transfer-Encoding", "chunked")]),
    ],
)
def test_framing(fields: list[str], framing: list[tuple[str, str]]) -> None:
    got = sent(*fields, method="POST")
    assert [
        line for line in got if line[0].lower() in {"content-length", "transfer-encoding", "trailer"}
    ] == framing


@for_each("version", ["1.1", "1.0"])
@for_each(
    ("method", "lengths"),
    [
        *((method, ["0"]) for method in ("POST", "PUT", "PATCH")),
        *(
            (method, [])
            for method in ("GET", "HEAD", "DELETE", "OPTIONS", "QUERY", "PURGE", "post", "REPORT")
        ),
    ],
)
def test_a_request_without_content_says_so_where_its_method_expects_some(
    method: str, lengths: list[str], version: str
) -> None:
    got = sent("Connection: content-length", method=method, version=version)
    assert [value for name, value in got if name.lower() == "content-length"] == lengths


@for_each(
    ("fields", "hop"),
    [
        ([], []),
        (["Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive"], []),
        (["Connection: close"], []),
        (["TE: trailers, deflate", "Connection: TE"], [("Connection", "TE"), ("TE", "trailers")]),
        (["TE: gzip", "Connection: TE"], []),
        (
            ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade"],
            [("Connection", "Upgrade"), ("Upgrade", "websocket")],
        ),
        (
            ["Upgrade: websocket", "Connection: Upgrade, TE", "TE: trailers"],
            [("Connection", "Upgrade"), ("Upgrade", "websocket")],
        ),
        (["Upgrade: websocket"], []),
        (["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMA"], []),
        (["Connection: upgrade", "Upgrade: websocket, h2c"], []),
    ],
)
def test_what_is_for_one_hop_is_said_afresh_or_not_at_all(
    fields: list[str], hop: list[tuple[str, str]]
) -> None:
    got = sent(*fields)
    names = {"connection", "upgrade", "te", "keep-alive", "proxy-connection", "http2-settings"}
    assert [line for line in got if line[0].lower() in names] == hop


def test_what_connection_names_does_not_pass() -> None:
    got = sent("Connection: x-a, cookie", "X-A: 1", "x-a: 2", "Cookie: a=b", "X-B: 3")
    assert [name for name, _ in got if name.lower() in {"x-a", "x-b", "cookie"}] == ["X-B"]


def test_the_host_is_the_receiver_s_and_the_first() -> None:
    got = sent("X-A: 1")
    assert got[0] == ("Host", "receiver")
    assert len(values(got, "host")) == 1


@for_each(
    ("version", "field", "passes"),
    [
        ("1.1", "Expect: 100-continue", ["100-continue"]),
        ("1.1", "expect: 100-CONTINUE", ["100-continue"]),
        ("1.1", "Expect: else", []),
        ("1.0", "Expect: 100-continue", []),
    ],
)
def test_expect(version: str, field: str, passes: list[str]) -> None:
    got = sent(field, "Content-Length: 5", method="POST", version=version)
    assert values(got, "expect") == passes


# -- what a receiver is told of the way ---------------------------------------


@for_each(
    ("fields", "peer", "expected"),
    [
        ([], "127.0.0.1", ["127.0.0.1"]),
        ([], "::1", ["::1"]),
        ([], None, []),
        (["X-Forwarded-For: 1.2.3.4"], "127.0.0.1", ["1.2.3.4, 127.0.0.1"]),
        (
            ["x-forwarded-for: 1.2.3.4, 5.6.7.8", "X-Forwarded-For: 9.9.9.9"],
            "::1",
            ["1.2.3.4, 5.6.7.8, 9.9.9.9, ::1"],
        ),
        (["X-Forwarded-For: 1.2.3.4"], None, ["1.2.3.4"]),
        (["Via: 1.0 a"], "127.0.0.1", ["127.0.0.1"]),
        (["Via: 1.0 a"], None, []),
        (["Connection: x-forwarded-for", "X-Forwarded-For: 1.2.3.4"], "127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_the_app_s_address_comes_behind_those_before_it(
    fields: list[str], peer: str | None, expected: list[str]
) -> None:
    assert values(sent(*fields, peer=Peer.of(peer)), "x-forwarded-for") == expected


@for_each(
    ("fields", "expected"),
    [
        ([], ["1.1 idtoken-proxy"]),
        (["Via: 1.1 a"], ["1.1 a, 1.1 idtoken-proxy"]),
        (["Via: 1.1 a, 1.0 b", "via: 2 c"], ["1.1 a, 1.0 b, 2 c, 1.1 idtoken-proxy"]),
        (["X-Forwarded-For: 1.2.3.4"], ["1.1 idtoken-proxy"]),
        (["Connection: via", "Via: 1.1 a"], ["1.1 idtoken-proxy"]),
    ],
)
def test_via_is_appended_to(fields: list[str], expected: list[str]) -> None:
    assert values(sent(*fields), "via") == expected


@for_each("fields", [[], ["X-Forwarded-For: 1.2.3.4"], ["Via: 1.1 a"]])
def test_scheme_and_host_are_said_by_the_proxy_alone(fields: list[str]) -> None:
    got = sent(*fields, "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", host="LocalHost:8080")
    assert values(got, "x-forwarded-proto") == ["http"]
    assert values(got, "x-forwarded-host") == ["LocalHost:8080"]


def test_what_asks_a_metadata_server_for_secrets_does_not_pass() -> None:
    assert sent("Metadata-Flavor: Google", "X-Google-Metadata-Request: True") == sent()


@for_each(
    "fields",
    [
        [("Origin", "http://localhost:8080")],
        [("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Mode", "cors")],
        [("Sec-Fetch-Dest", "empty")],
        [
            ("Origin", "http://localhost:8080"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
        ],
    ],
)
def test_what_the_guard_looked_at_passes(fields: list[tuple[str, str]]) -> None:
    got = sent(*(f"{name}: {value}" for name, value in fields))
    assert [line for line in got if line[0] == "Origin" or line[0].startswith("Sec-")] == fields


# -- the way back -------------------------------------------------------------


def test_the_way_back() -> None:
    response = parse_response(
        b"HTTP/1.0 404 Not Here\r\nserver: x\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: a\r\n"
        b"Content-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b"
    )
    assert inbound_head(response, b"Content-Length: 5\r\n", b"Connection: close\r\n") == (
        b"HTTP/1.1 404 Not Here\r\nserver: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Content-Length: 5\r\nConnection: close\r\n\r\n"
    )
    assert inbound_head(response, b"", b"").endswith(b"Set-Cookie: b\r\n\r\n")


# -- whatever a client sends --------------------------------------------------

NAME = st.one_of(
    st.sampled_from(
        [
            "Authorization",
            "aUTHORIZATION",
            "X-Serverless-Authorization",
            "x_serverless_authorization",
            "X.Serverless-Authorization",
            "Proxy-Authorization",
            "Proxy_Authorization",
            "Connection",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Upgrade",
            "TE",
            "Expect",
            "Trailer",
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Origin",
            "Sec-Fetch-Site",
            "Cookie",
            "X-A",
        ]
    ),
    st.text("abX-_.~!", min_size=1, max_size=6),
)
VALUE = st.one_of(
    st.sampled_from(
        [
            "",
            "authorization",
            "close, authorization, host, x-serverless-authorization",
            "keep-alive",
            "upgrade",
            "websocket",
            "chunked",
            "trailers",
            "100-continue",
            "0",
            "5",
            "Bearer theirs",
            "same-origin",
            "http://localhost",
            "a: b",
            "a,b",
            " \t",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=8),
)
LINES = st.lists(st.tuples(NAME, st.sampled_from([":", ": ", ":\t", " :"]), VALUE).map("".join), max_size=10)


@given(
    LINES,
    st.sampled_from(["GET", "POST", "OPTIONS"]),
    st.sampled_from(["1.1", "1.0"]),
    st.sampled_from(sorted(ROUTES)),
    st.sampled_from([None, "127.0.0.1", "::1"]),
)
def test_whatever_a_client_sends_goes_on_as_one_strict_request_with_our_token_alone(
    fields: list[str], method: str, version: str, name: str, address: str | None
) -> None:
    block = "\r\n".join((f"{method} /a?b HTTP/{version}", "Host: localhost", *fields)).encode("latin-1")
    try:
        request = parse_request(block)
        Guard().admit(request)
    except RequestError:
        return
    to = ROUTES[name]
    head = outbound(block, lines_for(to), peer=Peer.of(address))
    assert head.count(b"\r\n\r\n") == 1
    again = parse_request(head[:-4])
    assert (again.method, again.target, again.host) == (method.encode(), b"/a?b", b"receiver")
    none = 0 if method in {"POST", "PUT", "PATCH"} and not request.chunked else None
    length = none if request.content_length is None else request.content_length
    assert (again.content_length, again.chunked) == (length, request.chunked)
    assert (again.websocket, again.keep_alive, again.http10) == (request.websocket, True, False)
    assert again.expect_continue == request.expect_continue

    got = credentials(lines_of(head))
    assert len({each.lower() for each, _ in got}) == len(got)  # no header is said twice
    ours = [line for line in got if line[1] == BEARER]
    theirs = [line for line in got if line[1] != BEARER]
    beside = [line for line in credentials(sent("Authorization: x", to=to)) if line[1] == BEARER]
    assert ours == (beside if request.authorization else credentials(sent(to=to)))
    assert len(theirs) <= len(request.authorization)
    assert {each.lower() for each, _ in theirs} <= {"authorization"}


@given(LINES)
def test_a_head_goes_on_the_same_through_two_proxies_but_for_the_way_it_came(fields: list[str]) -> None:
    """What one of ours sends, the next has nothing to take out of: all that was for one hop is gone."""
    block = "\r\n".join(("GET / HTTP/1.1", "Host: localhost", *fields)).encode("latin-1")
    try:
        first = outbound(block, NO_TOKEN)
    except RequestError:
        return
    # The next one is a receiver on loopback.
    second = outbound(first[:-4].replace(b"Host: receiver", b"Host: localhost", 1), NO_TOKEN)
    moving = {"via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "host", "connection"}

    def settled(head: bytes) -> list[tuple[str, str]]:
        return sorted(line for line in lines_of(head) if line[0].lower() not in moving)

    assert settled(second) == settled(first)


def test_a_jwt_that_iap_takes_goes_where_iap_reads_beside_the_apps_authorization() -> None:
    made = Route(
        "iap",
        Upstream("https", "app.example", 443),
        "https://app.example/*",
        SignedJwtIdentity("caller@project.iam.gserviceaccount.com"),
    )
    assert TokenPlace.of(made).beside == ("Proxy-Authorization",)


# -- pages --------------------------------------------------------------------

PAGES = Rewriter(route(), Rewrite())
LISTED = "https://app.example.com"
OWN = "http://localhost:8080"


def of_a_page(
    *fields: str, host: str = "localhost:8080", rewriter: Rewriter = PAGES
) -> list[tuple[str, str]]:
    block = "\r\n".join(("POST / HTTP/1.1", f"Host: {host}", *fields)).encode("latin-1")
    request = parse_request(block)
    caller = Guard((), [LISTED]).admit(request)
    head = outbound_head(Outbound(request, b"/", b"Host: receiver\r\n", caller, PEER, NO_TOKEN, rewriter))
    return lines_of(head)


def test_the_proxys_own_origin_becomes_the_receivers_and_nothing_contradicts_it() -> None:
    got = of_a_page(f"Origin: {OWN}", "Sec-Fetch-Site: same-origin")
    assert values(got, "origin") == [RUN.origin]
    assert values(got, "x-forwarded-host") == []  # Next.js and Rails compare the two
    assert values(got, "sec-fetch-site") == ["same-origin"]


@for_each(
    ("origin", "rewriter"),
    [(LISTED, PAGES), ("null", PAGES), (OWN, Rewriter(route(), Rewrite(origin=False)))],
)
def test_any_other_origin_passes_as_it_came(origin: str, rewriter: Rewriter) -> None:
    got = of_a_page(f"Origin: {origin}", "Sec-Fetch-Site: same-origin", rewriter=rewriter)
    assert values(got, "origin") == [origin]
    assert values(got, "x-forwarded-host") == ["localhost:8080"]


@for_each(
    ("fields", "expected"),
    [
        ((f"Referer: {OWN}/a?b",), [f"{RUN.origin}/a?b"]),
        ((f"referer: {OWN}/a", "Referer: https://evil.com/"), [f"{RUN.origin}/a", "https://evil.com/"]),
        ((f"Referer: {OWN}/a", f"Referer: {OWN}/a"), [f"{RUN.origin}/a"] * 2),
        (("Referer: https://evil.com/",), ["https://evil.com/"]),
        ((f"Referer: {OWN}/a", "Connection: referer"), []),
    ],
)
def test_a_page_of_the_proxys_becomes_one_of_the_receivers(
    fields: tuple[str, ...], expected: list[str]
) -> None:
    assert values(of_a_page(*fields), "referer") == expected
    as_they_came = values(of_a_page(*fields, rewriter=PLAIN), "referer")
    assert as_they_came == ([] if not expected else [f.partition(": ")[2] for f in fields])


def turned(
    *fields: str, origin: str | None = None, cross_origin: bool = False, status: str = "200 OK"
) -> list[tuple[str, str]]:
    block = "\r\n".join(
        ("GET / HTTP/1.1", "Host: localhost:8080", *([f"Origin: {origin}"] if origin else []))
    )
    request = parse_request(block.encode())
    caller = Guard((), [LISTED]).admit(request)
    response = parse_response("\r\n".join((f"HTTP/1.1 {status}", *fields)).encode("latin-1"))
    turn_back(response, request, caller, PAGES, cross_origin=cross_origin)
    return lines_of(inbound_head(response, b"", b""))


def test_addresses_are_turned_back_and_everything_else_is_left() -> None:
    assert turned(
        "Server: x",
        f"Location: {RUN.origin}/x",
        "Set-Cookie: a=1; Path=/",
        f"Set-Cookie: a=2; Domain={RUN.host}",
        f"Content-Location: {RUN.origin}/y",
        f"Refresh: 0; url={RUN.origin}/z",
        "Set-Cookie: a=1; Path=/",
        "Access-Control-Allow-Origin: *",
    ) == [
        ("Server", "x"),
        ("Refresh", f"0; url={RUN.origin}/z"),
        ("Location", f"{OWN}/x"),
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "a=2"),
        ("Content-Location", f"{OWN}/y"),
        ("Set-Cookie", "a=1; Path=/"),
        ("Access-Control-Allow-Origin", "*"),
    ]


def test_what_connection_names_is_not_turned_back_either() -> None:
    got = turned(
        "Connection: location, set-cookie", f"Location: {RUN.origin}/x", "Set-Cookie: a=b", "ETag: x"
    )
    assert got == [("ETag", "x")]


OF_THE_RECEIVERS = [
    "Access-Control-Allow-Origin: *",
    "Access-Control-Allow-Origin: https://evil.com",
    "access-control-allow-credentials: true",
    "Access-Control-Allow-Headers: *",
    "Access-Control-Allow-Methods: *",
    "Access-Control-Allow-Private-Network: true",
    "Access-Control-Expose-Headers: *",
    "Access-Control-Max-Age: 1",
]


def test_to_a_listed_page_the_proxy_alone_says_who_may_read() -> None:
    got = turned("ETag: x", *OF_THE_RECEIVERS, "Vary: Accept", origin=LISTED, cross_origin=True)
    assert got == [
        ("ETag", "x"),
        ("Vary", "Accept"),
        ("Access-Control-Allow-Origin", LISTED),
        ("Access-Control-Allow-Credentials", "true"),
        ("Vary", "Origin"),
        ("Access-Control-Expose-Headers", "ETag, Vary"),
    ]


def test_to_any_other_the_receivers_word_passes() -> None:
    for origin in (None, OWN):
        for cross_origin in (False, True):
            got = turned(*OF_THE_RECEIVERS, origin=origin, cross_origin=cross_origin)
            own = [("Vary", "Origin")] if cross_origin else []
            assert (
                got
                == [(name, value) for name, _, value in (f.partition(": ") for f in OF_THE_RECEIVERS)] + own
            )


def test_an_interim_answer_tells_of_no_origin() -> None:
    for status in ("103 Early Hints", "101 Switching Protocols"):
        got = turned(*OF_THE_RECEIVERS, "Set-Cookie: a=b", origin=LISTED, cross_origin=True, status=status)
        assert got == [("Set-Cookie", "a=b")]
        assert turned("Link: x", cross_origin=True, status=status) == [("Link", "x")]


# -- access tokens -----------------------------------------------------------------

API = Route("api", Upstream("https", "storage.googleapis.com", 443), None, scopes=Scopes())


def to_api(*fields: str, charged: str | None = None) -> list[tuple[str, str]]:
    block = "\r\n".join(("GET / HTTP/1.1", "Host: localhost:8080", *fields)).encode("latin-1")
    return lines_of(outbound(block, TokenPlace.of(API).lines("ya29.ours", charged)))


@for_each(
    "fields",
    [
        (),
        ("Authorization: Bearer sk-dummy",),
        ("authorization: Bearer a", "AUTHORIZATION: Basic b"),
        ("X-Goog-Api-Key: dummy",),
        ("x-goog-api-key: a", "X-GOOG-API-KEY: b", "Authorization: Bearer c"),
        ("Connection: x-goog-api-key, authorization", "X-Goog-Api-Key: a", "Authorization: Bearer c"),
        ("X-Serverless-Authorization: Bearer a", "Proxy-Authorization: Bearer b"),
    ],
)
def test_an_access_token_is_the_only_credential(fields: tuple[str, ...]) -> None:
    lines = to_api(*fields, "Accept: a/b")
    assert values(lines, "authorization") == ["Bearer ya29.ours"]
    for name in ("x-goog-api-key", "x-serverless-authorization", "proxy-authorization"):
        assert values(lines, name) == []
    assert lines[-1] == ("Authorization", "Bearer ya29.ours")
    assert values(lines, "accept") == ["a/b"]


@for_each(
    ("fields", "charged", "sent_on"),
    [
        ((), None, []),
        ((), "ours-123", ["ours-123"]),
        (("X-Goog-User-Project: theirs",), "ours-123", ["theirs"]),
        (("x-goog-user-project: theirs",), None, ["theirs"]),
        (("X-Goog-User-Project: theirs", "Connection: X-Goog-User-Project"), "ours-123", ["ours-123"]),
    ],
)
def test_the_app_says_first_whom_google_charges(
    fields: tuple[str, ...], charged: str | None, sent_on: list[str]
) -> None:
    assert values(to_api(*fields, charged=charged), "x-goog-user-project") == sent_on


def test_an_api_key_for_another_receiver_is_the_app_s_affair() -> None:
    lines = sent("X-Goog-Api-Key: theirs", "X-Goog-User-Project: theirs")
    assert values(lines, "x-goog-api-key") == ["theirs"]
    assert values(lines, "x-goog-user-project") == ["theirs"]
