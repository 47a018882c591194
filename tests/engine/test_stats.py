"""What is counted: each exchange once, whatever became of it; each limit and refusal by its name."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from idtoken_proxy.engine.http1 import MAX_FIELDS
from idtoken_proxy.engine.interim import MAX_INTERIM
from idtoken_proxy.engine.states import BROKEN, DONE
from idtoken_proxy.engine.stats import (
    BOUNDS,
    LIMITS,
    NO_ROUTE,
    REFUSALS,
    EndedExchange,
    Reload,
    RouteCounts,
    Stats,
    cause_of,
    kind_of,
)
from idtoken_proxy.engine.timeout_errors import TOKEN_GRACE
from idtoken_proxy.engine.upstream import MAX_RESPONSE_HEAD
from idtoken_proxy.errors import (
    ConnectFailed,
    Fault,
    HeadTooLarge,
    MalformedRequest,
    ProxyError,
    Refused,
    TokenError,
    UpstreamTimeout,
)
from idtoken_proxy.identity.diagnosis import Diagnosis
from idtoken_proxy.identity.events import FetchEvent
from idtoken_proxy.settings.identities import CommandIdentity
from idtoken_proxy.settings.model import GuardSettings, Limits, Timeouts
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.proxied import Proxied
from tests.engine.test_pool import blackhole
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import (
    Ended,
    Receiver,
    Wire,
    answering,
    chunked,
    eventually,
    get,
    ok,
    post,
    running,
    turns,
)

__all__ = ["blackhole"]  # a fixture

NOW = 1000.0


def stats_of(proxied: Proxied) -> Stats:
    return proxied.server.context.stats


def counts_of(proxied: Proxied) -> RouteCounts:
    return stats_of(proxied).routes["receiver"]


async def counted(proxied: Proxied, requests: int, counts: RouteCounts | None = None) -> None:
    seen = counts or counts_of(proxied)
    await eventually(lambda: sum(seen.classes) == requests, f"{requests} exchanges in {seen.classes}")


# -- exchanges -------------------------------------------------------------------


async def test_an_exchange_is_counted_once_with_its_octets(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok(b"x" * 1000), ok().replace(b"200 OK", b"404 No"))))
    app = await proxied.connect()
    first, second = get("/a", "Accept: */*"), post(b"y" * 500)
    app.send(first + second)
    answers = [await app.response(), await app.response()]
    counts = counts_of(proxied)
    await counted(proxied, 2)
    assert (counts.classes[2], counts.classes[4]) == (1, 1)
    assert counts.received == len(first) + len(second)
    assert counts.sent == sum(len(answer.raw) + len(answer.body) for answer in answers) == len(app.received)
    assert sum(counts.buckets) == 2
    assert 0 < counts.seconds < 10
    assert stats_of(proxied).connections == 1


async def test_octets_of_a_body_in_chunks_are_those_of_the_wire(receive: Receive, start: Start) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: a\r\n\r\n"
    proxied = await start(await receive(answering(answer)))
    app = await proxied.connect()
    first = get("/", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"
    app.send(first + get("/2"))
    await app.response()
    await app.response()
    await counted(proxied, 2)
    assert counts_of(proxied).received == len(first) + len(get("/2"))
    assert counts_of(proxied).sent == len(app.received)


async def test_what_is_under_way_is_seen_while_it_is(receive: Receive, start: Start) -> None:
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await go_on.wait()
        wire.send(b"world")

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(get("/"))
    await app.until(b"hello")
    (exchange,) = proxied.server.context.active_exchanges()
    assert exchange.sent == len(app.received)
    assert exchange.received == len(get("/"))
    assert sum(counts_of(proxied).classes) == 0
    go_on.set()
    await app.until(b"world")
    await counted(proxied, 1)
    assert proxied.server.context.active_exchanges() == []


async def test_an_app_that_goes_away_is_no_error(receive: Receive, start: Start) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: bool(receiver.requests), "the request")
    app.close()
    await counted(proxied, 1)
    assert counts_of(proxied).classes[0] == 1
    assert counts_of(proxied).abandoned == 1
    assert stats_of(proxied).troubles == {}


async def test_what_no_route_took(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), route={"path": "/a"})
    for request in (get("/b"), b"nonsense\r\n\r\n"):
        await proxied.ask(request)
    stats = stats_of(proxied)
    await counted(proxied, 2, stats.unrouted)
    assert stats.unrouted.classes[4] == 2
    assert {key[:2] for key in stats.troubles} == {(NO_ROUTE, "no_route"), (NO_ROUTE, "malformed_request")}
    assert sum(counts_of(proxied).classes) == 0


async def test_a_trouble_is_counted_and_its_last_word_kept(receive: Receive, start: Start) -> None:
    proxied = await start(1)
    for _ in range(3):
        await proxied.ask(get("/"))
    await counted(proxied, 3)
    (trouble,) = stats_of(proxied).troubles.values()
    assert (trouble.route, trouble.kind, trouble.cause) == (
        "receiver",
        "connect_failed",
        "connection_refused",
    )
    assert (trouble.count, trouble.status, trouble.fault) == (3, 502, "receiver")
    assert trouble.detail == "127.0.0.1:1 refuses connections"
    assert trouble.at > NOW


async def test_a_tunnel_is_open_and_its_octets_are_counted(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)
        await wire.until(b"ping")
        wire.send(b"pong!")
        await wire.to_end()
        wire.close()

    proxied = await start(await receive(script))
    counts = counts_of(proxied)
    app = await proxied.connect()
    app.send(HANDSHAKE)
    await app.response()
    await counted(proxied, 1)
    assert (counts.classes[1], counts.tunnels) == (1, 1)
    app.send(b"ping")
    await app.until(b"pong!")
    assert counts.received == len(HANDSHAKE) + 4
    assert counts.sent == len(app.received)
    app.close()
    await eventually(lambda: counts.tunnels == 0, "the tunnel's end")


async def test_connections_upstream_are_opened_and_used_again(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())))
    for _ in range(3):
        await proxied.ask(get("/"))
    (upstream,) = stats_of(proxied).upstreams.values()
    assert (upstream.opened, upstream.reused, upstream.connecting) == (1, 2, 0)
    assert proxied.pool.counts is upstream


async def test_second_tries_are_counted(receive: Receive, start: Start) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(ok())
        await wire.request()
        wire.close()

    proxied = await start(await receive(script))
    for _ in range(2):
        assert (await proxied.ask(get("/"))).status == 200
    assert (counts_of(proxied).retries, counts_of(proxied).replays) == (1, 0)


async def test_a_replay_with_a_fresh_token_is_counted(receive: Receive, start: Start) -> None:
    refusal = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="invalid_token" '
        b'error_description="The access token could not be verified"\r\nContent-Length: 0\r\n\r\n'
    )
    proxied = await start(await receive(answering(ok(), refusal, ok())))
    for _ in range(2):  # only a token out of the cache is worth another try
        assert (await proxied.ask(get("/"))).status == 200
    assert counts_of(proxied).replays == 1


async def test_a_slow_reader_holds_the_answer_back(receive: Receive, start: Start) -> None:
    size = 16 * 1024 * 1024
    proxied = await start(await receive(answering(ok(b"x" * size))))
    app = await proxied.connect()
    app.stall()
    app.send(get("/"))
    await eventually(lambda: stats_of(proxied).held["answer"] > 0, "an answer that is held back")
    app.go_on()
    assert len((await app.response()).body) == size


async def test_a_slow_receiver_holds_the_request_back(receive: Receive, start: Start) -> None:
    size = 16 * 1024 * 1024
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        wire.stall()
        await go_on.wait()
        wire.go_on()
        await wire.request()
        wire.send(ok())

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(post(b"x" * size))
    await eventually(lambda: stats_of(proxied).held["request"] > 0, "a request that is held back")
    go_on.set()
    assert (await app.response()).status == 200


# -- limits ----------------------------------------------------------------------

SHORT = Timeouts(response=8, idle=8, header=8)
Attack = Callable[[Proxied, Wire], Any]


def says(*parts: bytes) -> Callable[[Wire], Any]:
    async def script(wire: Wire) -> None:
        for part in parts:
            with contextlib.suppress(Ended):
                await wire.request()
            wire.send(part)

    return script


FIELDS = "".join(f"A{number}: b\r\n" for number in range(MAX_FIELDS + 1)).encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@for_each(
    ("limit", "request_", "answer"),
    [
        ("header_bytes", get("/" + "x" * 65536), ok()),
        ("header_fields", get("/").replace(b"\r\n\r\n", b"\r\n" + FIELDS + b"\r\n"), ok()),
        ("header_timeout", b"GET / HTTP/1.1\r\n", ok()),
        (
            "chunk_overhead",
            get("/", "Transfer-Encoding: chunked", method="POST") + b"1;" + b"a" * 1100,
            ok(),
        ),
        ("response_timeout", get("/"), b""),
        ("idle_timeout", get("/"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
        ("tunnel_idle_timeout", HANDSHAKE, SWITCHING),
        ("response_header_bytes", get("/"), b"HTTP/1.1 200 OK\r\nA: " + b"b" * MAX_RESPONSE_HEAD),
        ("response_header_fields", get("/"), b"HTTP/1.1 200 OK\r\n" + FIELDS + b"\r\n"),
        ("response_chunk_overhead", get("/"), CHUNKED + b"1;" + b"a" * 1100),
        ("interim_answers", get("/"), b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MAX_INTERIM + 1)),
    ],
)
async def test_a_limit_is_counted_when_it_is_hit(
    receive: Receive, start: Start, limit: str, request_: bytes, answer: bytes
) -> None:
    proxied = await start(await receive(says(answer)), timeouts=SHORT)
    app = await proxied.connect()
    app.send(request_)
    limits = stats_of(proxied).limits
    if "timeout" in limit:  # in steps: what is on its way has the time to come
        await proxied.elapse_until(lambda: any(limits.values()), 1)
    await eventually(lambda: any(limits.values()), f"{limit} to be hit")
    assert {name: hits for name, hits in limits.items() if hits} == {limit: 1}
    app.close()


async def test_the_limit_of_connections(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), limits=Limits(connections=1))
    first = await proxied.connect()
    first.send(get("/"))
    await first.response()
    for _ in range(2):
        await (await proxied.connect()).response()
    assert stats_of(proxied).limits["connections"] == 2
    (trouble,) = stats_of(proxied).troubles.values()
    assert (trouble.kind, trouble.count) == ("overloaded", 2)
    first.close()


async def test_a_token_that_does_not_come(receive: Receive, start: Start, tmp_path: Any) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    proxied = await start(
        await receive(answering(ok())),
        timeouts=Timeouts(connect=0.1 - TOKEN_GRACE),
        route={"identity": CommandIdentity(("/bin/cat", str(fifo)))},
    )
    assert (await proxied.ask(get("/"))).status == 503
    assert stats_of(proxied).limits["token_wait"] == 1
    fifo.write_text("no token")


async def test_a_receiver_that_accepts_nobody(start: Start, blackhole: int) -> None:
    proxied = await start(blackhole, timeouts=Timeouts(connect=0.2))
    counts = stats_of(proxied).upstreams[proxied.pool.upstream.origin]
    async with running(proxied.ask(get("/"))) as asked:
        await eventually(lambda: counts.connecting == 1, "it is not tried")
        assert (await asked).status == 504
    assert stats_of(proxied).limits["connect_timeout"] == 1
    assert counts.connecting == 0


async def test_an_idle_connection_that_ends_hits_no_limit(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), timeouts=Timeouts(keepalive=30, header=10))
    app = await proxied.connect()
    await eventually(lambda: len(proxied.server.context.connections) == 1, "no connection")
    await proxied.elapse(31)
    await app.gone()
    assert not any(stats_of(proxied).limits.values())


def test_a_limit_of_later_days_is_counted_too() -> None:
    stats = Stats()
    stats.hit("of later days")
    assert stats.limits == {**dict.fromkeys(LIMITS, 0), "of later days": 1}


# -- the guard -------------------------------------------------------------------


async def test_refusals_have_reasons(receive: Receive, start: Start, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef")
    proxied = await start(await receive(answering(ok())), guard=GuardSettings(caller_token_file=str(secret)))
    right = "X-Idtoken-Proxy-Caller: 0123456789abcdef"
    await proxied.ask(get("/"))
    await proxied.ask(get("/", right, "Origin: http://evil.example"))
    await proxied.ask(get("/", right, "Sec-Fetch-Site: cross-site"))
    await proxied.ask(get("/", right).replace(b"localhost", b"evil.example"))
    await counted(proxied, 4, stats_of(proxied).unrouted)
    assert stats_of(proxied).refusals == {
        "caller_token": 1,
        "origin": 1,
        "fetch_site": 1,
        "host": 1,
        "referer": 0,
        "unverified_page": 0,
        "uid": 0,
        "forward_proxy": 0,
    }


def test_a_refusal_without_a_reason_is_another() -> None:
    stats = Stats()
    stats.trouble(NO_ROUTE, Refused("no"))
    stats.trouble(NO_ROUTE, Refused("no", reason="uid"))
    assert stats.refusals == {**dict.fromkeys(REFUSALS, 0), "uid": 1, "other": 1}


# -- by itself -------------------------------------------------------------------


def exchange(**facts: Any) -> EndedExchange[Any]:
    ended: EndedExchange[Any] = EndedExchange(1)
    for name, value in {"started": 0.0, "status": 200, "sent": 2, "state": DONE, **facts}.items():
        setattr(ended, name, value)
    return ended


@for_each(("status", "place"), [(0, 0), (101, 1), (204, 2), (302, 3), (499, 4), (503, 5), (999, 9)])
def test_classes(status: int, place: int) -> None:
    stats = Stats()
    stats.ended(exchange(status=status))
    assert stats.unrouted.classes.index(1) == place


@pytest.mark.parametrize("place", range(len(BOUNDS)))
def test_a_bound_belongs_to_its_bucket(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """As Prometheus has it: `le` is less or equal."""
    stats = Stats()
    for late in (0.0, 1e-9):
        monkeypatch.setattr("idtoken_proxy.engine.stats.monotonic", lambda late=late: BOUNDS[place] + late)
        stats.ended(exchange())
    assert stats.unrouted.buckets[place : place + 2] == [1, 1]


def test_broken_without_an_error_is_abandoned() -> None:
    stats = Stats()
    stats.ended(exchange(state=BROKEN))
    stats.ended(exchange(state=BROKEN, error=MalformedRequest("x")))
    assert stats.unrouted.abandoned == 1


@for_each(
    ("error", "kind", "cause"),
    [
        (ConnectFailed("x", proxy_status="dns_error"), "connect_failed", "dns_error"),
        (UpstreamTimeout("x"), "upstream_timeout", "http_response_timeout"),
        (TokenError("x", cause="file_missing", fault=Fault.OPERATOR), "token_error", "file_missing"),
        (HeadTooLarge("x"), "head_too_large", "http_request_error"),
        (ProxyError("x"), "internal", "proxy_internal_error"),
    ],
)
def test_kinds_and_causes(error: ProxyError, kind: str, cause: str) -> None:
    for _ in range(2):
        assert (kind_of(error), cause_of(error)) == (kind, cause)


def test_fetches() -> None:
    stats = Stats()
    usual: dict[str, Any] = {"source": "metadata", "described": "metadata server", "wanted": "a"}
    failure = TokenError("x", cause="timeout", fault=Fault.GOOGLE)
    for more in ({"changed": True}, {}, {"error": failure}, {"error": failure}):
        stats.fetched(FetchEvent(**usual, seconds=0.5, **cast("dict[str, Any]", more)))
    seen = stats.fetches["metadata"]
    assert (seen.fresh, seen.unchanged, seen.failed, seen.seconds) == (1, 1, 2, 2.0)
    assert stats.fetch_failures == {("metadata", "a", "timeout"): 2}


def test_reloads() -> None:
    now = NOW
    stats = Stats(lambda: now)
    assert (stats.last_reload, stats.reloaded_at) == (None, NOW)
    now += 1
    stats.reloaded(None)
    assert stats.last_reload == Reload(NOW + 1)
    now += 1
    stats.reloaded(ProxyError("why"))
    assert stats.last_reload == Reload(NOW + 2, "why")
    assert stats.reloaded_at == NOW + 1
    assert stats.reloads == {"taken": 1, "refused": 1}


def test_a_reload_forgets_what_is_gone_and_keeps_the_rest() -> None:
    stats = Stats()
    kept, _ = stats.route("kept"), stats.route("gone")
    upstream, _ = stats.upstream("http://kept"), stats.upstream("http://gone")
    for route in ("kept", "gone", NO_ROUTE):
        stats.trouble(route, ProxyError("x"))
    stats.fetch_failures = {("file", "kept", "x"): 1, ("file", "gone", "x"): 1}
    stats.retain({"kept"}, {"http://kept"}, {"kept", "none"})
    assert stats.routes == {"kept": kept}
    assert stats.route("kept") is kept
    assert stats.upstreams == {"http://kept": upstream}
    assert {key[0] for key in stats.troubles} == {"kept", NO_ROUTE}
    assert stats.fetch_failures == {("file", "kept", "x"): 1}


# -- Google's refusals -----------------------------------------------------------


def test_a_refusal_of_googles_is_counted_by_route_and_cause() -> None:
    stats = Stats(wall=lambda: NOW)
    one, other = (Diagnosis(cause, f"{cause} it is", "mend it") for cause in ("no_invoker", "no_instance"))
    stats.route("shop").classes[2] = 3
    stats.route("shop").classes[3] = 2
    stats.refused_upstream("shop", 403, one)
    stats.refused_upstream("shop", 403, replace(one, detail="newer"))
    stats.refused_upstream("shop", 429, other)
    stats.refused_upstream("gone", 403, one)
    told = stats.upstream_refusals["shop", "no_invoker"]
    assert (told.count, told.detail, told.remedy, told.status, told.fault) == (
        2,
        "newer",
        "mend it",
        403,
        "operator",
    )
    assert (told.passed, told.at, told.kind) == (5, NOW, "refused_by_google")
    assert stats.upstream_refusals["shop", "no_instance"].fault == "receiver"
    assert stats.troubles == {}
    stats.retain({"shop"}, (), ())
    assert set(stats.upstream_refusals) == {("shop", "no_invoker"), ("shop", "no_instance")}


PAGE = b"<h1>Error: Forbidden</h1><h2>Your client does not have permission to get URL</h2>"
HEAD = b"HTTP/1.1 403 Forbidden\r\nServer: Google Frontend\r\nContent-Type: text/html\r\n"
REFUSALS_OF_GOOGLES = {
    "length": HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE,
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(PAGE[:20], PAGE[20:]),
    "until close": HEAD + b"\r\n" + PAGE,
}


@pytest.mark.parametrize("framing", REFUSALS_OF_GOOGLES)
async def test_who_refuses_is_read_from_the_body_wherever_it_is_cut(
    receive: Receive, start: Start, framing: str
) -> None:
    answer = REFUSALS_OF_GOOGLES[framing]

    async def script(wire: Wire) -> None:
        await wire.request()
        cut = int((await wire_target(receiver)).partition("=")[2])
        wire.send(answer[:cut])
        await turns(3)
        wire.send(answer[cut:])
        wire.close()

    receiver = await receive(script)
    proxied = await start(receiver)
    places = range(1, len(answer))
    for cut in places:
        told = await proxied.ask(get(f"/?cut={cut}"))
        assert told.body == PAGE
    [(key, refusal)] = stats_of(proxied).upstream_refusals.items()
    assert key == ("receiver", "no_invoker")
    assert refusal.count == len(places)
    assert not refusal.detail.startswith("if ")


async def wire_target(receiver: Receiver) -> str:
    return receiver.requests[-1].start.split()[1]


async def test_an_app_s_own_refusal_is_none_of_googles(receive: Receive, start: Start) -> None:
    own = ok(b"<h1>Members only</h1>", "Server: Google Frontend", "Content-Type: text/html")
    proxied = await start(await receive(answering(own.replace(b"200 OK", b"403 No"))))
    await proxied.ask(get("/"))
    await counted(proxied, 1)
    assert stats_of(proxied).upstream_refusals == {}
