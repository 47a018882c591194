"""What never gets as far as a container."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest

from idtoken_proxy.emulator.edge import LARGEST
from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.identity.answer import Answer, Speaker
from tests.cases import for_each
from tests.emulator.test_receivers import raw, token_for


def said(answer: bytes) -> Answer:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return Answer.of(int(status.split()[1]), lines, body)


@for_each("path", ["/healthz", "/eventlog", "/_ah/warmup", "/healthz?x=1"])
@for_each("service", ["profiles", "public"])
async def test_reserved_paths(emulator: Emulator, path: str, service: str) -> None:
    host = emulator.urls[service].removeprefix("http://")
    answer = said(
        await raw(
            emulator, service, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
    )
    assert (answer.status, answer.speaker) == (404, Speaker.FRONT_END)
    assert "google frontend" not in answer.server.lower()
    assert f"The requested URL {path.partition('?')[0]} was not found" in answer.sentence


async def test_other_paths_and_functions_have_none(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    url = emulator.urls["profiles"]
    headers = {"Authorization": f"Bearer {token_for(emulator, 'profiles')}"}
    for path in ("/healthzz", "/health", "/eventlogs", "/x/_ah/y", "/quiz"):
        assert (await client.get(url + path, headers=headers)).status == 200
    url = emulator.urls["resize"]
    headers = {"Authorization": f"Bearer {emulator.mint('login', url)}"}
    assert (await client.get(f"{url}/healthz", headers=headers)).status == 200


@pytest.mark.parametrize(("length", "status"), [(LARGEST, 403), (LARGEST + 1, 413)])
async def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    emulator: Emulator, length: int, status: int
) -> None:
    host, _, port = emulator.urls["profiles"].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST / HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {length}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
    answer = said(head + await reader.readexactly(size))
    writer.close()
    await writer.wait_closed()
    assert (answer.status, answer.speaker) == (status, Speaker.FRONT_END)
