"""What was found open at the door for HTTP/1.1, tried at the one for HTTP/2: each rule holds at both, or it holds at neither."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from idtoken_proxy.admin.probe import probe
from idtoken_proxy.engine.http2.hpack_encoder import literal
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import (
    GuardSettings,
    Limits,
    Timeouts,
    UnixAddress,
    Upstream,
    UpstreamProtocol,
)
from tests.engine.http2.peer import block, data, headers
from tests.engine.proxied import LOCAL, route_to
from tests.engine.wire import Receiver, Wire, connect, eventually, get
from tests.hostile.process import serving
from tests.hostile.raw_http2 import (
    ACKNOWLEDGED,
    CALL,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    OK,
    PREFACE,
    Raw,
    Script,
    attacked,
    frame,
    rst,
    serve,
    settings,
)
from tests.hostile.test_foreign_text import OBEYED

Fields = tuple[tuple[bytes, bytes], ...]
EVIL: Final = (b"origin", b"http://evil.test")


def asking(
    *fields: tuple[bytes, bytes],
    authority: bytes = b"localhost",
    method: bytes = b"GET",
    path: bytes = b"/",
    scheme: bytes = b"http",
) -> list[tuple[bytes, bytes]]:
    return [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path), *fields]


async def statuses(app: Raw, *heads: list[tuple[bytes, bytes]]) -> list[int | None]:
    """Of each, three times: what was made of a head is remembered at the second. None: its stream was reset."""
    found: list[int | None] = []
    first = max(app.streams, default=-1) + 2
    for number, head in enumerate(heads):
        seen = []
        for again in range(3):
            stream_id = first + 2 * (3 * number + again)
            app.send(headers(stream_id, head, end=True))
            seen.append((await app.done(stream_id)).status)
        assert len(set(seen)) == 1, (head, seen)
        found.append(seen[0])
    return found


# -- pages -----------------------------------------------------------------------------

UNTRUSTED: Final = b"proxy.test"
PAGES: Final[dict[str, list[tuple[bytes, bytes]]]] = {
    "nothing is said": asking(authority=UNTRUSTED),
    "a foreign referrer": asking((b"referer", b"http://evil.test/"), authority=UNTRUSTED),
    "a foreign referrer, and its own": asking(
        (b"referer", b"http://evil.test/"), (b"referer", b"http://proxy.test/"), authority=UNTRUSTED
    ),
    "a foreign origin": asking(EVIL),
    "a foreign origin under an untrusted name": asking(EVIL, authority=UNTRUSTED),
    "no origin": asking((b"origin", b"null")),
    "the name of another port": asking((b"origin", b"http://localhost:1")),
    "a page of another site": asking((b"sec-fetch-site", b"cross-site")),
    "a page of the same site": asking((b"sec-fetch-site", b"same-site"), authority=b"a.localhost"),
    "a preflight": asking(EVIL, (b"access-control-request-method", b"PUT"), method=b"OPTIONS"),
    "a call of gRPC-Web": asking(EVIL, (b"content-type", b"application/grpc-web"), method=b"POST"),
    "a rebound name": asking(authority=b"evil.test"),
    "a name that begins well": asking(authority=b"localhost.evil.test"),
    "an address that begins well": asking(authority=b"127.0.0.1.evil.test"),
    "an address in brackets": asking(authority=b"[::1].evil.test"),
    "behind a colon": asking(authority=b"localhost:80.evil.test"),
}


async def test_no_page_gets_through_whatever_it_says_or_leaves_out(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve, guard=GuardSettings(allowed_hosts=("proxy.test",))) as world:
        app = await world.app()
        for name, head in PAGES.items():
            (status,) = await statuses(app, head)
            assert status in (400, 403), (name, status)
        assert not world.receiver.connections
        own = (
            (b"referer", b"http://proxy.test/x"),
            (b"sec-fetch-site", b"same-origin"),
            (b"origin", b"http://proxy.test"),
        )
        said = [asking(one, authority=UNTRUSTED) for one in own]
        assert await statuses(app, asking(), *said) == [200] * 4
        app.close()


# -- whose request it is, and where it leads ---------------------------------------------


async def test_a_receiver_s_name_is_no_name_of_the_proxy_s(tmp_path: Path) -> None:
    """What a forward proxy is asked for by HTTP/1.1 in absolute form has no form here."""
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        server = world.proxied.server
        (route,) = server.settings.routes
        receiver = b"svc.a.run.app"
        service = replace(
            route, name="service", path="/svc", upstream=Upstream("https", receiver.decode(), 443)
        )
        await server.reload(replace(server.settings, routes=(route, service)))
        named = [
            asking(authority=authority, scheme=scheme)
            for authority in (receiver, receiver + b":443", receiver.upper(), b"metadata.google.internal")
            for scheme in (b"http", b"https")
        ]
        assert await statuses(app, *named) == [403] * 8
        strange = [
            asking((b"host", receiver)),
            asking(path=b"http://" + receiver + b"/"),
            asking(path=b"//" + receiver + b"/", authority=b"evil.test"),
            asking(path=b"*"),
            asking(path=b"*", method=b"OPTIONS", authority=receiver),
            asking(authority=b"user@localhost"),
            asking(authority=b"localhost/evil"),
            asking(authority=b""),
            [(b":method", b"CONNECT"), (b":authority", receiver)],
            [*asking(method=b"CONNECT"), (b":protocol", b"websocket")],
            asking(method=b"TRACE"),
        ]
        for head in strange:
            (status,) = await statuses(app, head)
            assert status is None or status in (400, 403, 405), (head, status)
        assert not world.receiver.connections
        app.close()


SPELLINGS: Final = (
    *(b"/v1/jobs%3apurge", b"/v1/jobs%3Apurge", b"/v1/jobs%253Apurge", b"/V1/jobs:purge", b"/v1//jobs:purge"),
    *(b"/v1/./jobs:purge", b"/x/../v1/jobs:purge", b"/x/%2e%2e/v1/jobs:purge", b"/v1%2fjobs:purge"),
    *(
        b"/v1/jobs:purge;x",
        b"/v1/jobs:purge.",
        b"/v1/jobs:purge%20",
        b"/%u0076%u0031/jobs:purge",
        b"/v1\\jobs:purge",
    ),
)


async def test_no_spelling_of_a_path_gets_around_its_route(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve) as world:
        server = world.proxied.server
        (route,) = server.settings.routes
        purge = replace(route, name="purge", path="/v1/jobs:purge", methods=frozenset({"GET"}))
        await server.reload(replace(server.settings, routes=(route, purge)))
        app = await world.app()
        assert await statuses(app, asking(method=b"DELETE", path=b"/v1/jobs:purge")) == [405]
        for path in SPELLINGS:
            (status,) = await statuses(app, asking(method=b"DELETE", path=path))
            assert status is None or status in (400, 404, 405), (path, status)
        assert not world.receiver.connections
        assert await statuses(
            app, asking(method=b"DELETE", path=b"/v1/jobs"), asking(path=b"/v1/jobs:purge")
        ) == [200, 200]
        app.close()


# -- what a reload takes away ------------------------------------------------------------


async def over_unix(path: Path) -> Raw:
    _, wire = await asyncio.get_running_loop().create_unix_connection(Wire, str(path))
    app = Raw(wire)
    app.send(PREFACE + settings() + ACKNOWLEDGED)
    return app


@pytest.mark.parametrize("how", ["another user alone", "no user but the proxy's", "the socket is gone"])
async def test_an_open_connection_has_no_more_than_who_comes_today(tmp_path: Path, how: str) -> None:
    with TemporaryDirectory() as made:
        door = UnixAddress(str(Path(made) / "proxy.sock"))
        uid = os.getuid() if how != "no user but the proxy's" else 12345
        listed = GuardSettings(allowed_uids=frozenset({uid, os.getuid()}))
        async with attacked(tmp_path, serve, listen=(door, *LOCAL), guard=listed) as world:
            server = world.proxied.server
            app = await over_unix(Path(door.path))
            assert await statuses(app, asking()) == [200]
            if uid != os.getuid():
                (connection,) = world.attackers
                connection.uid = uid
            before = server.settings
            after = {
                "another user alone": replace(
                    before, guard=GuardSettings(allowed_uids=frozenset({os.getuid() + 1}))
                ),
                "no user but the proxy's": replace(before, guard=GuardSettings()),
                "the socket is gone": replace(before, listen=LOCAL, guard=GuardSettings()),
            }[how]
            await server.reload(after)
            asked = len(world.receiver.connections), world.received
            app.send(b"".join(headers(one, asking(), end=True) for one in range(101, 121, 2)))
            await app.gone()
            if how != "the socket is gone":  # whose last requests may have been on their way
                assert (len(world.receiver.connections), world.received) == asked
            app.close()


async def test_a_route_that_is_gone_is_gone_for_open_connections_too(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve) as world:
        server = world.proxied.server
        (route,) = server.settings.routes
        app = await world.app()
        head = asking(path=b"/a/b")
        assert await statuses(app, head) == [200]
        await server.reload(replace(server.settings, routes=(replace(route, path="/other"),)))
        assert await statuses(app, head) == [404]
        narrow = replace(route, path="/a", methods=frozenset({"POST"}))
        await server.reload(replace(server.settings, routes=(narrow,)))
        assert await statuses(app, head) == [405]
        app.close()


# -- what others write -------------------------------------------------------------------

WRITES: Final = b"\x1b[2J\x1b]0;hunter2\x07\x9b31m\r\nhunter2: \xe2\x80\xae\x00"


async def test_nothing_that_a_peer_says_by_http2_reaches_the_log_as_it_is(tmp_path: Path) -> None:
    """GOAWAY's debug data of either side, statuses' messages, and paths, whose octets are cut at a length too."""

    async def foul(wire: Wire) -> None:
        raw = await Raw.receiver(wire)
        told = set[int]()
        while not wire.ended:
            raw.look()
            for one, seen in list(raw.streams.items()):
                if seen.reset is None and one not in told:
                    told.add(one)
                    if seen.all(b":path") == [b"/goaway"]:
                        raw.send(frame(GOAWAY, 0, 0, bytes(4) + b"\0\0\0\x02" + WRITES))
                    elif seen.all(b":path") == [b"/reset"]:
                        raw.send(rst(one, 0xDEADBEEF))
                    else:
                        message = b"\x1b[2J hunter2 \x9b"
                        raw.send(
                            headers(one, [*OK, (b"grpc-status", b"13"), (b"grpc-message", message)], end=True)
                        )
            wire._news.clear()
            await wire._news.wait()

    async with Receiver(foul) as receiver, serving(tmp_path, receiver.port) as process:
        app = await Raw.app(process.port)
        long = b"/" + b"%1b[2J" * 2000
        for number, path in enumerate((b"/say", b"/goaway", b"/reset", long, b"/\xc2\x9b31m")):
            app.send(headers(2 * number + 1, [*CALL[:3], (b":path", path), *CALL[4:]], end=True))
        await app.until(lambda app: sum(seen.over for seen in app.streams.values()) == 5)
        app.send(frame(GOAWAY, 0, 0, bytes(8) + WRITES))
        app.send(frame(0x3, 0, 0, WRITES))  # RST_STREAM of no stream: a fault
        await app.gone()
        await eventually(lambda: b"HTTP/2 connection ended" in process.said, "it says nothing")
        app.close()
        said = bytes(process.said).decode("utf-8")
    assert "hunter2" not in said
    assert OBEYED.search(said) is None
    assert max(map(len, said.splitlines())) < 4096


# -- our own clients -----------------------------------------------------------------------


async def drips(wire: Wire) -> None:
    raw = await Raw.receiver(wire)
    await raw.until(lambda raw: raw.stream(1).heads)
    raw.send(headers(1, OK))
    while not wire.ended:
        raw.send(data(1, b"x"))
        await asyncio.sleep(0.02)


async def floods(wire: Wire) -> None:
    """As far as the windows allow, and further."""
    raw = await Raw.receiver(wire)
    await raw.until(lambda raw: raw.stream(1).heads)
    raw.send(headers(1, OK), *[data(1, bytes(16384))] * 1000)
    await wire.gone()


async def says_nothing(wire: Wire) -> None:
    await wire.gone()


async def hints(wire: Wire) -> None:
    raw = await Raw.receiver(wire)
    await raw.until(lambda raw: raw.stream(1).heads)
    raw.send(headers(1, [(b":status", b"103")]) * 5000)
    await wire.gone()


@pytest.mark.parametrize("script", [drips, floods, says_nothing, hints])
async def test_doctor_s_own_question_by_http2_has_one_deadline_and_a_bound(script: Script) -> None:
    sweeper = Sweeper(0.05)
    loop = asyncio.get_running_loop()
    async with Receiver(script) as receiver:
        brief = replace(Timeouts(), connect=0.3, response=0.3)
        route = route_to(
            receiver,
            None,
            protocol=UpstreamProtocol.HTTP2,
            timeouts=brief,
            audience=None,
            identity=NoIdentity(),
        )
        began = loop.time()
        found = await probe(route, None, sweeper, None, patience=0.3)
        assert loop.time() - began < 2
    sweeper.close()
    if script in (drips, floods):
        assert found.answer is not None
        assert found.answer.status == 200
        assert len(found.answer.body or "") <= 1024 * 1024
    else:
        assert found.answer is None
        assert found.error is not None


# -- how many ------------------------------------------------------------------------------


async def test_connections_are_counted_whatever_they_speak(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve, limits=Limits(connections=3)) as world:
        first, second = await world.app(), await world.app()
        plain = await connect(world.port)
        plain.send(get("/x")[:10])
        await eventually(lambda: len(world.proxied.server.context.connections) == 3, "they do not come")
        refused = await Raw.app(world.port)
        await refused.wire.gone()
        assert refused.wire.received.startswith(b"HTTP/1.1 503 ")
        first.close()
        await eventually(lambda: len(world.proxied.server.context.connections) == 2, "it does not go")
        third = await world.app()
        assert await statuses(third, asking(path=b"/dead")) != [503]
        for one in (second, third, refused):
            one.close()
        plain.transport.abort()


async def test_a_caller_s_secret_is_asked_of_each_request_and_a_new_one_opens_from_then_on(
    tmp_path: Path,
) -> None:
    """From a client's table too, where the old one goes on standing for as long as its connection lives."""
    secret, header = tmp_path / "secret", b"x-idtoken-proxy-caller"
    old, new = b"o" * 32, b"n" * 32
    secret.write_bytes(old)
    secret.chmod(0o600)
    guard = GuardSettings(caller_token_file=str(secret), caller_token_header=header.decode())

    def indexed(value: bytes, stream_id: int, prefix: bytes = b"") -> bytes:
        return frame(HEADERS, END_HEADERS | END_STREAM, stream_id, block(asking()) + prefix + value)

    async with attacked(tmp_path, serve, guard=guard) as world:
        server = world.proxied.server
        app = await world.app()
        told = []
        for number, said in enumerate((literal(0, header, old, 0x40, 0x3F), b"\xbe", b"\xbe", b"", b"")):
            app.send(indexed(said, 2 * number + 1))
            told.append((await app.done(2 * number + 1)).status)
        assert told == [200, 200, 200, 403, 403]
        secret.write_bytes(new)
        await server.reload(server.settings)
        for number, said in enumerate((b"\xbe", b"\xbe", literal(0, header, new, 0x10, 0x0F), b"\xbe"), 5):
            app.send(indexed(said, 2 * number + 1))
            told.append((await app.done(2 * number + 1)).status)
        assert told[5:] == [403, 403, 200, 403]
        app.close()
