"""HTTP/2 in and HTTP/2 out, on real sockets: gRPC's four kinds, refusals, cancellation, deadlines, drain, flow control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2_downstream import MAX_STREAMS
from idtoken_proxy.settings.model import UpstreamProtocol
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.http2_peers import (
    Http2Peer,
    Http2Receiver,
    Stream,
    echo,
    fixed,
    http2_app,
    http2_receiver,
    nothing,
    values,
)
from tests.engine.proxied import Proxied, make_token
from tests.engine.wire import answering, eventually, ok

Serve = Callable[..., Awaitable[tuple[Http2Receiver, Proxied, Http2Peer]]]


@pytest.fixture
async def serve(start: Start) -> AsyncIterator[Serve]:
    """A receiver of HTTP/2, a proxy in front of it, and an app that is connected."""
    async with AsyncExitStack() as stack:

        async def begin(
            script: Callable[[Stream], object], **changes: Any
        ) -> tuple[Http2Receiver, Proxied, Http2Peer]:
            receiver = await stack.enter_async_context(http2_receiver(script))
            proxied = await start(receiver.port, **changes)
            app = await http2_app(proxied.port)
            stack.callback(app.transport.abort)
            return receiver, proxied, app

        yield begin


def test_the_limit_is_beyond_what_one_connection_upstream_carries() -> None:
    assert MAX_STREAMS > 100


async def test_a_call_and_what_becomes_of_its_head(serve: Serve) -> None:
    receiver, proxied, app = await serve(echo)
    call = await app.call((b"x-asked", b"please"), (b"k-bin", b"AAE"), body=b"hello").done()
    assert (call.status, call.body, call.grpc) == (200, b"hello", (0, ""))
    (asked,) = receiver.streams
    told = dict(asked.pairs)
    assert told[b":authority"] == f"127.0.0.1:{receiver.port}".encode()
    assert (told[b":path"], told[b":method"], told[b":scheme"]) == (b"/Echo/Unary", b"POST", b"http")
    assert (told[b"x-asked"], told[b"k-bin"], told[b"te"]) == (b"please", b"AAE", b"trailers")
    assert values(asked.pairs, b"authorization") == [f"Bearer {proxied.token}".encode()]
    assert told[b"via"].startswith(b"2 idtoken-proxy-")
    assert (told[b"x-forwarded-host"], told[b"x-forwarded-proto"]) == (b"localhost", b"http")
    assert asked.body == b"hello"


@pytest.mark.parametrize("size", [1, 3, 24, 30, 45])
async def test_the_preface_in_pieces(serve: Serve, size: int) -> None:
    _, proxied, _ = await serve(echo)
    peer = Http2Peer(client=True)
    sent = bytearray()

    class Collected(asyncio.Transport):
        def write(self, data: Any) -> None:
            sent.extend(data)

    peer.connection_made(Collected())
    call = peer.call(body=b"split")
    _, wire = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", proxied.port)
    transport = wire.transport if hasattr(wire, "transport") else _
    for at in range(0, len(sent), size):
        transport.write(bytes(sent[at : at + size]))
        await asyncio.sleep(0)
    transport.set_protocol(peer)
    peer.transport = transport
    await call.done()
    assert call.body == b"split"
    transport.abort()


async def test_a_preface_behind_a_request_is_no_preface(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok()))
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await app.response()).status == 200
    app.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert (await app.response()).status == 400
    assert await app.to_end() == b""


async def test_streams_in_all_directions(serve: Serve) -> None:
    def script(stream: Stream) -> None:
        stream.head((b"content-type", b"application/grpc"))

    receiver, _, app = await serve(script)
    call = app.call(body=b"one", end=False)
    await call.until(lambda call: call.status == 200)
    (asked,) = receiver.streams
    await asked.until(lambda asked: asked.body == b"one")
    asked.data(b"first")
    await call.until(lambda call: call.body == b"first")
    call.data(b"two")
    await asked.until(lambda asked: asked.body == b"onetwo")
    call.end()
    await asked.until(lambda asked: asked.ended)
    asked.data(b"last")
    asked.end((b"grpc-status", b"5"), (b"grpc-message", b"gone"))
    await call.done()
    assert (call.body, call.grpc, call.reset) == (b"firstlast", (5, "gone"), None)


async def test_more_calls_than_a_connection_carries_are_spread(serve: Serve) -> None:
    held: list[Stream] = []
    receiver, proxied, app = await serve(held.append)
    calls = [app.call(body=b"%d" % number) for number in range(230)]
    await eventually(lambda: len(held) == 230, "they did not all come")
    assert len(receiver.peers) == 3
    for stream in held:
        await stream.until(lambda stream: stream.ended)
        stream.head()
        stream.data(stream.body)
        stream.end((b"grpc-status", b"0"))
    for number, call in enumerate(calls):
        assert (await call.done()).body == b"%d" % number
    await eventually(lambda: proxied.pool.http2.idle == 3, "they are not idle")


# -- refusals -------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], tuple[tuple[bytes, bytes], ...], int, str]] = {
    "a page": ({}, ((b"origin", b"http://evil.test"),), 7, "may not use this proxy"),
    "another site": ({}, ((b"sec-fetch-site", b"cross-site"),), 7, "Sec-Fetch-Site"),
    "no route": ({"route": {"path": "/only"}}, (), 12, "no route matches"),
    "a method": ({"route": {"methods": frozenset({"GET"})}}, (), 12, "does not take POST"),
    "HTTP/1.1": ({"route": {"protocol": UpstreamProtocol.HTTP1}}, (), 12, "take protocol: http1 out"),
    "two origins": ({}, ((b"origin", b"http://a.test"), (b"origin", b"http://b.test")), 13, "two Origin"),
}


@for_each("name", REFUSED)
async def test_what_the_proxy_refuses_is_a_status_of_grpc(serve: Serve, name: str) -> None:
    changes, pairs, status, words = REFUSED[name]
    receiver, _, app = await serve(echo, **changes)
    call = await app.call(*pairs, body=b"x").done()
    assert call.status == 200
    assert call.grpc[0] == status
    assert words in call.grpc[1]
    assert not receiver.streams


# to whom: words of the remedy
TUNNELS: dict[bytes, str] = {
    b"127.0.0.1:%d": "or CONNECT by HTTP/1.1",
    b"svc.a.run.app:443": "add a route whose upstream it is",
    b"localhost:1": "NO_PROXY=localhost",
    b"localhost": "use http:// URLs",
}


async def test_a_connect_is_told_what_to_do_instead(serve: Serve) -> None:
    receiver, _, app = await serve(echo)
    for to, remedy in TUNNELS.items():
        authority = to.replace(b"%d", b"%d" % receiver.port)
        tunnel = app.open([(b":method", b"CONNECT"), (b":authority", authority)])
        tunnel.data(b"\x16\x03\x01")
        await tunnel.done()
        assert (tunnel.status, tunnel.reset) == (405, ErrorCode.NO_ERROR)
        assert remedy in tunnel.body.decode(), tunnel.body
    assert not receiver.streams


async def test_what_the_proxy_refuses_others_is_problem_json(serve: Serve) -> None:
    _, _, app = await serve(echo)
    answer = await app.request((b"origin", b"http://evil.test")).done()
    assert (answer.status, answer.one("content-type")) == (403, "application/problem+json")
    assert b'"title": "Refused by the proxy' in answer.body
    head = await app.request((b"origin", b"http://evil.test"), method="HEAD").done()
    assert (head.status, head.body) == (403, b"")


async def test_a_receiver_s_page_becomes_a_status_of_grpc(serve: Serve) -> None:
    page = b"<html><title>403 Forbidden</title>Your client does not have permission to get URL / from this server."
    table = {401: 16, 403: 7, 404: 12, 413: 8, 429: 14, 500: 2, 503: 14}
    answers = iter(table)

    def script(stream: Stream) -> None:
        status = next(answers)
        stream.head((b"content-type", b"text/html"), (b"server", b"Google Frontend"), status=status)
        stream.data(page, end=True)

    _, _, app = await serve(script)
    for http, grpc in table.items():
        call = await app.call(body=b"x").done()
        assert (call.status, call.grpc[0], call.body) == (200, grpc, b""), http
        assert call.grpc[1], http
    assert app.streams  # nothing of it ended the connection


@pytest.mark.parametrize(("size", "pieces"), [(5000, 1), (500, 9), (1, 16)])
async def test_a_page_without_an_end_is_not_read_to_it(serve: Serve, size: int, pieces: int) -> None:
    """A call may have no deadline, and each piece would put off the one of timeouts.idle."""
    receiver, proxied, app = await serve(nothing)
    call = app.call(body=b"x")
    await eventually(lambda: bool(receiver.streams), "it did not come")
    (page,) = receiver.streams
    page.head((b"content-type", b"text/html"), (b"server", b"Google Frontend"), status=503)
    for _ in range(pieces):
        assert not call.ended
        page.data(b"<h1>Error: "[:size].ljust(size))
        await proxied.elapse(200)
    await call.done()
    assert call.grpc[0] == 14
    await page.until(lambda page: page.reset == ErrorCode.CANCEL)
    await proxied.settled(idle=1)


async def test_grpc_web_passes_unchanged(serve: Serve) -> None:
    _, _, app = await serve(fixed(status=403, body=b"page"))
    answer = await app.request((b"content-type", b"application/grpc-web+proto"), method="POST").done()
    assert (answer.status, answer.body) == (403, b"page")


async def test_a_receiver_of_http1_alone(receive: Receive, start: Start) -> None:
    """GRPC is told what mends it; anything else goes on by HTTP/1.1."""
    receiver = await receive(answering(ok(b"plain")))
    proxied = await start(receiver)
    app = await http2_app(proxied.port)
    call = await app.call(body=b"x").done()
    assert call.grpc[0] == 14
    assert "does not speak HTTP/2" in call.grpc[1]
    assert "--use-http2" in call.grpc[1]
    answer = await app.request(path="/a?b").done()
    assert (answer.status, answer.body) == (200, b"plain")
    assert receiver.requests[-1].start == "GET /a?b HTTP/1.1"
    assert receiver.requests[-1].one("authorization") == f"Bearer {proxied.token}"
    assert all("authorization" not in str(one.fields) for one in receiver.requests[:-1])
    app.close()
    await app.until_lost()


# -- ends -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [ErrorCode.CANCEL, ErrorCode.INTERNAL_ERROR, 0x42])
async def test_a_cancellation_goes_through_with_its_code(serve: Serve, code: int) -> None:
    receiver, _, app = await serve(lambda stream: stream.head())
    call = app.call(body=b"x", end=False)
    await call.until(lambda call: call.status == 200)
    (asked,) = receiver.streams
    call.cancel(code)
    await asked.until(lambda asked: asked.reset is not None)
    assert asked.reset == code
    other = app.call(body=b"x", end=False)
    await other.until(lambda call: call.status == 200)
    receiver.streams[-1].cancel(code)
    await other.done()
    assert other.reset == code
    assert not other.ended


async def test_a_reset_in_place_of_an_answer_is_a_status_to_whom_codes_say_nothing(serve: Serve) -> None:
    _, _, app = await serve(lambda stream: stream.cancel(ErrorCode.INTERNAL_ERROR))
    assert (await app.call(body=b"x").done()).reset == ErrorCode.INTERNAL_ERROR
    answer = await app.request(method="POST").done()
    assert (answer.status, answer.reset) == (502, None)
    assert b"reset the request's stream: INTERNAL_ERROR" in answer.body


async def test_an_app_that_goes_ends_all_its_streams(serve: Serve) -> None:
    receiver, _, app = await serve(lambda stream: stream.head())
    calls = [app.call(body=b"x", end=False) for _ in range(3)]
    for call in calls:
        await call.until(lambda call: call.status == 200)
    app.transport.abort()
    for asked in receiver.streams:
        await asked.until(lambda asked: asked.reset is not None)
        assert asked.reset == ErrorCode.CANCEL


async def test_a_receiver_that_goes_is_a_broken_answer(serve: Serve) -> None:
    receiver, _, app = await serve(lambda stream: stream.head())
    call = app.call(body=b"x", end=False)
    plain = app.request()
    await plain.until(lambda plain: plain.status == 200)
    await call.until(lambda call: call.status == 200)
    receiver.peers[0].transport.abort()
    await call.done()
    assert call.grpc[0] == 14
    await plain.done()
    assert plain.reset == ErrorCode.INTERNAL_ERROR
    assert not plain.ended


async def test_a_receiver_that_closes_before_it_answers(serve: Serve) -> None:
    receiver, _, app = await serve(lambda stream: stream.peer.transport.abort())
    call = await app.call(body=b"x").done()
    assert call.grpc[0] == 14
    assert len(receiver.streams) == 1


async def test_the_app_s_deadline_is_the_one_that_counts(serve: Serve) -> None:
    receiver, proxied, app = await serve(nothing)
    call = app.call((b"grpc-timeout", b"700S"), body=b"x")
    await eventually(lambda: bool(receiver.streams), "it did not come")
    (asked,) = receiver.streams
    await asked.until(lambda asked: asked.ended)
    await proxied.elapse(650)  # longer than timeouts.response and idle
    assert not call.pairs
    await proxied.elapse(60)
    await call.done()
    assert call.grpc == (4, call.grpc[1])
    await asked.until(lambda asked: asked.reset is not None)


async def test_without_a_deadline_timeouts_hold(serve: Serve) -> None:
    receiver, proxied, app = await serve(nothing)
    call = app.call(body=b"x")
    await eventually(lambda: bool(receiver.streams) and receiver.streams[0].ended, "it did not come")
    await proxied.elapse(400)
    await call.done()
    assert call.grpc[0] == 4


async def test_what_was_not_processed_is_said_again_once(serve: Serve) -> None:
    refused: list[Stream] = []

    def script(stream: Stream) -> None:
        if len(refused) < 1:
            refused.append(stream)
            stream.cancel(ErrorCode.REFUSED_STREAM)
        else:
            echo(stream)

    receiver, _, app = await serve(script)
    call = await app.call(body=b"again").done()
    assert (call.body, call.grpc[0]) == (b"again", 0)
    assert len(receiver.peers) == 2
    always: list[Stream] = []

    def refuse(stream: Stream) -> None:
        always.append(stream)
        stream.cancel(ErrorCode.REFUSED_STREAM)

    _, _, other = await serve(refuse)
    call = await other.call(body=b"again").done()
    assert call.reset == ErrorCode.REFUSED_STREAM
    assert len(always) == 2


async def test_goaway_fails_no_call_that_was_not_processed(serve: Serve) -> None:
    def script(stream: Stream) -> None:
        peer = stream.peer
        if stream.id == 3 and len(receiver.peers) == 1:
            peer.goaway(1)
            receiver.peers[0].streams[1].head()
            receiver.peers[0].streams[1].end((b"grpc-status", b"0"))
        elif len(receiver.peers) > 1:
            echo(stream)

    receiver, _, app = await serve(script)
    first = app.call(body=b"first")
    second = app.call(body=b"second")
    assert (await first.done()).grpc[0] == 0
    assert (await second.done()).body == b"second"
    third = await app.call(body=b"third").done()
    assert third.body == b"third"
    assert len(receiver.peers) == 2


CHALLENGE = (
    b"www-authenticate",
    b'Bearer error="invalid_token" error_description="The access token could not be verified"',
)


async def test_a_refused_token_is_replaced_and_the_call_said_again(serve: Serve) -> None:
    tries: list[Stream] = []
    refusals: list[asyncio.Future[None]] = []

    def script(stream: Stream) -> None:
        tries.append(stream)
        if len(tries) == 1:

            async def refuse() -> None:
                await stream.until(lambda stream: stream.ended)
                stream.head(CHALLENGE, status=401, end=True)

            refusals.append(asyncio.ensure_future(refuse()))
        else:
            echo(stream)

    _, proxied, app = await serve(script)
    await eventually(lambda: proxied.server.ready, "no token")
    call = await app.call(body=b"kept").done()
    assert (call.body, call.grpc[0], len(tries)) == (b"kept", 0, 2)


@pytest.mark.parametrize("body", [b"begun", b"x" * 65_537], ids=["a stream", "more than is kept"])
async def test_a_refused_token_is_replaced_for_the_next_call_where_one_cannot_be_said_again(
    serve: Serve, token_file: Path, body: bytes
) -> None:
    def script(stream: Stream) -> None:
        if stream.one("authorization") == f"Bearer {fresh}":
            echo(stream)
        else:
            stream.head(CHALLENGE, status=401, end=True)

    fresh = make_token(lifetime=3000.0)
    receiver, proxied, app = await serve(script)
    await eventually(lambda: proxied.server.ready, "no token")
    token_file.write_text(fresh)
    call = await app.call(body=body, end=False).done()
    assert (call.grpc[0], call.reset, len(receiver.streams)) == (16, ErrorCode.NO_ERROR, 1)
    assert "another one is being fetched" in call.grpc[1]
    assert "Remedy: Send the request once more." in call.grpc[1]
    slot = proxied.server.slots["receiver"]
    await eventually(lambda: (token := slot.current()) is not None and token.value == fresh, "no renewal")
    assert (await app.call(body=b"again").done()).body == b"again"


async def test_a_drain_is_told_in_two_steps_and_ends_nothing(serve: Serve) -> None:
    receiver, proxied, app = await serve(lambda stream: stream.head())
    call = app.call(body=b"x", end=False)
    await call.until(lambda call: call.status == 200)
    stopping = asyncio.ensure_future(proxied.server.stop(drain=5.0))
    await app.until(lambda: len(app.goaways) == 2)
    assert [last for last, _ in app.goaways] == [2**31 - 1, 1]
    assert {code for _, code in app.goaways} == {0}
    (asked,) = receiver.streams
    call.end()
    await asked.until(lambda asked: asked.ended)
    asked.end((b"grpc-status", b"0"))
    await call.until(lambda call: call.ended)
    assert call.grpc[0] == 0
    await app.until_lost()
    await stopping


async def test_an_idle_connection_is_told_to_go(serve: Serve) -> None:
    _, proxied, app = await serve(echo)
    await app.call(body=b"x").done()
    await proxied.elapse(700)
    await app.until(lambda: bool(app.goaways))
    assert app.goaways[0][1] == 0
    await app.until_lost()


# -- flow control -----------------------------------------------------------------------


async def test_an_upload_that_the_receiver_does_not_read_is_held_back(serve: Serve) -> None:
    receiver, _, app = await serve(lambda stream: setattr(stream.peer, "reads", False))
    call = app.call(body=b"x" * (4 << 20), end=True)
    await eventually(lambda: bool(receiver.streams), "it did not come")
    (asked,) = receiver.streams
    await asked.until(lambda asked: len(asked.body) == 65535)  # its window
    await asyncio.sleep(0.05)
    sent = (4 << 20) - len(app._waiting[call.id][0])
    assert sent <= 65535 + 256 * 1024 + 64 * 1024
    receiver.peers[0].reads = True
    asked.acknowledge()
    await asked.until(lambda asked: asked.ended)
    assert len(asked.body) == 4 << 20


async def test_a_large_upload_that_waits_for_its_connection(serve: Serve) -> None:
    """Nothing else is read on the app's connection when its body begins to move."""
    receiver, _, app = await serve(echo)
    call = app.call(body=b"x" * (1 << 20))
    await call.done()
    assert len(call.body) == 1 << 20
    assert len(receiver.peers) == 1


async def test_one_app_that_does_not_read_holds_its_own_stream_alone(serve: Serve) -> None:
    body = b"y" * (2 << 20)

    def script(stream: Stream) -> None:
        stream.head((b"content-length", b"%d" % len(body)))
        stream.data(body, end=True)

    receiver, proxied, slow = await serve(script)
    slow.reads = False
    stalled = slow.request()
    await stalled.until(lambda stalled: len(stalled.body) == 65535)
    quick = await http2_app(proxied.port)
    assert (await quick.request().done()).body == body
    assert len(receiver.peers) == 1
    slow.reads = True
    stalled.acknowledge()
    assert (await stalled.done()).body == body
    quick.close()


async def test_trailers_come_behind_what_is_held(serve: Serve) -> None:
    def script(stream: Stream) -> None:
        stream.head()
        stream.data(b"z" * 100_000)
        held.append(stream)

    held: list[Stream] = []
    _, _, app = await serve(script)
    app.reads = False
    call = app.call(body=b"x")
    await call.until(lambda call: len(call.body) == 65535)
    (asked,) = held
    await asked.sent()
    asked.end((b"grpc-status", b"0"))
    app.reads = True
    call.acknowledge()
    await call.done()
    assert (len(call.body), call.grpc[0]) == (100_000, 0)


async def test_an_early_answer_leaves_the_upload_its_end(serve: Serve) -> None:
    """A client that writes all before it reads gets to the answer, however small the window was."""
    receiver, proxied, app = await serve(fixed(status=413, body=b"too much"))
    upload = app.request(method="POST", end=False)
    upload.data(b"x" * 1000)
    await upload.until(lambda upload: upload.ended)
    assert (upload.status, upload.body, upload.reset) == (413, b"too much", None)
    await receiver.streams[0].until(lambda asked: asked.reset is not None)
    assert receiver.streams[0].reset == ErrorCode.CANCEL
    upload.data(b"x" * 400_000, end=True)
    await upload.sent()
    assert (await app.request().done()).status == 413  # the connection goes on
    assert upload.reset is None
    await proxied.settled(idle=1)


async def test_a_body_beyond_the_first_window_does_not_hide_a_refusal(serve: Serve) -> None:
    """As a client sends it that knows nothing of the refusal yet."""
    receiver, _, app = await serve(fixed())
    upload = app.request((b"origin", b"https://evil.example"), method="POST", end=False)
    upload.data(b"x" * 300_000, end=True)
    await upload.done()
    await upload.sent()
    assert (upload.status, upload.reset) == (403, None)
    assert not receiver.streams


@pytest.mark.thorough
async def test_an_upload_without_an_end_is_ended_without_an_error(serve: Serve) -> None:
    receiver, _, app = await serve(fixed(status=413, body=b"too much"))
    upload = app.request(method="POST", end=False)
    upload.data(b"x" * 1000)
    await upload.until(lambda upload: upload.reset is not None)
    assert (upload.status, upload.body, upload.ended) == (413, b"too much", True)
    assert upload.reset == ErrorCode.NO_ERROR
    await receiver.streams[0].until(lambda asked: asked.reset is not None)
    assert receiver.streams[0].reset == ErrorCode.CANCEL


# -- translation ------------------------------------------------------------------------


async def test_an_app_of_http1_to_a_receiver_of_http2(serve: Serve) -> None:
    def script(stream: Stream) -> None:
        async def answer() -> None:
            await stream.until(lambda stream: stream.ended)
            stream.head((b"content-type", b"text/plain"))
            stream.data(b"got " + stream.body)
            stream.end((b"x-sum", b"1"))

        answers.append(asyncio.ensure_future(answer()))

    answers: list[asyncio.Future[None]] = []
    receiver, proxied, _ = await serve(script, route={"protocol": UpstreamProtocol.HTTP2})
    answer = await proxied.ask(
        b"POST /up HTTP/1.1\r\nHost: localhost\r\nX-Case: Kept\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    assert (answer.status, answer.body, answer.trailers) == (200, b"got hello", [("x-sum", "1")])
    (asked,) = receiver.streams
    assert (asked.one("x-case"), asked.one("transfer-encoding"), asked.one(":path")) == ("Kept", None, "/up")
    assert asked.one("authorization") == f"Bearer {proxied.token}"
    assert (asked.one("via") or "").startswith("1.1 ")


async def test_a_request_that_expects_content_and_has_none_says_so_in_either_version(serve: Serve) -> None:
    receiver, proxied, app = await serve(fixed(), route={"protocol": UpstreamProtocol.HTTP2})
    for method in ("POST", "PUT", "DELETE"):
        for number in range(3):  # heads that are alike but for the path
            assert (await app.request(method=method, path=f"/{number}").done()).status == 200
        assert (await proxied.ask(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())).status == 200
    expected = ["0"] * 8 + [None] * 4
    assert [asked.one("content-length") for asked in receiver.streams] == expected


async def test_an_app_of_http2_to_a_route_of_http1(receive: Receive, start: Start) -> None:
    receiver = await receive(answering(ok(b"plain", "Connection: X-Hop", "X-Hop: a", "Keep-Alive: 1")))
    proxied = await start(receiver, route={"protocol": UpstreamProtocol.HTTP1})
    app = await http2_app(proxied.port)
    upload = app.request((b"x-a", b"b"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), method="POST", end=False)
    upload.data(b"hello", end=True)
    await upload.done()
    assert (upload.status, upload.body) == (200, b"plain")
    assert {name for name, _ in upload.pairs}.isdisjoint({b"connection", b"x-hop", b"keep-alive"})
    (request,) = receiver.requests
    assert (request.start, request.body) == ("POST / HTTP/1.1", b"hello")
    assert request.one("cookie") == "a=1; b=2"
    assert (request.one("via") or "").startswith("2 ")
    app.close()
    await app.until_lost()


# -- what an app may not say --------------------------------------------------------------


async def test_no_credential_of_the_app_s_own_passes(serve: Serve) -> None:
    names = [
        b"x-serverless-authorization",
        b"proxy-authorization",
        b"x_serverless_authorization",
        b"x-forwarded-host",
    ]
    receiver, proxied, app = await serve(echo)
    await app.call(*((name, b"Bearer mine") for name in names), body=b"x").done()
    (asked,) = receiver.streams
    assert b"Bearer mine" not in dict(asked.pairs).values()
    mine = await app.call((b"authorization", b"Bearer mine"), body=b"x").done()
    assert mine.grpc[0] == 0
    asked = receiver.streams[-1]
    assert values(asked.pairs, b"authorization") == [b"Bearer mine"]
    assert values(asked.pairs, b"x-serverless-authorization") == [f"Bearer {proxied.token}".encode()]


async def test_a_head_that_comes_again_is_judged_again_after_a_reload(serve: Serve) -> None:
    receiver, proxied, app = await serve(echo)
    server = proxied.server
    await eventually(lambda: server.ready, "no token")
    for _ in range(4):  # from the third on it is remembered
        assert (await app.call(body=b"x").done()).grpc[0] == 0
    first, *others = [sorted(asked.pairs) for asked in receiver.streams]
    assert others == [first] * 3
    before = server.settings
    (route,) = before.routes
    await server.reload(replace(before, routes=(replace(route, methods=frozenset({"GET"})),)))
    assert (await app.call(body=b"x").done()).grpc[0] == 12
    await server.reload(before)
    assert (await app.call(body=b"x").done()).grpc[0] == 0
    assert len(receiver.streams) == 5


async def test_another_host_is_refused(serve: Serve) -> None:
    receiver, _, app = await serve(echo)
    stream_id = app.h2.get_next_available_stream_id()
    app.h2.send_headers(
        stream_id,
        [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"evil.test"), (b":path", b"/")],
        end_stream=True,
    )
    app.flush()
    await app.until(lambda: stream_id in app.streams and app.streams[stream_id].ended)
    assert app.streams[stream_id].status == 403
    assert not receiver.streams


async def test_a_user_who_is_listed_no_more_gets_nothing_more(serve: Serve) -> None:
    """As in HTTP/1.1: what is under way comes to its end, and nothing else is begun. A stream both ways is a tunnel."""
    receiver, proxied, app = await serve(lambda stream: stream.head())
    call, both_ways = app.call(body=b"x"), app.call(body=b"x", end=False)
    for one in (call, both_ways):
        await one.until(lambda one: one.status == 200)
    context = proxied.server.context
    (connection,) = context.connections
    connection.uid = 1
    context.adopt(context.router)
    late = app.call(body=b"late")
    assert (await both_ways.done()).grpc[0] == 7
    await app.until(lambda: len(app.goaways) == 2)
    assert [last for last, _ in app.goaways] == [2**31 - 1, 3]
    receiver.streams[0].end((b"grpc-status", b"0"))
    await call.until(lambda call: call.ended)
    await app.until_lost()
    assert not late.pairs
    assert len(receiver.streams) == 2


async def test_a_stream_outlives_the_settings_that_it_began_under(serve: Serve) -> None:
    """And its connection to the receiver no longer than it."""
    receiver, proxied, app = await serve(lambda stream: stream.head())
    call = app.call(body=b"x", end=False)
    await call.until(lambda call: call.status == 200)
    proxied.pool.close()
    call.data(b"y", end=True)
    (asked,) = receiver.streams
    await asked.until(lambda asked: asked.ended)
    asked.end((b"grpc-status", b"0"))
    assert (await call.done()).grpc == (0, "")
    await receiver.peers[0].until_lost()
    assert not proxied.pool.live
