from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from structlog.testing import capture_logs

from idtoken_proxy.engine.refusal_log import explain_once
from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.engine.stats import RouteCounts, Stats
from idtoken_proxy.errors import ProxyError, Refused
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.policy.request import Request, Response
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Rewrite, Route, Upstream
from tests.cases import for_each
from tests.engine.proxied import unasked

NOW = 1_800_000_000.0
HOST = "profiles-12.europe-west1.run.app"
CALLER = "login@shop.iam.gserviceaccount.com"
CHALLENGE = b'WWW-Authenticate: Bearer error="invalid_token"\r\n'
FRONT_END = b"Server: Google Frontend\r\n"
HTML = b"Content-Type: text/html\r\n"


@dataclass
class Status:
    source: str = "metadata server, account default"


@dataclass
class Slot:
    token: IdToken | None

    def current(self) -> IdToken | None:
        return self.token

    def status(self) -> Status:
        return Status()


@dataclass
class Exchange:
    status: int
    entry: RouteEntry | None
    response: Response | None
    error: ProxyError | None = None
    request: Request | None = None
    said: bytes | None = None
    path: bytes = b"/"
    renews: bool = False


def entry(name: str = "shop", *, public: bool = False, token: IdToken | None = None) -> RouteEntry:
    identity: dict[str, Any] = {"identity": NoIdentity()} if public else {}
    route = Route(name, Upstream("https", HOST, 443), None if public else f"https://{HOST}", **identity)
    slot: Any = None if public else Slot(token)
    return RouteEntry(route, slot, asyncio.run(unasked()), RouteCounts(), Rewrite(), shared=False)


def token() -> IdToken:
    return IdToken("t.t.t", audience=f"https://{HOST}", expires_at=NOW + 3600, email=CALLER)


def response(status: int, *lines: bytes) -> Response:
    made = Response()
    made.status = status
    made.passing = list(lines)
    return made


def request(method: bytes = b"GET") -> Request:
    made = Request()
    made.method = method
    return made


def refused(status: int = 403, at: RouteEntry | None = None, *lines: bytes, **more: Any) -> Exchange:
    return Exchange(
        status,
        at or entry(token=token()),
        response(status, *(lines or (FRONT_END, HTML, CHALLENGE))),
        **{"request": request(), **more},
    )


def said(*exchanges: Exchange, stats: Stats | None = None) -> list[Any]:
    with capture_logs() as lines:
        write: Callable[[Exchange], None] = explain_once(None, stats or Stats(), wall=lambda: NOW)
        for exchange in exchanges:
            write(exchange)
    return lines


def test_a_refusal_is_explained_with_what_mends_it() -> None:
    [line] = said(refused())
    assert line["log_level"] == "warning"
    assert line["event"] == "refused by Google"
    assert (line["route"], line["status"], line["audience"]) == ("shop", 403, f"https://{HOST}")
    assert (line["identity"], line["email"]) == ("metadata server, account default", CALLER)
    assert line["cause"] == "no_invoker"
    assert line["detail"].startswith("if it is Google that answers 403 here")
    assert "gcloud run services add-iam-policy-binding profiles --region=europe-west1" in line["remedy"]


def test_once_for_each_route_and_status() -> None:
    shop, other = entry(token=token()), entry("other", token=token())
    lines = said(
        refused(403, shop), refused(403, shop), refused(401, shop), refused(403, other), refused(401, shop)
    )
    assert [(line["route"], line["status"]) for line in lines] == [
        ("shop", 403),
        ("shop", 401),
        ("other", 403),
    ]


def robot(status: int, words: str) -> bytes:
    """As all of Google's servers say it, without a Server field."""
    return f"<!DOCTYPE html>\n<title>Error {status} ({words})!!1</title>\n<p><b>{status}.</b>".encode()


ALONE = (HTML, b"Referrer-Policy: no-referrer\r\n")


@for_each(
    ("exchange", "cause", "says"),
    [
        (refused(404, None, *ALONE, said=robot(404, "Not Found"), path=b"/healthz"), "reserved_path", "/healthz"),
        (refused(404, None, *ALONE, said=robot(404, "Not Found"), path=b"/x"), "no_such_service", "ingress"),
        (refused(411, None, *ALONE, said=robot(411, "Length Required")), "length_required", "length"),
        (refused(413, None, *ALONE, said=robot(413, "Request Entity Too Large")), "request_too_large", "32 MiB"),
        (refused(400, None, *ALONE, said=robot(400, "Bad Request")), "malformed_request", "malformed"),
        (refused(429, said=b"Rate exceeded."), "no_instance", "no instance free"),
        (refused(503, said=b"Service Unavailable"), "receiver_down", "did not come up"),
        (
            refused(504, None, FRONT_END, b"Content-Type: text/plain\r\n", said=b"upstream request timeout"),
            "receiver_timeout",
            "if it is Google",
        ),
        (refused(403, said=b"<h1>Error: Forbidden</h1>Your client does not have permission"), "no_invoker", CALLER),
        (
            refused(302, None, b"X-Goog-Iap-Generated-Response: true\r\n", said=b""),
            "iap_client_id",
            "IAP before",
        ),
        (
            refused(
                *(403, None, FRONT_END, b"Content-Type: application/json\r\n"),
                said=b'{"error": {"status": "PERMISSION_DENIED", "details": [{"reason": "SECURITY_POLICY_VIOLATED"}]}}',
            ),
            "vpc_service_controls",
            "if it is Google",
        ),
    ],
)  # fmt: skip
def test_what_the_front_end_refuses_by_itself(exchange: Exchange, cause: str, says: str) -> None:
    stats = Stats(wall=lambda: NOW)
    [line] = said(exchange, exchange, stats=stats)
    assert line["cause"] == cause
    assert says in line["detail"]
    [(key, trouble)] = stats.upstream_refusals.items()
    assert key == ("shop", cause)
    assert (trouble.count, trouble.at, trouble.status) == (2, NOW, exchange.status)
    assert (trouble.detail, trouble.remedy) == (line["detail"], line["remedy"])


def test_a_token_that_is_being_replaced_may_be_all_that_is_wrong() -> None:
    """Or it is not, which the next answer tells."""
    first, then = refused(401, renews=True), refused(401)
    lines = said(first, then)
    assert [line["cause"] for line in lines] == ["token_renewed", "invalid_token"]
    assert lines[0]["remedy"] == f"Send the request once more. If it is refused again: {lines[1]['remedy']}"


def test_a_public_route_sends_no_token() -> None:
    [line] = said(refused(403, entry(public=True)))
    assert (line["cause"], line["identity"], line["email"], line["audience"]) == (
        "no_identity",
        "none",
        None,
        None,
    )


@for_each(
    "exchange",
    [
        refused(200),
        refused(404),
        refused(403, None, b"Content-Type: application/json\r\n"),
        Exchange(403, entry(token=token()), None),
        Exchange(403, None, response(403, FRONT_END, HTML), request=request()),
        Exchange(
            403, entry(token=token()), response(403, FRONT_END, HTML), Refused("the guard's own"), request()
        ),
        refused(403, entry(token=None)),
        refused(404, said=b"<h1>No such profile</h1>"),
        refused(404, None, FRONT_END, b"Content-Type: application/json\r\n", said=b'{"error": "none"}'),
        refused(404, request=request(b"HEAD"), said=b""),
        refused(302, None, b"Location: https://login.shop.example/\r\n", said=b""),
        refused(503, None, b"Content-Type: text/html\r\n", said=b"Service Unavailable"),
        refused(500, said=b"<h1>Oops</h1>"),
    ],
    ids=[
        *("200", "404", "the app's own", "no answer", "no route", "the proxy's own", "the token is gone"),
        *("an app's page", "an app's JSON", "a HEAD", "an app's login", "no front end", "an app's failure"),
    ],
)
def test_there_is_nothing_to_explain(exchange: Exchange) -> None:
    assert said(exchange) == []


def test_the_access_log_is_written_all_the_same() -> None:
    written: list[Exchange] = []
    exchanges = [refused(200), refused(403), refused(403)]
    with capture_logs():
        write = explain_once(written.append, Stats())
        for exchange in exchanges:
            write(exchange)
    assert written == exchanges
