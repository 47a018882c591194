"""The admin listener's address: bound first, served later."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from idtoken_proxy.admin.place import Place
from idtoken_proxy.engine.listeners import ListenFailed
from idtoken_proxy.settings.model import TcpAddress


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        greeted = cast("asyncio.Transport", transport)  # uvloop's have another base class
        greeted.write(b"hello")
        greeted.close()


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
async def test_an_address_that_is_taken(family: str) -> None:
    kind = socket.AF_INET6 if ":" in family else socket.AF_INET
    with socket.create_server((family, 0), family=kind) as taken:
        place = Place(TcpAddress("localhost", taken.getsockname()[1]))
        with pytest.raises(ListenFailed, match=r"in use \(admin\)") as failed:
            await place.bind()
    for way in ("--admin", "IDTOKEN_PROXY_ADMIN", "admin:"):
        assert way in str(failed.value.remedy)
    await place.close()


async def test_nobody_is_served_before_there_is_somebody_to_serve() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = Place(TcpAddress("127.0.0.1", port))
    await place.bind()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await place.serve(Greeter)
    assert place.bound == (TcpAddress("127.0.0.1", port),)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b"hello"
    writer.close()
    await place.close()


async def test_what_was_bound_and_not_served_is_given_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = TcpAddress("127.0.0.1", free.getsockname()[1])
    place = Place(address)
    await place.bind()
    await place.close()
    again = Place(address)
    await again.bind()
    await again.close()
