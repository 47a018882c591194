"""What a sampled exchange takes down and passes on, and that no other one is touched."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from idtoken_proxy.engine.sampler import Sampler
from idtoken_proxy.engine.trace import Trace
from idtoken_proxy.engine.traced_exchange import TracedExchange, Tracer
from idtoken_proxy.errors import NoRoute
from idtoken_proxy.settings.model import LogSettings
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.http2_peers import echo, http2_app, http2_receiver
from tests.engine.proxied import Proxied
from tests.engine.test_refused_tokens import ServerContext, begun
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Wire, answering, get, ok, post

ID = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
SAMPLED = f"traceparent: 00-{ID}-{SPAN}-01"
UNSAMPLED = f"traceparent: 00-{ID}-{SPAN}-00"


def trace(proxied: Proxied, ratio: float = 1.0) -> list[TracedExchange]:
    """Where the exchanges go that are traced from now on."""
    ended: list[TracedExchange] = []
    proxied.server.context.trace(Tracer(Sampler(ratio, follows=True), ended.append))
    return ended


def passed_on(exchange: TracedExchange, attempt: int = 0) -> str:
    return f"00-{exchange.trace_id:032x}-{exchange.attempts[attempt].span_id:016x}-01"


async def test_a_root_is_passed_on_with_the_attempt_s_span(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    ended = trace(proxied)
    for _ in range(2):
        await proxied.ask(get("/a", "tracestate: of=nobody"))
    first, second = ended
    assert [request.one("traceparent") for request in receiver.requests] == [
        passed_on(first),
        passed_on(second),
    ]
    assert not any(
        request.all("tracestate") for request in receiver.requests
    )  # whose trace that is nobody says
    assert first.trace_id != second.trace_id
    assert len({first.span_id, second.span_id, *(one.attempts[0].span_id for one in ended)}) == 4
    assert (first.parent, first.trace.id) == (None, f"{first.trace_id:032x}")


async def test_the_app_s_own_span_is_the_parent(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    (ended) = trace(proxied, ratio=0.0)
    await proxied.ask(get("/a", SAMPLED, "tracestate: vendor=1", "tracestate: other=2", "X-Kept: 1"))
    (exchange,) = ended
    (request,) = receiver.requests
    assert exchange.parent == Trace(ID, SPAN, sampled=True)
    assert request.one("traceparent") == passed_on(exchange)
    assert ID in passed_on(exchange)
    assert request.all("tracestate") == ["vendor=1", "other=2"]
    assert request.one("x-kept") == "1"


@for_each("lines", [(UNSAMPLED, "tracestate: a=1"), ("X-Other: 1",)])
async def test_what_is_not_sampled_passes_as_it_came(
    receive: Receive, start: Start, lines: tuple[str, ...]
) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    ended = trace(proxied, ratio=0.0)
    await proxied.ask(get("/a", *lines))
    (request,) = receiver.requests
    for line in lines:
        name, _, value = line.partition(": ")
        assert request.all(name.lower()) == [value]
    assert ended == []


async def test_without_a_tracer_even_nonsense_passes(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    await proxied.ask(get("/a", "traceparent: nonsense", "tracestate: a=1"))
    (request,) = receiver.requests
    assert (request.one("traceparent"), request.one("tracestate")) == ("nonsense", "a=1")


@for_each("ratio", [0.0, 1.0])
async def test_nonsense_is_dropped_with_its_state(receive: Receive, start: Start, ratio: float) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    ended = trace(proxied, ratio)
    await proxied.ask(get("/a", "traceparent: nonsense", "tracestate: a=1", "X-Kept: 1"))
    (request,) = receiver.requests
    assert request.all("traceparent") == [passed_on(one) for one in ended]
    assert len(ended) == ratio
    assert not request.all("tracestate")
    assert request.one("x-kept") == "1"


async def test_a_retry_is_an_attempt_of_its_own(receive: Receive, start: Start) -> None:
    """A receiver that has closed an idle connection just as it was used again."""

    async def closes(wire: Wire) -> None:
        await wire.request()
        if len(receiver.connections) == 1:
            wire.send(ok())
            await wire.request()
            wire.close()
        else:
            wire.send(ok())

    receiver = await receive(closes)
    proxied = await start(receiver)
    ended = trace(proxied)
    await proxied.ask(get("/a"))
    assert (await proxied.ask(get("/b"))).status == 200
    exchange = ended[1]
    first, second = exchange.attempts
    assert [one.one("traceparent") for one in receiver.requests[1:]] == [
        passed_on(exchange, 0),
        passed_on(exchange, 1),
    ]
    assert first.ended
    assert first.error is not None
    assert (second.ended, second.error) == (0.0, None)
    assert (first.http2, second.http2) == (False, False)


async def test_a_replay_with_another_token_is_one_too(
    receive: Receive, start: Start, token: str, token_file: Path
) -> None:
    receiver = await receive(ServerContext(token))
    proxied, _ = await begun(start, receiver, token_file)
    ended = trace(proxied)
    assert (await proxied.ask(post(b"body"))).status == 200
    (exchange,) = ended
    first, _ = exchange.attempts
    assert (first.status, bool(first.ended)) == (401, True)
    assert [one.one("traceparent") for one in receiver.requests] == [
        passed_on(exchange, 0),
        passed_on(exchange, 1),
    ]
    assert exchange.status == 200


async def test_a_refused_request_has_no_attempt(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), route={"path": "/there"})
    ended = trace(proxied)
    assert (await proxied.ask(get("/elsewhere"))).status == 404
    (exchange,) = ended
    assert isinstance(exchange.error, NoRoute)
    assert exchange.attempts == []


async def test_a_tunnel_ends_the_exchange(receive: Receive, start: Start) -> None:
    async def switches(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)

    receiver = await receive(switches)
    proxied = await start(receiver)
    ended = trace(proxied)
    app = await proxied.connect()
    app.send(HANDSHAKE)
    assert (await app.response()).status == 101
    (exchange,) = ended
    assert (exchange.status, len(exchange.attempts)) == (101, 1)
    assert receiver.requests[0].one("traceparent") == passed_on(exchange)


async def test_over_http2_each_stream_is_its_own_though_the_heads_are_alike(start: Start) -> None:
    """Heads that come again are remembered (http2/head_shapes.py): no span is."""
    async with http2_receiver(echo) as receiver:
        proxied = await start(receiver.port)
        app = await http2_app(proxied.port)
        ended = trace(proxied)
        for _ in range(4):
            assert (await app.call(body=b"x").done()).grpc == (0, "")
        proxied.server.context.trace(None)
        assert (await app.call(body=b"x").done()).grpc == (0, "")
        *traced, plain = [dict(stream.pairs).get(b"traceparent") for stream in receiver.streams]
        app.transport.abort()
    assert [value.decode() for value in traced if value] == [passed_on(one) for one in ended]
    assert len(set(traced)) == 4
    assert plain is None
    assert [one.grpc_status for one in ended] == [0] * 4
    assert all(one.attempts[0].http2 for one in ended)


async def test_the_log_s_line_names_the_exchange_s_own_span(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), log=LogSettings(access="all"))
    ended = trace(proxied)
    with capture_logs() as lines:
        await proxied.ask(get("/a", SAMPLED))
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["trace"], line["span"], line["sampled"]) == ended[0].trace
    assert line["trace"] == ID


async def test_the_log_keeps_quiet_of_what_is_traced(receive: Receive, start: Start) -> None:
    proxied = await start(await receive(answering(ok())), log=LogSettings(access="errors"))
    ended = trace(proxied)
    with capture_logs() as lines:
        await proxied.ask(get("/a"))
    assert len(ended) == 1
    assert not [line for line in lines if line["event"] == "request"]


async def test_who_waits_for_a_token_is_known_until_it_has_one(
    receive: Receive, start: Start, token: str, token_file: Path
) -> None:
    token_file.unlink()
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    context = proxied.server.context
    ended = trace(proxied)
    tracer = context.tracer
    assert tracer is not None
    answer = await proxied.ask(get("/a"))
    assert answer.status == 503
    (exchange,) = ended
    assert (exchange.attempts, exchange.waits) == ([], False)
    assert tracer.waiting_for(context.router.entries[0].slot) == ()
