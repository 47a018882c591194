"""What the admin listener and the metadata server's face have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from idtoken_proxy.admin.aiohttp_listener import LAST_ANSWERS, AiohttpListener
from idtoken_proxy.admin.place import Place
from idtoken_proxy.settings.model import TcpAddress

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def opened(answer: Answer, head_timeout: float) -> AiohttpListener:
    place = Place(TcpAddress("127.0.0.1", 0))
    await place.bind()
    listener = AiohttpListener(place, lambda: head_timeout, name="test")

    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        return await listener.answered(request, answer)

    await listener.start(web.ServerRunner(web.Server(answered), shutdown_timeout=LAST_ANSWERS))
    return listener


async def hello(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


async def test_it_answers_until_it_is_stopped() -> None:
    listener = await opened(hello, 5.0)
    (address,) = listener.addresses
    async with aiohttp.ClientSession() as client:
        async with client.get(f"http://{address}/") as answer:
            assert await answer.text() == "hello"
        await listener.stop()
        with pytest.raises(aiohttp.ClientError):
            await client.get(f"http://{address}/")
    await listener.stop()  # once more changes nothing


async def test_the_work_on_an_answer_is_no_part_of_the_time_for_a_head() -> None:
    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.15)
        return await hello(request)

    listener = await opened(slow, 0.05)
    (address,) = listener.addresses
    async with aiohttp.ClientSession() as client, client.get(f"http://{address}/") as answer:
        assert await answer.text() == "hello"
    assert isinstance(address, TcpAddress)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"GET / HTTP/1.1\r\n")
    assert await reader.read() == b""  # a head that does not come to its end
    writer.close()
    await listener.stop()


async def test_it_may_be_stopped_before_it_has_begun() -> None:
    place = Place(TcpAddress("127.0.0.1", 0))
    await place.bind()
    await AiohttpListener(place, lambda: 5.0).stop()
