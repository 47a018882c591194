"""/api/status beyond the server's own, and the page's file and headers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import aiohttp

from idtoken_proxy import __version__
from idtoken_proxy.admin import status
from idtoken_proxy.admin.status import KeysObserved
from idtoken_proxy.build import BUILD
from idtoken_proxy.engine.stats import BOUNDS
from idtoken_proxy.errors import ConfigError, Problem, ProxyError
from idtoken_proxy.identity.diagnosis import Diagnosis
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Route, TcpAddress, Upstream
from tests.admin.test_metrics import admin_of, ended
from tests.cases import for_each
from tests.engine.conftest import Receive, Start, receive, start, token, token_file
from tests.engine.proxied import Proxied
from tests.engine.wire import Wire, answering, eventually, get, ok
from tests.steps import steps_of

__all__ = ["receive", "start", "token", "token_file"]  # fixtures


def told_by(proxied: Proxied) -> dict[str, Any]:
    """As it arrives."""
    told: dict[str, Any] = json.loads(json.dumps(status.report(proxied.server)))
    return told


async def test_before_anything_happened(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    told = told_by(proxied)
    assert (told["version"], told["build"]) == (__version__, BUILD)
    assert told["bounds"] == list(BOUNDS)
    assert 0 <= told["now"] - told["started_at"] < 10
    assert told["connections_max"] == 1024
    assert (told["errors"], told["limits"]) == ([], {})
    assert told["reloads"] == {
        "taken": 0,
        "refused": 0,
        "settings_since": told["started_at"],
        "last": None,
    }
    (route,) = told["routes"]
    assert route["traffic"] == {
        "requests": 0,
        "classes": {},
        "latency": [0] * (len(BOUNDS) + 1),
        "in_flight": 0,
        "tunnels": 0,
        "received": 0,
        "sent": 0,
        "abandoned": 0,
    }


async def test_what_the_server_itself_tells_stays(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    told, own = told_by(proxied), json.loads(json.dumps(proxied.server.status()))
    routes = json.loads(json.dumps(list(proxied.server.route_statuses())))
    for key, value in own.items():
        assert told[key] == value
    for route, of_own in zip(told["routes"], routes, strict=True):
        assert {key: value for key, value in route.items() if key not in ("traffic", "refused")} == of_own


async def test_traffic(receive: Receive, start: Start) -> None:
    answered = False

    async def script(wire: Wire) -> None:
        nonlocal answered
        while True:
            await wire.request()
            if not answered:
                wire.send(ok())
            answered = True

    receiver = await receive(script)
    proxied = await start(receiver)
    await proxied.ask(get("/"))
    await proxied.ask(b"nonsense\r\n\r\n")
    await ended(proxied, 2)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: len(receiver.requests) == 2, "the second")
    told = told_by(proxied)
    traffic = told["routes"][0]["traffic"]
    assert (traffic["requests"], traffic["classes"], traffic["in_flight"]) == (1, {"2xx": 1}, 1)
    assert sum(traffic["latency"]) == 1
    assert told["unrouted"]["classes"] == {"4xx": 1}
    assert told["upstreams"] == [
        {
            "origin": proxied.pool.upstream.origin,
            "in_use": 1,
            "idle": 0,
            "connecting": 0,
            "opened": 1,
            "reused": 1,
        }
    ]
    app.close()


NO_INVOKER = Diagnosis(
    "no_invoker", "login may not invoke shop", "gcloud run services add-iam-policy-binding shop"
)


async def test_what_google_refuses_stands_at_its_route_and_among_the_errors(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    stats = proxied.server.context.stats
    assert told_by(proxied)["routes"][0]["refused"] is None
    stats.refused_upstream("receiver", 404, replace(NO_INVOKER, cause="reserved_path"))
    stats.refused_upstream("receiver", 403, NO_INVOKER)
    stats.refused_upstream("receiver", 403, NO_INVOKER)
    told = told_by(proxied)
    refused = told["routes"][0]["refused"]
    assert refused.pop("standing") is True
    assert (refused["cause"], refused["count"], refused["status"]) == ("no_invoker", 2, 403)
    assert (refused["kind"], refused["fault"]) == ("refused_by_google", "operator")
    assert (refused["detail"], refused["remedy"]) == (NO_INVOKER.detail, NO_INVOKER.remedy)
    assert [error["cause"] for error in told["errors"]] == ["no_invoker", "reserved_path"]
    assert told["errors"][0] == refused
    await proxied.ask(get("/"))
    await ended(proxied, 1)
    assert told_by(proxied)["routes"][0]["refused"]["standing"] is False
    stats.refused_upstream("receiver", 503, replace(NO_INVOKER, cause="receiver_down"))
    refused = told_by(proxied)["routes"][0]["refused"]
    assert (refused["cause"], refused["standing"], refused["fault"]) == ("receiver_down", True, "receiver")


async def test_a_foreign_host_and_a_foreign_origin_are_two_errors(receive: Receive, start: Start) -> None:
    proxied = await start(1)
    for _ in range(3):
        await proxied.ask(get("/").replace(b"localhost", b"evil.com"))
        await proxied.ask(get("/", "Origin: http://evil.example"))
    await ended(proxied, 6)
    by_cause = {error["cause"]: error for error in told_by(proxied)["errors"]}
    assert {cause: error["count"] for cause, error in by_cause.items()} == {"host": 3, "origin": 3}
    assert "allowed_origins" in by_cause["origin"]["remedy"]
    assert "evil.com" in by_cause["host"]["detail"]


async def test_errors_the_latest_first_and_no_more_than_fit(receive: Receive, start: Start) -> None:
    proxied = await start(1)
    await proxied.ask(get("/"))
    await proxied.ask(get("/", "Origin: null"))
    await proxied.ask(get("/" + "x" * 65536))
    await ended(proxied, 3)
    told = told_by(proxied)
    assert [error["status"] for error in told["errors"]] == [431, 403, 502]
    refused, unreachable = told["errors"][1:]
    assert unreachable["route"] == "receiver"
    assert (unreachable["kind"], unreachable["cause"]) == ("connect_failed", "connection_refused")
    assert (unreachable["fault"], unreachable["count"]) == ("receiver", 1)
    assert refused["route"] is None
    assert refused["remedy"]
    assert told["refusals"]["origin"] == 1
    assert told["limits"] == {"header_bytes": {"hits": 1, "set_by": "limits.header_bytes"}}
    stats = proxied.server.context.stats
    for number in range(50):
        stats.trouble(f"route-{number}", ProxyError("x"))
    assert len(told_by(proxied)["errors"]) == status.MOST_ERRORS


async def test_reloads(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    proxied.server.reloaded(ConfigError((Problem("proxy.yaml", 3, "routes[0].upstream", "is no URL"),)))
    told = told_by(proxied)["reloads"]
    assert told["refused"] == 1
    assert told["last"]["refused"] == "proxy.yaml:3: routes[0].upstream: is no URL"
    proxied.server.reloaded(None)
    told = told_by(proxied)["reloads"]
    assert told["last"] == {"at": told["settings_since"], "refused": None}


async def test_a_limit_that_nobody_described(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    proxied.server.context.stats.hit("of_later_days")
    assert told_by(proxied)["limits"] == {"of_later_days": {"hits": 1, "set_by": None}}


async def test_no_token_and_nothing_of_a_request_is_told(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    await proxied.ask(get("/s3nt1nel?s3nt1nel", "Authorization: s3nt1nel", "Cookie: s3nt1nel"))
    await proxied.ask(get("/s3nt1nel", "Transfer-Encoding: s3nt1nel"))
    await ended(proxied, 2)
    text = json.dumps(told_by(proxied))
    assert "s3nt1nel" not in text
    assert proxied.token not in text


# -- the page ----------------------------------------------------------------------


def test_the_page_loads_nothing_from_anywhere() -> None:
    text, _ = status.page()
    references = re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s)>]+)""", text)
    assert {reference for reference in references if not reference.startswith("data:")} == {
        "/api/status",
        "/metrics",
    }
    assert not re.search(r"@import|importScripts|new Function|eval\(|document\.write", text)
    addresses = set(re.findall(r"https?://[^\"'\s]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_what_it_shows_it_sets_as_text() -> None:
    text, _ = status.page()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|srcdoc", text
    )
    assert not re.search(r"<[^>]+\s(?:on[a-z]+|style)\s*=", text)


def test_its_policy_names_its_own_style_and_script_and_nothing_else() -> None:
    text, headers = status.page()
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    for kind in ("style", "script"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}


async def test_over_http(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), admin=TcpAddress("127.0.0.1", 0))
    url = f"http://{admin_of(proxied)}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with session.get(f"{url}/api/status") as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert (await answer.json())["routes"][0]["traffic"]["requests"] == 0
        async with session.get(f"{url}/", headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403


@for_each("name", ["status.html"])
def test_the_page_is_part_of_the_package(name: str) -> None:
    from importlib import resources  # noqa: PLC0415

    assert resources.files("idtoken_proxy.admin").joinpath(name).is_file()


async def test_the_report_of_many_routes_comes_in_pieces_that_do_not_grow(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    (route,) = proxied.server.route_statuses()

    class Many:
        """As many routes as one likes, to look at."""

        ready, context, slots = proxied.server.ready, proxied.server.context, proxied.server.slots

        metadata_requests = proxied.server.metadata_requests

        def status(self) -> dict[str, Any]:
            return proxied.server.status()

        def route_statuses(self) -> Iterator[dict[str, Any]]:
            return iter([{**route, "name": f"r{number}"} for number in range(1000)])

        def key_sets(self) -> tuple[KeysObserved, ...]:
            return ()

    pieces = [piece for piece in status.pieces(Many()) if piece]
    assert len(pieces) > 15
    names = [one["name"] for one in json.loads("".join(pieces))["routes"]]
    assert names == [f"r{number}" for number in range(1000)]
    assert max(map(len, pieces)) < 2 * len(pieces[-2])


async def test_neither_do_the_pieces_of_many_receivers_and_all_are_of_one_generation(
    receive: Receive, start: Start
) -> None:
    proxied = await start(await receive(answering(ok())))
    routes = tuple(
        Route(f"r{one}", Upstream("http", "127.0.0.1", 1 + one), None, NoIdentity(), path=f"/r{one}")
        for one in range(1000)
    )
    before = proxied.server.settings
    await proxied.server.reload(replace(before, routes=routes))
    pieces, steps = status.pieces(proxied.server), []
    told = [next(pieces)]
    await proxied.server.reload(before)
    ended = False
    while not ended:
        some: list[str] = []
        steps.append(steps_of(lambda some=some: some.extend(islice(pieces, 1))))  # type: ignore[misc]
        told += some
        ended = not some
    assert 10 * max(steps) < sum(steps)
    report = json.loads("".join(told))
    assert [one["origin"] for one in report["upstreams"]] == [route.upstream.origin for route in routes]
    assert [one["name"] for one in report["routes"]] == [route.name for route in routes]
    assert list(proxied.server.context.stats.routes) == ["receiver"]
