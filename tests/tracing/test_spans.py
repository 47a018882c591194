"""What an exchange says of itself in spans: the semantic conventions' words, and nothing that is anybody's secret."""

from __future__ import annotations

from pathlib import Path

from idtoken_proxy.policy.request import Request
from idtoken_proxy.settings.model import Limits, Timeouts
from idtoken_proxy.tracing.spans import Clocks, _method, _path, _tell_of_address
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.http2_peers import Stream, echo, http2_app, http2_receiver
from tests.engine.test_refused_tokens import ServerContext, begun
from tests.engine.test_tunnel import HANDSHAKE, SWITCHING
from tests.engine.wire import Wire, answering, eventually, get, ok, post
from tests.tracing.conftest import Trace

JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzZWNyZXQifQ.c2VjcmV0"


async def test_a_request_that_went_well(receive: Receive, start: Start, trace: Trace) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    kept = trace(proxied)
    await proxied.ask(
        b"GET /a/b?key=secret HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8\r\nCookie: a=secret\r\n"
        b"Authorization: Bearer secret\r\n\r\n"
    )
    server, client = kept.exchanges
    assert (server.name, server.kind, server.failed, server.parent_id) == ("GET receiver", "server", False, 0)
    assert server.attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/a/b",
        "network.protocol.version": "1.1",
        "server.address": "localhost",
        "server.port": 8080,
        "http.route": "receiver",
        "user_agent.original": "curl/8",
        "http.response.status_code": 200,
    }
    assert (client.name, client.kind, client.failed) == ("GET", "client", False)
    assert (client.trace_id, client.parent_id) == (server.trace_id, server.span_id)
    assert client.attributes == {
        "http.request.method": "GET",
        "url.full": f"http://127.0.0.1:{receiver.port}/a/b",
        "server.address": "127.0.0.1",
        "server.port": receiver.port,
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert server.started <= client.started <= client.ended <= server.ended
    assert "secret" not in repr(kept.spans)
    assert proxied.token not in repr(kept.spans)


async def test_what_is_shaped_like_a_credential_is_taken_out(
    receive: Receive, start: Start, trace: Trace
) -> None:
    """As of the log, wherever a caller puts it."""
    proxied = await start(await receive(answering(ok())))
    kept = trace(proxied)
    await proxied.ask(get(f"/{JWT}/x", f"User-Agent: {JWT}"))
    assert JWT not in repr(kept.spans)
    assert kept.one("server").attributes["url.path"] == "/[redacted]/x"
    assert kept.one("server").attributes["user_agent.original"] == "[redacted]"
    assert kept.one("client").attributes["url.full"].endswith("/[redacted]/x")  # type: ignore[union-attr]


@for_each(
    ("status", "server_fails", "client_fails"),
    [("404 No", False, True), ("503 Busy", True, True), ("302 Found", False, False)],
)
async def test_statuses(
    receive: Receive, start: Start, trace: Trace, status: str, server_fails: object, client_fails: object
) -> None:
    """A 4xx is the caller's doing, so that it fails the client's span alone."""
    proxied = await start(await receive(answering(ok().replace(b"200 OK", status.encode()))))
    kept = trace(proxied)
    await proxied.ask(get("/"))
    server, client = kept.one("server"), kept.one("client")
    assert (server.failed, client.failed) == (server_fails, client_fails)
    assert server.attributes.get("error.type") == (status[:3] if server_fails else None)
    assert client.attributes.get("error.type") == (status[:3] if client_fails else None)


async def test_without_a_token_there_is_no_client_span(
    receive: Receive, start: Start, trace: Trace, token_file: Path
) -> None:
    token_file.unlink()
    proxied = await start(await receive(answering(ok())))
    kept = trace(proxied)
    assert (await proxied.ask(get("/"))).status == 503
    server = kept.one("server")
    assert (server.failed, server.attributes["http.response.status_code"]) == (True, 503)
    assert server.attributes["error.type"] == "file_missing"
    assert not [span for span in kept.exchanges if span.kind == "client"]


async def test_a_refused_request(receive: Receive, start: Start, trace: Trace) -> None:
    proxied = await start(await receive(answering(ok())))
    kept = trace(proxied)
    await proxied.ask(get("/", "Origin: https://elsewhere.example"))
    (server,) = kept.exchanges
    assert (server.failed, server.attributes["error.type"]) == (False, "refused")
    assert server.name == "GET"


async def test_a_receiver_that_is_not_there(start: Start, trace: Trace, receive: Receive) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    kept = trace(proxied)
    receiver._server.close()
    await receiver._server.wait_closed()
    assert (await proxied.ask(get("/"))).status == 502
    server, client = kept.exchanges
    assert (server.failed, client.failed) == (True, True)
    assert server.attributes["error.type"] == client.attributes["error.type"] == "connect_failed"
    assert "network.protocol.version" not in client.attributes
    assert "http.response.status_code" not in client.attributes


async def test_a_replay_counts_its_attempts(
    receive: Receive, start: Start, trace: Trace, token: str, token_file: Path
) -> None:
    proxied, _ = await begun(start, await receive(ServerContext(token)), token_file)
    kept = trace(proxied)
    await proxied.ask(post(b"body"))
    server, first, second = kept.exchanges
    assert (server.failed, first.failed, second.failed) == (False, True, False)
    assert first.attributes["http.response.status_code"] == 401
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert first.ended <= second.started
    assert {first.parent_id, second.parent_id} == {server.span_id}


async def test_an_answer_that_breaks_off(receive: Receive, start: Start, trace: Trace) -> None:
    async def breaks(wire: Wire) -> None:
        await wire.request()
        wire.send(ok(b"x" * 10)[:-5])
        wire.close()

    proxied = await start(await receive(breaks))
    kept = trace(proxied)
    app = await proxied.connect()
    app.send(get("/"))
    await app.gone()
    server, client = kept.exchanges
    for span in (server, client):
        assert (span.failed, span.attributes["http.response.status_code"]) == (True, 200)
    assert server.attributes["error.type"] == client.attributes["error.type"] == "broken_off"


async def test_an_app_that_goes_away_fails_nothing(receive: Receive, start: Start, trace: Trace) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    kept = trace(proxied)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: bool(receiver.requests), "the request")
    app.transport.abort()
    await eventually(lambda: len(kept.exchanges) == 2, "both spans")
    assert [(span.failed, span.attributes["error.type"]) for span in kept.exchanges] == [
        (False, "abandoned")
    ] * 2


async def test_a_websocket_ends_with_its_handshake(receive: Receive, start: Start, trace: Trace) -> None:
    async def switches(wire: Wire) -> None:
        await wire.request()
        wire.send(SWITCHING)

    proxied = await start(await receive(switches))
    kept = trace(proxied)
    app = await proxied.connect()
    app.send(HANDSHAKE)
    await app.response()
    for span in kept.exchanges:
        assert (span.failed, span.attributes["http.response.status_code"]) == (False, 101)


async def test_a_call_of_grpc(start: Start, trace: Trace) -> None:
    def not_found(stream: Stream) -> None:
        stream.head((b"content-type", b"application/grpc"))
        stream.end((b"grpc-status", b"5"))

    async with http2_receiver(not_found) as receiver:
        proxied = await start(receiver.port)
        app = await http2_app(proxied.port)
        kept = trace(proxied)
        await app.call(body=b"x").done()
        app.transport.abort()
    server, client = kept.exchanges
    for span in (server, client):
        assert span.attributes["network.protocol.version"] == "2"
        assert span.attributes["rpc.system"] == "grpc"
        assert (span.attributes["rpc.service"], span.attributes["rpc.method"]) == ("Echo", "Unary")
        assert span.attributes["rpc.grpc.status_code"] == 5
    # NOT_FOUND is what the caller asked for, as 404 is.
    assert (server.failed, client.failed, client.attributes["error.type"]) == (False, True, "5")


async def test_a_refused_call_of_grpc_has_the_status_that_the_app_has(start: Start, trace: Trace) -> None:
    async with http2_receiver(echo) as receiver:
        proxied = await start(receiver.port, route={"path": "/there"})
        app = await http2_app(proxied.port)
        kept = trace(proxied)
        call = await app.call(body=b"x").done()
        app.transport.abort()
    (server,) = kept.exchanges
    assert server.attributes["rpc.grpc.status_code"] == call.grpc[0] == 12
    assert server.attributes["error.type"] == "no_route"


async def test_a_head_that_is_too_large_is_told_of_too(start: Start, trace: Trace) -> None:
    async with http2_receiver(echo) as receiver:
        proxied = await start(receiver.port, limits=Limits(header_bytes=4096))
        app = await http2_app(proxied.port)
        kept = trace(proxied)
        call = await app.request((b"x-large", b"x" * 5000)).done()
        app.transport.abort()
    assert call.status == 431
    (server,) = kept.exchanges
    assert (server.name, server.attributes["error.type"]) == ("GET", "head_too_large")


async def test_a_connect_is_a_request_too(receive: Receive, start: Start, trace: Trace) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    kept = trace(proxied)
    app = await proxied.connect()
    app.send(
        f"CONNECT 127.0.0.1:{receiver.port} HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\n\r\n".encode()
    )
    assert b" 200 " in await app.until(b"\r\n\r\n")
    app.send(get("/within").replace(b"localhost", b"127.0.0.1:%d" % receiver.port))
    assert (await app.response()).status == 200
    assert [(span.name, span.kind) for span in kept.exchanges] == [
        ("CONNECT", "server"),
        ("GET receiver", "server"),
        ("GET", "client"),
    ]


async def test_a_deadline_fails_both(receive: Receive, start: Start, trace: Trace) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver, timeouts=Timeouts(response=5.0))
    kept = trace(proxied)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: bool(receiver.requests), "the request")
    await proxied.elapse(6.0)
    assert (await app.response()).status == 504
    assert {span.attributes["error.type"] for span in kept.exchanges} == {"upstream_timeout"}
    assert all(span.failed for span in kept.exchanges)


def test_all_of_an_exchange_is_told_by_one_clock() -> None:
    now = Clocks(running=10.0, wall=5_000_000_000)
    assert (now.at(10.0), now.at(9.5)) == (5_000_000_000, 4_500_000_000)


def test_a_method_that_anybody_can_invent_names_no_span() -> None:
    request = Request()
    request.method = b"X" * 300
    name, attributes = _method(request)
    assert (name, attributes["http.request.method"]) == ("HTTP", "_OTHER")
    assert attributes["http.request.method_original"] == "X" * 256


@for_each(
    ("host", "told"),
    [
        ("localhost", {"server.address": "localhost"}),
        ("localhost:80", {"server.address": "localhost", "server.port": 80}),
        ("[::1]:80", {"server.address": "[::1]", "server.port": 80}),
    ],
)
def test_addresses(host: str, told: dict[str, object]) -> None:
    attributes: dict[str, str | int | bool] = {}
    _tell_of_address(attributes, host)
    assert attributes == told


def test_a_long_path_is_cut_as_in_the_log() -> None:
    assert _path(b"/" + b"a" * 1023 + b"?q") == "/" + "a" * 1023
    assert _path(b"/" + b"a" * 1024) == "/" + "a" * 1023 + "..."
