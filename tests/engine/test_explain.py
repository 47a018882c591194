from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.engine.explain import explain_once
from idtoken_proxy.engine.gateway import Lane
from idtoken_proxy.errors import ProxyError, Refused
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.policy.request import Response
from idtoken_proxy.settings.model import NoIdentity, Route, Upstream

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
    lane: Lane | None
    response: Response | None
    error: ProxyError | None = None


def lane(name: str = "shop", *, public: bool = False, token: IdToken | None = None) -> Lane:
    identity: dict[str, Any] = {"identity": NoIdentity()} if public else {}
    route = Route(name, Upstream("https", HOST, 443), None if public else f"https://{HOST}", **identity)
    slot: Any = None if public else Slot(token)
    pool: Any = None
    return Lane(route, slot, pool)


def token() -> IdToken:
    return IdToken("t.t.t", audience=f"https://{HOST}", expires_at=NOW + 3600, email=CALLER)


def response(status: int, *lines: bytes) -> Response:
    made = Response()
    made.status = status
    made.passing = list(lines)
    return made


def refused(status: int = 403, at: Lane | None = None, *lines: bytes) -> Exchange:
    return Exchange(
        status, at or lane(token=token()), response(status, *(lines or (FRONT_END, HTML, CHALLENGE)))
    )


def said(*exchanges: Exchange) -> list[Any]:
    with capture_logs() as lines:
        write: Callable[[Exchange], None] = explain_once(None, wall=lambda: NOW)
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
    shop, other = lane(token=token()), lane("other", token=token())
    lines = said(
        refused(403, shop), refused(403, shop), refused(401, shop), refused(403, other), refused(401, shop)
    )
    assert [(line["route"], line["status"]) for line in lines] == [
        ("shop", 403),
        ("shop", 401),
        ("other", 403),
    ]


def test_a_public_route_sends_no_token() -> None:
    [line] = said(refused(403, lane(public=True)))
    assert (line["cause"], line["identity"], line["email"], line["audience"]) == (
        "no_identity",
        "none",
        None,
        None,
    )


@pytest.mark.parametrize(
    "exchange",
    [
        refused(200),
        refused(404),
        refused(403, None, b"Content-Type: application/json\r\n"),
        Exchange(403, lane(token=token()), None),
        Exchange(403, None, response(403, FRONT_END, HTML)),
        Exchange(403, lane(token=token()), response(403, FRONT_END, HTML), Refused("the guard's own")),
        refused(403, lane(token=None)),
    ],
    ids=["200", "404", "the app's own", "no answer", "no route", "the proxy's own", "the token is gone"],
)
def test_there_is_nothing_to_explain(exchange: Exchange) -> None:
    assert said(exchange) == []


def test_the_access_log_is_written_all_the_same() -> None:
    written: list[Exchange] = []
    exchanges = [refused(200), refused(403), refused(403)]
    with capture_logs():
        write = explain_once(written.append)
        for exchange in exchanges:
            write(exchange)
    assert written == exchanges
