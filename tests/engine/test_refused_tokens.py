"""Google's own 401 on the wire, whatever the request was; and what is kept for it, let go on every way out."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from idtoken_proxy.engine.kept_body import MAX_BODY
from idtoken_proxy.settings.model import Scopes, Timeouts, UpstreamProtocol
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.http2_peers import Stream, http2_receiver
from tests.engine.proxied import Proxied, make_token
from tests.engine.test_tunnel import HANDSHAKE
from tests.engine.wire import Receiver, Script, Wire, chunked, eventually, get, ok, post

GOOGLES = (
    b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nWWW-Authenticate: Bearer error="invalid_token" '
    b'error_description="The access token could not be verified"\r\n\r\nno'
)
APPS_OWN = b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nWWW-Authenticate: Bearer error="invalid_token"\r\n\r\nno'
EXPECT = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


class ServerContext:
    """Refuses a token as Google does: those of `old`. `ran`: bodies that its code has had."""

    def __init__(self, old: str, *, before: bytes = b"") -> None:
        self.old = {f"Bearer {old}"}
        self.before = before
        self.ran: list[bytes] = []

    async def __call__(self, wire: Wire) -> None:
        while True:
            request = await wire.request()
            if request.one("authorization") in self.old:
                wire.send(self.before + GOOGLES)
            else:
                self.ran.append(request.body)
                wire.send(ok())


async def warm(start: Start, receiver: Receiver, timeouts: Timeouts | None = None) -> Proxied:
    """Its token is in the cache: that alone may be refused for its age."""
    proxied = await start(receiver, timeouts=timeouts)
    slot = proxied.server.context.router.entries[0].slot
    assert slot is not None
    await eventually(lambda: slot.current() is not None, "no token")
    return proxied


async def begun(
    start: Start, receiver: Receiver, token_file: Path, timeouts: Timeouts | None = None
) -> tuple[Proxied, str]:
    """A proxy whose token Google has come to refuse, and the one that its source has by now."""
    proxied = await warm(start, receiver, timeouts)
    fresh = make_token(lifetime=3000.0)
    token_file.write_text(fresh)
    return proxied, fresh


def held(proxied: Proxied) -> int:
    return proxied.server.context.router.bodies.octets


def fetches(proxied: Proxied) -> int:
    seen = proxied.server.context.stats.fetches.values()
    return sum(one.fresh + one.unchanged + one.failed for one in seen)


def replays(proxied: Proxied) -> int:
    return proxied.server.context.router.entries[0].counts.replays


SMALL = b"x" * MAX_BODY


def at_the_head(answer: bytes) -> Script:
    """Answers at a request's head; the rest is read later."""

    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.send(answer)

    return script


@pytest.mark.parametrize("framing", ["Content-Length: 4", "Transfer-Encoding: chunked"])
async def test_an_answer_before_the_body_was_whole_passes(
    receive: Receive, start: Start, token_file: Path, framing: str
) -> None:
    receiver = await receive(at_the_head(GOOGLES))
    proxied, _ = await begun(start, receiver, token_file)
    app = await proxied.connect()
    app.send(get("/", framing, method="POST"))
    assert (await app.response()).status == 401
    app.send(b"once" if "Length" in framing else chunked(b"once"))
    await eventually(lambda: fetches(proxied) == 2, "no renewal")
    await app.gone()
    assert (held(proxied), replays(proxied), len(receiver.connections)) == (0, 0, 1)


async def test_nor_is_it_said_again_where_the_answer_had_but_begun(
    receive: Receive, start: Start, token_file: Path
) -> None:
    receiver = await receive(at_the_head(GOOGLES[:20]))
    proxied, _ = await begun(start, receiver, token_file)
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 4", method="POST") + b"on")
    far = await receiver.connection()
    await eventually(
        lambda: len(proxied.pool.connections) == 1, "the receiver has it, and the proxy has not yet"
    )
    (upstream,) = proxied.pool.connections
    await eventually(lambda: upstream.answering, "no answer")
    app.send(b"ce")
    await eventually(lambda: far.received.endswith(b"once"), "no body")
    far.send(GOOGLES[20:])
    assert (await app.response()).status == 401
    await eventually(lambda: fetches(proxied) == 2, "no renewal")
    assert (held(proxied), replays(proxied)) == (0, 0)


async def test_after_100_continue_it_is_said_again_without_asking(
    receive: Receive, start: Start, token: str, token_file: Path
) -> None:
    async def script(wire: Wire) -> None:
        head = await wire.until(b"\r\n\r\n")
        if token.encode() in head:
            wire.send(EXPECT)
            assert await wire.exactly(4) == b"once"
            wire.send(GOOGLES)
        else:
            assert b"expect" not in head.lower()
            assert await wire.exactly(4) == b"once"
            wire.send(ok())

    proxied, _ = await begun(start, await receive(script), token_file)
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 4", "Expect: 100-continue", method="POST"))
    assert (await app.response()).status == 100
    app.send(b"once")
    assert (await app.response()).status == 200


async def test_a_refusal_in_place_of_100_renews(receive: Receive, start: Start, token_file: Path) -> None:
    proxied, _ = await begun(start, await receive(at_the_head(GOOGLES)), token_file)
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 4", "Expect: 100-continue", method="POST"))
    assert (await app.response()).status == 401
    await eventually(lambda: fetches(proxied) == 2, "no renewal")
    app.close()


@pytest.mark.parametrize(
    ("request_", "again"), [(post(b"once"), False), (get("/", method="POST"), False), (get("/"), True)]
)
async def test_once_the_receiver_s_code_has_spoken_only_what_changes_nothing(
    receive: Receive,
    start: Start,
    token: str,
    token_file: Path,
    request_: bytes,
    again: bool,  # noqa: FBT001
) -> None:
    proxied, _ = await begun(start, await receive(ServerContext(token, before=HINTS)), token_file)
    app = await proxied.connect()
    app.send(request_)
    assert (await app.response()).status == 103
    assert (await app.response()).status == (200 if again else 401)
    await eventually(lambda: fetches(proxied) == 2, "no renewal")
    assert replays(proxied) == int(again)


@pytest.mark.parametrize("request_", [post(b"once"), post(SMALL + b"x"), HANDSHAKE, get("/")])
async def test_a_receiver_that_refuses_all_tokens_costs_one(
    receive: Receive, start: Start, token_file: Path, request_: bytes
) -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            wire.send(GOOGLES)

    proxied, _ = await begun(start, await receive(script), token_file)
    count = 1000 if len(request_) < 1000 else 50
    for done in range(0, count, 50):
        answers = await asyncio.gather(*(proxied.ask(request_) for _ in range(50)))
        assert {answer.status for answer in answers} == {401}, done
    assert fetches(proxied) == 2
    assert replays(proxied) <= 50  # those that had the first token
    await eventually(lambda: held(proxied) == 0, "bodies are kept")


# -- every way out -----------------------------------------------------------------

WaysOut = Callable[[Wire, Wire], object]
OUT: dict[str, WaysOut] = {
    "the app closes": lambda app, _: app.close(),
    "the app resets": lambda app, _: app.reset(),
    "the receiver closes": lambda _, far: far.close(),
    "the receiver resets": lambda _, far: far.reset(),
    "the receiver answers": lambda _, far: far.send(ok()),
    "the receiver answers rubbish": lambda _, far: far.send(b"rubbish\r\n\r\n"),
    "the receiver's answer is endless": lambda _, far: far.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    ),
    "nothing happens": lambda *_: None,
}


@for_each("out", OUT)
@for_each("whole", [True, False], ids=["whole", "half"])
async def test_it_is_let_go_on_every_way_out(
    receive: Receive,
    start: Start,
    out: str,
    whole: bool,  # noqa: FBT001
) -> None:
    async def silent(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")

    receiver = await receive(silent)
    proxied = await warm(start, receiver, Timeouts(response=30, idle=30))
    app = await proxied.connect()
    app.send(get("/", "Content-Length: 8", method="POST") + (b"over8888" if whole else b"over"))
    await eventually(lambda: held(proxied) == (8 if whole else 4), "nothing is kept")
    OUT[out](app, await receiver.connection())
    if out == "the receiver's answer is endless":
        await app.wait(lambda: bool(app.received))
    if out in ("nothing happens", "the receiver's answer is endless"):
        await proxied.elapse(31)
    await eventually(lambda: held(proxied) == 0, "it is kept for ever")
    app.close()


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"3\r\nabcd"])
async def test_a_malformed_body_is_let_go(receive: Receive, start: Start, chunk: bytes) -> None:
    async def silent(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")

    proxied = await warm(start, await receive(silent))
    app = await proxied.connect()
    app.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"4\r\nonce\r\n")
    await eventually(lambda: held(proxied) == 4, "nothing is kept")
    app.send(chunk)
    assert (await app.response()).status == 400
    assert held(proxied) == 0


async def test_an_app_that_goes_while_the_token_is_renewed_leaves_a_new_one(
    receive: Receive, start: Start, token: str, token_file: Path
) -> None:
    context = ServerContext(token)
    receiver = await receive(context)
    proxied, fresh = await begun(start, receiver, token_file)
    slot = proxied.server.context.router.entries[0].slot
    assert slot is not None
    app = await proxied.connect()
    app.send(post(b"once"))
    await eventually(lambda: replays(proxied) == 1, "no refusal")
    app.reset()
    await eventually(lambda: (token := slot.current()) is not None and token.value == fresh, "no renewal")
    await eventually(lambda: not proxied.server.context.connections, "the app is not gone")
    assert held(proxied) == 0
    assert (await proxied.ask(post(b"then"))).status == 200
    assert context.ran[-1] == b"then"


async def test_a_second_try_whose_connection_breaks_is_the_last(
    receive: Receive, start: Start, token: str, token_file: Path
) -> None:
    """The receiver's code may have begun: a POST reaches it at most once."""

    async def script(wire: Wire) -> None:
        request = await wire.request()
        if request.one("authorization") == f"Bearer {token}":
            wire.send(GOOGLES)
        else:
            wire.close()

    receiver = await receive(script)
    proxied, _ = await begun(start, receiver, token_file)
    assert (await proxied.ask(post(b"once"))).status == 502
    assert len(receiver.requests) == 2
    assert held(proxied) == 0


API = {"audience": None, "scopes": Scopes()}
UNAUTHENTICATED = b'{"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}}'


def of_an_api(body: bytes, *fields: bytes) -> bytes:
    lines = b"".join(one + b"\r\n" for one in (b"Content-Length: %d" % len(body), *fields))
    return b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n" + lines + b"\r\n"


@for_each(
    ("body", "fields", "renewals"),
    [
        (UNAUTHENTICATED, (), 1),
        (gzip.compress(UNAUTHENTICATED), (b"Content-Encoding: gzip",), 1),
        (b'{"error": {"code": 401, "message": "no"}}', (), 0),
        (b"\x1f\x8bnone", (b"Content-Encoding: gzip",), 0),
    ],
)
async def test_an_api_s_status_that_comes_behind_the_head_renews(
    receive: Receive, start: Start, token_file: Path, body: bytes, fields: tuple[bytes, ...], renewals: int
) -> None:
    """The head is out by then: the next request has the new token."""
    seen = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.until(b"\r\n\r\n")
        wire.send(of_an_api(body, *fields))
        await seen.wait()
        wire.send(body)

    receiver = await receive(script)
    token_file.write_text("ya29.old")
    proxied = await start(receiver, route=API)
    slot = proxied.server.context.router.entries[0].slot
    assert slot is not None
    await eventually(lambda: slot.current() is not None, "no token")
    token_file.write_text("ya29.new")
    app = await proxied.connect()
    app.send(get("/"))
    assert (await app.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
    seen.set()
    assert await app.exactly(len(body)) == body
    await eventually(lambda: fetches(proxied) == 1 + renewals, "no renewal")
    token = slot.current()
    assert token is not None
    assert token.value == ("ya29.new" if renewals else "ya29.old")
    assert replays(proxied) == 0


async def test_over_http2_it_does_so_too(start: Start, token_file: Path) -> None:
    def answers(stream: Stream) -> None:
        if stream.one("authorization") == "Bearer ya29.new":
            stream.head(end=True)
            return
        stream.head((b"content-type", b"application/json"), status=401)
        stream.data(UNAUTHENTICATED, end=True)

    async with http2_receiver(answers) as receiver:
        token_file.write_text("ya29.old")
        proxied = await start(receiver.port, route={**API, "protocol": UpstreamProtocol.HTTP2})
        slot = proxied.server.context.router.entries[0].slot
        assert slot is not None
        await eventually(lambda: slot.current() is not None, "no token")
        token_file.write_text("ya29.new")
        app = await proxied.connect()
        app.send(get("/"))
        assert (await app.response()).status == 401
        await eventually(lambda: fetches(proxied) == 2, "no renewal")
        app.send(get("/"))
        assert (await app.response()).status == 200
