from __future__ import annotations

import contextlib

import aiohttp
import pytest
from aiohttp import web

from idtoken_proxy.mcp.event_stream import EventStream
from idtoken_proxy.mcp.refusal import Refused
from idtoken_proxy.mcp.remote import Pace, body_of, events_of
from tests.cases import for_each
from tests.mcp.conftest import Server, event, events


@for_each(
    ("asked", "failures", "seconds"),
    [
        (None, 0, 1.0),
        (None, 1, 2.0),
        (None, 3, 8.0),
        (None, 10_000, 30.0),
        (500, 0, 0.5),
        (0, 5, 0.1),
        (10**9, 0, 30.0),
    ],
)
def test_waits_double_and_no_server_says_how_long_at_will(
    asked: int | None, failures: int, seconds: float
) -> None:
    assert Pace().wait(asked, failures) == seconds


async def status_of(server: Server, method: str = "POST") -> int:
    async with server.remote.ask(method, {}, None if method == "GET" else "{}") as response:
        return response.status


@for_each(
    "location",
    ["/mcp/", "http://localhost/mcp/", "http://tools-abc-uc.a.run.app/mcp/", "https://tools-abc-uc.a.run.app/mcp/", "mcp/"],
)  # fmt: skip
async def test_a_slash_that_is_missing_is_added_once_and_for_all(server: Server, location: str) -> None:
    """A server behind a TLS proxy often names itself by http."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/mcp":
            raise web.HTTPTemporaryRedirect(location)
        return web.Response()

    server.answer = answer
    server.remote.target = "/mcp"
    server.asked.clear()
    assert await status_of(server) == 200
    assert await status_of(server) == 200
    assert [asked.target for asked in server.asked] == ["/mcp", "/mcp/", "/mcp/"]


@for_each(
    "location",
    ["https://evil.example.com/mcp", "//evil.example.com/", "https://tools-abc-uc.a.run.app:8443/", "http://[", ""],
    ids=range(5),
)  # fmt: skip
async def test_no_token_follows_a_redirect_elsewhere(server: Server, location: str) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=308, headers={"Location": location})

    server.answer = answer
    server.asked.clear()
    with pytest.raises(Refused):
        await status_of(server)
    assert {asked.target for asked in server.asked} == {"/mcp"}


@for_each(
    ("location", "status"),
    [("/away", 503), ("/away", 404), ("/away", 302), ("/away/a b", 200), ("/away/\u00e9", 200)],
)
async def test_where_a_redirect_leads_nowhere_the_next_request_begins_anew(
    server: Server, location: str, status: int
) -> None:
    is_away = True

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/mcp" and is_away:
            return web.Response(status=307, headers={"Location": location})
        return web.Response(status=status if is_away else 200)

    server.answer = answer
    with contextlib.suppress(Refused):
        assert await status_of(server) == status
    is_away = False
    server.asked.clear()
    assert await status_of(server) == 200
    assert [asked.target for asked in server.asked] == ["/mcp"]


async def test_what_a_redirect_led_to_counts_no_more_when_it_is_gone(server: Server) -> None:
    now = "/new"

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/mcp":
            return web.Response(status=307, headers={"Location": now})
        return web.Response(status=200 if request.path == now else 404)

    server.answer = answer
    assert await status_of(server) == 200
    now = "/newer"
    assert [await status_of(server), await status_of(server)] == [404, 200]


async def test_redirects_without_end_are_not_followed_from_where_they_ended(server: Server) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=308, headers={"Location": f"{request.path}/more"})

    server.answer = answer
    for _ in range(2):
        server.asked.clear()
        with pytest.raises(Refused, match="without end"):
            await status_of(server)
        assert server.asked[0].target == "/mcp"


async def test_a_post_does_not_become_a_get(server: Server) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/login"})

    server.answer = answer
    assert await status_of(server) == 302
    assert [asked.target for asked in server.asked] == ["/mcp"]


async def test_a_stream_that_breaks_off_ends(server: Server) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await events(request, event({"method": "a"}, "1"), cut=True)

    server.answer = answer
    async with server.remote.ask("GET", {}) as response:
        told = [each async for each in events_of(response, EventStream(1000))]
    assert [each.id for each in told] == ["1"]


async def test_a_message_beyond_the_limit_is_refused_and_not_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await events(request, b"data: " + b"a" * 5000 + b"\n\n")

    server.answer = answer
    monkeypatch.setattr("idtoken_proxy.mcp.remote.MOST", 1000)
    async with server.remote.ask("GET", {}) as response:
        with pytest.raises(Refused, match="1000 bytes"):
            await body_of(response)
    async with server.remote.ask("GET", {}) as response:
        with pytest.raises(Refused, match="1000 bytes"):
            [each async for each in events_of(response, EventStream(1000))]


async def test_of_a_refusal_the_beginning_is_read(server: Server) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, body=b"x" * 10**6)

    server.answer = answer
    async with server.remote.ask("POST", {}, "{}") as response:
        refusal = await server.remote.refusal(response)
    assert refusal.status == 500
    assert len(refusal.detail) < 500


async def test_a_server_that_is_not_there(server: Server) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = answer
    with pytest.raises(aiohttp.ClientError):
        await status_of(server)
