from __future__ import annotations

import json

from idtoken_proxy import errors
from idtoken_proxy.engine.http1 import parse_response
from idtoken_proxy.engine.local_responses import _quoted, preflight, problem
from idtoken_proxy.errors import Fault, ProxyError
from idtoken_proxy.policy.request import Response
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Route, Upstream
from tests.cases import for_each

ROUTE = Route("profiles", Upstream("https", "p.run.app", 443), "https://p.run.app")
PUBLIC = Route("public", Upstream("https", "p.run.app", 443), None, NoIdentity())


def answer(
    error: ProxyError, route: Route | None = None, *, head_only: bool = False, closes: bool = False
) -> tuple[Response, dict[str, str], bytes]:
    """The answer as our own strict reader has it, its fields by lower-case name, and its body."""
    head, _, body = problem(error, route, head_only=head_only, closes=closes).partition(b"\r\n\r\n")
    fields = {}
    for line in head.decode().split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        assert name.lower() not in fields
        fields[name.lower()] = value
    return parse_response(head), fields, body


def members(error: ProxyError, route: Route | None = None) -> dict[str, object]:
    got: dict[str, object] = json.loads(answer(error, route)[2])
    return got


ERRORS: list[ProxyError] = [
    errors.MalformedRequest("d"),
    errors.Refused("d", remedy="r"),
    errors.NoRoute("d"),
    errors.MethodNotAllowed("d", allow=("GET",)),
    errors.HeadTooLarge("d"),
    errors.TokenError("d", cause="c", fault=Fault.GOOGLE),
    errors.UpstreamError("d"),
    errors.ConnectFailed("d", proxy_status="dns_error"),
    errors.TlsFailed("d"),
    errors.BrokenOff("d"),
    errors.MalformedResponse("d"),
    errors.UpstreamTimeout("d"),
    errors.Overloaded("d"),
    errors.Draining("d"),
    errors.ProxyError("d"),
]


def test_a_missing_token_is_told_with_the_identity_that_was_asked() -> None:
    error = errors.TokenError("d", cause="c", fault=Fault.GOOGLE, identity="key file k.json of a@b")
    assert members(error, ROUTE)["identity"] == "key file k.json of a@b"
    assert "identity" not in members(errors.TokenError("d", cause="c", fault=Fault.GOOGLE), ROUTE)


@for_each("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_a_problem_that_says_who_speaks(error: ProxyError) -> None:
    response, fields, body = answer(error)
    assert response.status == error.status
    assert response.content_length == len(body)
    assert fields["content-type"] == "application/problem+json"
    assert fields["cache-control"] == "no-store"
    assert fields["date"].endswith(" GMT")
    assert fields["proxy-status"] == (
        f'idtoken-proxy; error={error.proxy_status}; details="{error.title.replace(chr(34), "")}"'
    )
    got = json.loads(body)
    assert got["status"] == error.status
    assert got["type"] == "about:blank"
    assert (got["title"], got["detail"], got["fault"]) == (error.title, "d", error.fault.value)
    assert got.get("remedy") == error.remedy
    assert body.endswith(b"\n")


def test_the_route_and_its_audience_are_told_where_they_apply() -> None:
    error = errors.BrokenOff("d")
    assert {"route", "audience"}.isdisjoint(members(error))
    assert members(error, ROUTE)["route"] == "profiles"
    assert members(error, ROUTE)["audience"] == "https://p.run.app"
    assert members(error, PUBLIC)["route"] == "public"
    assert "audience" not in members(error, PUBLIC)


def test_what_only_the_log_may_hold_is_not_in_the_answer() -> None:
    error = errors.TokenError("d", cause="c", fault=Fault.GOOGLE, log_detail="s3cr3t")
    assert b"s3cr3t" not in problem(error, ROUTE, head_only=False, closes=False)


@for_each(
    ("error", "seconds"),
    [
        (errors.TokenError("d", cause="c", fault=Fault.GOOGLE), "5"),
        (errors.TokenError("d", cause="c", fault=Fault.GOOGLE, retry_after=30), "30"),
        (errors.TokenError("d", cause="c", fault=Fault.GOOGLE, retry_after=1), "1"),
        (errors.TokenError("d", cause="c", fault=Fault.GOOGLE, retry_after=0), "1"),
        (errors.Draining("d"), "1"),
        (errors.Overloaded("d"), "1"),
        (errors.UpstreamTimeout("d"), None),
        (errors.NoRoute("d"), None),
    ],
)
def test_every_503_says_when_to_come_back(error: ProxyError, seconds: str | None) -> None:
    assert answer(error)[1].get("retry-after") == seconds


def test_the_cause_of_a_missing_token_has_a_slug() -> None:
    error = errors.TokenError("d", cause="metadata_unreachable", fault=Fault.OPERATOR)
    assert members(error)["cause"] == "metadata_unreachable"
    assert "cause" not in members(errors.NoRoute("d"))


def test_405_names_what_is_allowed() -> None:
    assert answer(errors.MethodNotAllowed("d", allow=("GET", "POST")))[1]["allow"] == "GET, POST"
    assert "allow" not in answer(errors.NoRoute("d"))[1]


def test_head_gets_the_head_alone_and_the_length_that_get_would_have() -> None:
    error = errors.NoRoute("d")
    _, with_body, body = answer(error)
    _, without, nothing = answer(error, head_only=True)
    assert nothing == b""
    assert without["content-length"] == with_body["content-length"] == str(len(body))


@for_each("closes", [False, True])
def test_the_connection_is_said_to_close_where_it_does(*, closes: bool) -> None:
    response, fields, _ = answer(errors.NoRoute("d"), closes=closes)
    assert response.keep_alive is not closes
    assert fields.get("connection") == ("close" if closes else None)


@for_each("closes", [False, True])
def test_a_preflight_is_answered_with_a_head_alone(*, closes: bool) -> None:
    head = preflight(b"Vary: Origin\r\n", closes=closes)
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert lines.pop(1).startswith(b"Date: ")
    assert lines == [
        b"HTTP/1.1 204 No Content",
        b"Proxy-Status: idtoken-proxy",
        b"Vary: Origin",
        *([b"Connection: close"] if closes else []),
    ]
    assert parse_response(head[:-4]).content_length is None


def test_lines_for_another_origins_page_are_part_of_the_head() -> None:
    made = problem(errors.NoRoute("x"), None, head_only=False, closes=False, readable_by=b"Vary: Origin\r\n")
    head, _, body = made.partition(b"\r\n\r\n")
    assert head.endswith(b"\r\nVary: Origin")
    assert json.loads(body)["status"] == 404


def test_nothing_that_an_app_said_can_break_out_of_the_head() -> None:
    error = errors.Refused('d"\r\nSet-Cookie: a=b\r\n\r\n<script>é', remedy="\r\n\r\n\0\ud800")
    error.title = 'a "title"\r\nwith \\ é'
    response, fields, body = answer(error)
    assert set(fields) == {"content-type", "content-length", "cache-control", "date", "proxy-status"}
    assert fields["proxy-status"].endswith(r'details="a \"title\"??with \\ ?"')
    assert response.content_length == len(body)
    got = json.loads(body)
    assert (got["detail"], got["remedy"]) == (error.detail, error.remedy)
    assert body.isascii()


@for_each(
    ("text", "quoted"),
    [
        ("", '""'),
        ("a b~", '"a b~"'),
        ('"', r'"\""'),
        ("\\", r'"\\"'),
        ("\x1f\x7f\n\t", '"????"'),
        ("é€", '"??"'),
    ],
)
def test_a_quoted_string_holds_visible_ascii_alone(text: str, quoted: str) -> None:
    assert _quoted(text) == quoted
