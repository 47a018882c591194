"""What RFC 9113 demands of whoever receives frames, asked of a proxy that runs. An attack's table (test_http2.py) has more."""

from __future__ import annotations

from pathlib import Path

import pytest

from idtoken_proxy.engine.http2.hpack_encoder import literal
from tests.cases import for_each
from tests.engine.http2.peer import GET, POST, block, data, headers
from tests.hostile.raw_http2 import (
    ACK,
    ACKNOWLEDGED,
    CALL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST,
    PING,
    PREFACE,
    PRIORITY,
    RST,
    SETTINGS,
    WINDOW,
    attacked,
    frame,
    goaway,
    rst,
    serve,
    settings,
    window,
)

PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION = 1, 3, 5, 6, 9
OPEN = headers(1, POST)
HALF = headers(1, GET, end=True)
PADDED = frame(HEADERS, 0x2D, 1, b"\x04\x80\0\0\0\x10" + block(GET) + bytes(4))  # and a priority

# RFC 9113's section, what is sent, and how the connection ends.
OF_THE_CONNECTION: dict[str, tuple[bytes, int]] = {
    "4.1 a short PING": (frame(PING, 0, 0, b"x"), SIZE),
    "4.2 DATA longer than a frame may be": (OPEN + frame(DATA, 0, 1, bytes(16_385)), SIZE),
    "4.2 HEADERS longer than a frame may be": (frame(HEADERS, 0x5, 1, bytes(16_385)), SIZE),
    "4.2 SETTINGS longer than a frame may be": (frame(SETTINGS, 0, 0, bytes(16_386)), SIZE),
    "4.3 a block that cannot be decoded": (frame(HEADERS, 0x5, 1, b"\xbf"), COMPRESSION),
    "5.1 DATA on an idle stream": (data(1, b"x"), PROTOCOL),
    "5.1 RST_STREAM on an idle stream": (rst(1), PROTOCOL),
    "5.1 WINDOW_UPDATE on an idle stream": (window(1, 1), PROTOCOL),
    "5.1 CONTINUATION on an idle stream": (frame(CONTINUATION, END_HEADERS, 1), PROTOCOL),
    "5.1 DATA behind the app's reset": (OPEN + rst(1) + data(1, b"x"), CLOSED),
    "5.1 HEADERS behind the app's reset": (OPEN + rst(1) + headers(1, GET, end=True), CLOSED),
    "5.1 CONTINUATION behind the end": (
        headers(1, POST, end=True) + frame(CONTINUATION, END_HEADERS, 1),
        PROTOCOL,
    ),
    "5.1.1 an even id": (headers(2, GET, end=True), PROTOCOL),
    "5.1.1 an id below the last": (headers(5, GET, end=True) + headers(3, GET, end=True), PROTOCOL),
    "6.1 DATA on stream 0": (frame(DATA, 0, 0, b"x"), PROTOCOL),
    "6.1 padding beyond the frame": (OPEN + frame(DATA, 0x8, 1, b"\x05xx"), PROTOCOL),
    "6.2 HEADERS on stream 0": (headers(0, GET, end=True), PROTOCOL),
    "6.2 padding beyond the frame": (frame(HEADERS, 0xD, 1, b"\xff" + block(GET)), PROTOCOL),
    "6.2 another frame within a head": (
        frame(HEADERS, 1, 1, block(GET)) + frame(PING, 0, 0, bytes(8)),
        PROTOCOL,
    ),
    "6.2 another head within a head": (
        frame(HEADERS, 1, 1, block(GET)) + headers(3, GET, end=True),
        PROTOCOL,
    ),
    "6.2 PRIORITY within a head": (
        frame(HEADERS, 1, 1, block(GET)) + frame(PRIORITY, 0, 1, bytes(5)),
        PROTOCOL,
    ),
    "5.5 an unknown frame within a head": (frame(HEADERS, 1, 1, block(GET)) + frame(0xFA, 0, 1), PROTOCOL),
    "6.3 PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "6.4 RST_STREAM on stream 0": (rst(0), PROTOCOL),
    "6.4 a short RST_STREAM": (OPEN + frame(RST, 0, 1, bytes(3)), SIZE),
    "6.5 SETTINGS on a stream": (frame(SETTINGS, 0, 1), PROTOCOL),
    "6.5 an acknowledgment with a payload": (frame(SETTINGS, ACK, 0, bytes(6)), SIZE),
    "6.5 SETTINGS in odd octets": (frame(SETTINGS, 0, 0, bytes(5)), SIZE),
    "6.5.2 ENABLE_PUSH of 2": (settings(push=2), PROTOCOL),
    "6.5.2 a window beyond the largest": (settings(window=LARGEST + 1), FLOW),
    "6.5.2 too small a frame": (settings(frame=16_383), PROTOCOL),
    "6.5.2 too large a frame": (settings(frame=1 << 24), PROTOCOL),
    "6.7 PING on a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL),
    "6.8 GOAWAY on a stream": (frame(7, 0, 1, bytes(8)), PROTOCOL),
    "6.9 WINDOW_UPDATE of 0": (window(0, 0), PROTOCOL),
    "6.9 a short WINDOW_UPDATE": (frame(WINDOW, 0, 0, bytes(3)), SIZE),
    "6.9.1 a window beyond the largest": (window(0, LARGEST), FLOW),
    "6.9.2 a window that SETTINGS lift too high": (
        settings(window=0) + headers(1, POST) + window(1, LARGEST) + settings(window=1),
        FLOW,
    ),
    "6.10 CONTINUATION on another stream": (
        frame(HEADERS, 1, 1, block(GET)) + frame(CONTINUATION, END_HEADERS, 3, b""),
        PROTOCOL,
    ),
    "6.10 CONTINUATION on stream 0": (
        frame(HEADERS, 1, 1, block(GET)) + frame(CONTINUATION, END_HEADERS, 0),
        PROTOCOL,
    ),
    "6.10 CONTINUATION behind DATA": (OPEN + data(1, b"x") + frame(CONTINUATION, END_HEADERS, 1), PROTOCOL),
    "6.10 CONTINUATION behind the last of its kind": (
        frame(HEADERS, 1, 1, block(GET)) + frame(CONTINUATION, END_HEADERS, 1) * 2,
        PROTOCOL,
    ),
    "6.10 CONTINUATION behind the head's end": (OPEN + frame(CONTINUATION, END_HEADERS, 1), PROTOCOL),
    "6.9.2 a window beyond the largest, later": (HALF + settings(window=LARGEST + 1), FLOW),
    "RFC 7541 2.3.3 an index beyond both tables": (frame(HEADERS, 0x5, 1, block(GET) + b"\xc6"), COMPRESSION),
    "RFC 7541 4.2 a change of size at a block's end": (
        frame(HEADERS, 0x5, 1, block(GET) + b"\x3f\x01"),
        COMPRESSION,
    ),
    "RFC 7541 5.2 padding of eight bits": (
        frame(HEADERS, 0x5, 1, block(GET) + b"\x00\x01x\x82\x1f\xff"),
        COMPRESSION,
    ),
    "RFC 7541 5.2 padding of zeros": (frame(HEADERS, 0x5, 1, block(GET) + b"\x00\x01x\x81\x18"), COMPRESSION),
    "RFC 7541 5.2 the end of a string in one": (
        frame(HEADERS, 0x5, 1, block(GET) + b"\x00\x01x\x84\xff\xff\xff\xff"),
        COMPRESSION,
    ),
    "RFC 7541 6.1 an index of 0": (frame(HEADERS, 0x5, 1, block(GET) + b"\x80"), COMPRESSION),
    "RFC 7541 6.3 a table larger than we allow": (
        frame(HEADERS, 0x5, 1, b"\x3f\xe2\x1f" + block(GET)),
        COMPRESSION,
    ),
    "8.4 PUSH_PROMISE": (OPEN + frame(5, END_HEADERS, 1, bytes(4)), PROTOCOL),
}
# Of stream 1, and nothing else.
OF_THE_STREAM: dict[str, tuple[bytes, int]] = {
    "5.1 DATA behind the end": (headers(1, POST, end=True) + data(1, b"x"), CLOSED),
    "5.1 HEADERS behind the end": (headers(1, POST, end=True) + headers(1, GET, end=True), CLOSED),
    "6.3 a short PRIORITY": (OPEN + frame(PRIORITY, 0, 1, bytes(4)), SIZE),
    "6.9 WINDOW_UPDATE of 0": (OPEN + window(1, 0), PROTOCOL),
    "6.9.1 a window beyond the largest": (OPEN + window(1, LARGEST), FLOW),
    "8.1 trailers that are no end": (OPEN + headers(1, [(b"x-a", b"b")]), PROTOCOL),
    "8.1 a pseudo-field in trailers": (OPEN + headers(1, GET[:1], end=True), PROTOCOL),
    "8.1.1 a length that is not the DATA's": (
        headers(1, [*POST, (b"content-length", b"2")]) + data(1, b"x", end=True),
        PROTOCOL,
    ),
    "8.2.1 an upper-case name": (headers(1, [*GET, (b"X-A", b"b")], end=True), PROTOCOL),
    "8.2.2 connection": (headers(1, [*GET, (b"connection", b"x")], end=True), PROTOCOL),
    **{
        f"8.2.2 {name.decode()}": (headers(1, [*GET, (name, b"x")], end=True), PROTOCOL)
        for name in (b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
    },
    **{
        f"8.2.1 a value with {value!r}": (headers(1, [*GET, (b"x-a", value)], end=True), PROTOCOL)
        for value in (b"a\0", b"a\r", b"a\n", b" a", b"a\t")
    },
    **{
        f"8.2.1 a name with {name!r}": (headers(1, [*GET, (name, b"a")], end=True), PROTOCOL)
        for name in (b"a b", b"a:", b"a\x7f", b"\xe9", b"")
    },
    "8.3.1 two paths": (headers(1, [*GET, GET[3]], end=True), PROTOCOL),
    "8.3.1 two schemes": (headers(1, [GET[0], *GET[1:2], *GET[1:]], end=True), PROTOCOL),
    "8.3.1 a path of no form": (headers(1, [*GET[:3], (b":path", b"a")], end=True), PROTOCOL),
    "8.3.1 a user in the authority": (
        headers(
            1, [(name, b"a@localhost" if name == b":authority" else value) for name, value in GET], end=True
        ),
        PROTOCOL,
    ),
    "8.3.1 Host is another": (headers(1, [*GET, (b"host", b"other")], end=True), PROTOCOL),
    "8.5 CONNECT with a path": (
        headers(1, [(b":method", b"CONNECT"), (b":authority", b"localhost:1"), GET[3]], end=True),
        PROTOCOL,
    ),
    "8.2.2 te": (headers(1, [*GET, (b"te", b"gzip")], end=True), PROTOCOL),
    "8.3 an unknown pseudo-field": (headers(1, [*GET, (b":x", b"b")], end=True), PROTOCOL),
    "8.3 a response's pseudo-field": (headers(1, [*GET, (b":status", b"200")], end=True), PROTOCOL),
    "8.3 a pseudo-field behind a field": (headers(1, [(b"x-a", b"b"), *GET], end=True), PROTOCOL),
    "8.3.1 no method": (headers(1, GET[1:], end=True), PROTOCOL),
    "8.3.1 no scheme": (headers(1, [GET[0], *GET[2:]], end=True), PROTOCOL),
    "8.3.1 no path": (headers(1, GET[:3], end=True), PROTOCOL),
    "8.3.1 an empty path": (headers(1, [*GET[:3], (b":path", b"")], end=True), PROTOCOL),
    "8.3.1 two methods": (headers(1, [GET[0], *GET], end=True), PROTOCOL),
}
# Behind these, the request on stream 1 is answered.
BORNE: dict[str, bytes] = {
    "4.1 an unknown type": frame(0xFA, 0xFF, 0, b"x") + frame(0xFB, 0xFF, 77, b"x") + HALF,
    "4.2 the longest frame": OPEN + frame(DATA, END_STREAM, 1, bytes(16_384)),
    "6.5.3 a window twice in one SETTINGS": frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0" + b"\0\4\0\1\0\0")
    + HALF,
    "6.5.2 a push that is allowed": settings(push=1) + HALF,
    "6.9 a window beyond 2^16": window(0, 1 << 20) + HALF,
    "8.3 RFC 7540's h2 settings": frame(SETTINGS, 0, 0, b"\0\x08\0\0\0\1" + b"\0\x09\0\0\0\1") + HALF,
    "4.1 unknown flags": frame(PING, 0xFE, 0, bytes(8)) + frame(HEADERS, 0xD5 & ~0x28, 1, block(GET)),
    "4.1 the reserved bit": frame(HEADERS, 0x5, 0x80000001, block(GET)),
    "5.1 frames behind a reset of ours": headers(9, GET[:1]) + data(9, b"x") + window(9, 1) + rst(9) + headers(11, GET, end=True),
    "5.1 PRIORITY on an idle stream": frame(PRIORITY, 0, 99, bytes(5)) + HALF,
    "6.1 padding": OPEN + frame(DATA, 0x9, 1, b"\x03hello" + bytes(3)),
    "6.2 padding and priority": PADDED,
    "6.4 an unknown code": headers(9, POST) + rst(9, 0xFFFFFFFF) + headers(11, GET, end=True),
    "6.5.2 an unknown setting": frame(SETTINGS, 0, 0, b"\xff\xff\0\0\0\1") + HALF,
    "6.8 GOAWAY of the app's": goaway(0, 0x7F) + HALF,
    "6.10 a head in pieces": frame(HEADERS, END_STREAM, 1, block(GET)[:3])
    + frame(CONTINUATION, 0, 1, block(GET)[3:9])
    + frame(CONTINUATION, END_HEADERS, 1, block(GET)[9:]),
    "8.1 trailers": OPEN + data(1, b"x") + headers(1, [(b"x-a", b"b")], end=True),
    "RFC 7541 4.3 a table of nothing": frame(HEADERS, 0x5, 1, b"\x20" + block(GET) + literal(0, b"x", b"y", 0x40, 0x3F)),
}  # fmt: skip


@for_each("name", OF_THE_CONNECTION)
async def test_a_connection_error(tmp_path: Path, name: str) -> None:
    octets, code = OF_THE_CONNECTION[name]
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        app.send(octets)
        assert await app.gone() == code


@for_each("name", OF_THE_STREAM)
async def test_a_stream_error(tmp_path: Path, name: str) -> None:
    octets, code = OF_THE_STREAM[name]
    async with attacked(tmp_path, lambda wire: wire.until(PREFACE)) as world:
        app = await world.app()
        app.send(octets)
        await app.until(lambda app: app.stream(1).reset is not None)
        assert app.stream(1).reset == code
        app.send(frame(PING, 0, 0, bytes(8)))
        await app.until(lambda app: app.pongs)
        assert not app.goaways


@for_each("name", BORNE)
async def test_what_is_borne(tmp_path: Path, name: str) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        app.send(BORNE[name])
        stream_id = 11 if "reset of ours" in name or "unknown code" in name else 1
        assert (await app.done(stream_id)).clean
        assert not app.goaways


@pytest.mark.parametrize("first", [b"", frame(PING, 0, 0, bytes(8)), ACKNOWLEDGED, HALF])
async def test_the_first_frame_is_settings(tmp_path: Path, first: bytes) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app(first)
        if first:
            assert await app.gone() == PROTOCOL
        else:
            app.send(settings(), HALF)
            assert (await app.done(1)).clean


async def test_settings_and_pings_are_answered_in_their_order(tmp_path: Path) -> None:
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        for number in range(5):
            app.send(frame(PING, 0, 0, b"%08d" % number))
        await app.until(lambda app: app.pongs == 5)
        received = bytes(app.wire.received)
        assert [received.find(b"%08d" % n) for n in range(5)] == sorted(
            received.find(b"%08d" % n) for n in range(5)
        )


async def test_an_acknowledged_ping_is_not_answered(tmp_path: Path) -> None:
    """6.7, with one behind it that is."""
    async with attacked(tmp_path, serve) as world:
        app = await world.app()
        app.send(frame(PING, ACK, 0, b"not this"), frame(PING, 0, 0, b"but this"))
        await app.until(lambda app: app.pongs)
        assert app.pongs == 1
        assert b"not this" not in app.wire.received


@pytest.mark.parametrize(
    "octets", [PREFACE.replace(b"SM", b"MS") + ACKNOWLEDGED, PREFACE[:-1] + b"x" + ACKNOWLEDGED]
)
async def test_another_preface_is_none(tmp_path: Path, octets: bytes) -> None:
    """3.4: "Clients and servers MUST treat an invalid connection preface as a connection error"."""
    async with attacked(tmp_path, serve) as world:
        wire = await world.proxied.connect()
        wire.send(octets)
        await wire.gone()


async def test_a_window_of_one_octet_and_a_negative_one(tmp_path: Path) -> None:
    """6.9.1 and 6.9.2."""
    async with attacked(tmp_path, serve) as world:
        app = await world.app(settings(window=1) + ACKNOWLEDGED)
        app.send(headers(1, CALL), data(1, b"probe", end=True))
        await app.until(lambda app: app.stream(1).body)
        assert len(app.stream(1).body) == 1
        app.send(settings(window=0), window(1, 1), frame(PING, 0, 0, bytes(8)))
        await app.until(lambda app: app.pongs)
        assert len(app.stream(1).body) == 1  # the window was -1, and is 0
        app.send(window(1, 1), frame(PING, 0, 0, bytes(8)))
        await app.until(lambda app: app.pongs == 2)
        assert len(app.stream(1).body) == 2
        app.send(settings(window=1000))
        assert (await app.done(1)).clean
