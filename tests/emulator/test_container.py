from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from multidict import CIMultiDict
from yarl import URL

from idtoken_proxy.emulator.container import BLOCK
from idtoken_proxy.emulator.emulator import Emulator
from tests.cases import for_each


@pytest.fixture
def public(emulator: Emulator) -> str:
    return emulator.urls["public"]


async def test_it_tells_what_it_received(public: str, client: aiohttp.ClientSession) -> None:
    body = gzip.compress(b"as it came")
    headers = CIMultiDict([("X-Twice", "1"), ("X-Twice", "2"), ("Content-Encoding", "gzip")])
    url = URL(public + "/a%20b//c?x=%2F&y", encoded=True)
    response = await client.post(url, data=body, headers=headers)
    told = await response.json()
    assert told["service"] == "public"
    assert told["method"] == "POST"
    assert told["path"] == "/a%20b//c?x=%2F&y"
    assert told["body"] == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert [pair for pair in told["headers"] if pair[0].lower() == "x-twice"] == [
        ["X-Twice", "1"],
        ["X-Twice", "2"],
    ]


async def test_it_tells_one_line_a_key(public: str, client: aiohttp.ClientSession) -> None:
    text = await (await client.get(public)).text()
    assert text.splitlines()[1:3] == ['  "service": "public",', '  "caller": null,']
    assert text.endswith("]]\n}\n")


async def test_a_websocket_echoes(public: str, client: aiohttp.ClientSession) -> None:
    async with client.ws_connect(public + "/ws") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"


async def test_a_websockets_path_without_one_is_426(public: str, client: aiohttp.ClientSession) -> None:
    response = await client.get(public + "/ws")
    assert (response.status, response.headers["Upgrade"]) == (426, "websocket")


async def test_events_stream_until_their_count(public: str, client: aiohttp.ClientSession) -> None:
    response = await client.get(public + "/events?interval=0.01&count=2")
    assert response.content_type == "text/event-stream"
    assert await response.text() == "id: 1\ndata: public 1\n\nid: 2\ndata: public 2\n\n"


async def test_the_first_event_comes_at_once_and_they_have_no_end(
    public: str, client: aiohttp.ClientSession
) -> None:
    async with client.get(public + "/events?interval=60") as response:
        line = await asyncio.wait_for(response.content.readline(), 5)
        assert line == b"id: 1\n"


async def test_a_caller_who_goes_from_a_stream_is_no_error(
    public: str, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    for page in ("/events?interval=0", f"/bytes/{len(BLOCK) * 4096}"):
        async with client.get(public + page) as response:
            await response.content.readexactly(5)
            response.close()
        await asyncio.sleep(0.2)  # it finds out by writing
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_an_echo_comes_back_while_the_body_still_comes(
    public: str, client: aiohttp.ClientSession
) -> None:
    heard = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await heard.wait()
        yield b"two"

    async with client.post(public + "/echo", data=body(), headers={"Content-Type": "text/x"}) as response:
        assert response.content_type == "text/x"
        assert await response.content.readexactly(3) == b"one"
        heard.set()
        assert await response.read() == b"two"


async def test_a_status_with_headers_as_asked(public: str, client: aiohttp.ClientSession) -> None:
    query = [("header", "Set-Cookie: a=1"), ("header", "Set-Cookie:b=2"), ("header", "Location: /x:y")]
    response = await client.get(public + "/status/302", params=query, allow_redirects=False)
    assert response.status == 302
    assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers["Location"] == "/x:y"


@for_each("path", ["/status/199", "/status/600", "/status/x", "/status", "/bytes/x", "/delay/x"])
async def test_what_it_cannot_do_is_400(public: str, client: aiohttp.ClientSession, path: str) -> None:
    assert (await client.get(public + path)).status == 400


@pytest.mark.parametrize("status", [200, 599])
async def test_any_final_status(public: str, client: aiohttp.ClientSession, status: int) -> None:
    assert (await client.get(f"{public}/status/{status}")).status == status


@pytest.mark.parametrize("size", [0, 1, len(BLOCK), len(BLOCK) + 1])
async def test_so_many_bytes(public: str, client: aiohttp.ClientSession, size: int) -> None:
    response = await client.get(f"{public}/bytes/{size}")
    assert response.headers["Content-Length"] == str(size)
    assert len(await response.read()) == size
    response = await client.get(f"{public}/bytes/{size}?chunked=1")
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert len(await response.read()) == size


async def test_a_delay_tells_after_it(public: str, client: aiohttp.ClientSession) -> None:
    assert (await (await client.get(public + "/delay/0.01")).json())["path"] == "/delay/0.01"
