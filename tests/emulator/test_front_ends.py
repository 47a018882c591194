"""What Cloud Run's front end checks is shown in test_receivers.py; here, how a function's differs."""

from __future__ import annotations

import aiohttp
import pytest

from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT
from idtoken_proxy.emulator.world import Account
from tests.cases import for_each
from tests.emulator.conftest import LOGIN
from tests.emulator.test_receivers import raw


def bearer(emulator: Emulator, audience: str, header: str = "Authorization") -> dict[str, str]:
    return {header: f"Bearer {emulator.mint('login', audience)}"}


async def test_a_functions_audience_is_its_whole_url(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url = emulator.urls["resize"]
    origin = url.removesuffix("/resize")
    assert origin != url
    for path in ("", "/", "/a/b?x=1"):
        response = await client.get(url + path, headers=bearer(emulator, url))
        assert response.status == 200
        told = await response.json()
        assert (told["caller"], told["audience"]) == (LOGIN.email, url)
        assert told["path"] == (path or "/")
    for audience in (origin, f"{origin}/", f"{url}/", f"{url}/a"):
        response = await client.get(f"{url}/a", headers=bearer(emulator, audience))
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


async def test_a_function_reads_authorization_alone(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url = emulator.urls["resize"]
    response = await client.get(url, headers=bearer(emulator, url, "X-Serverless-Authorization"))
    assert response.status == 403
    bad_one_beside = bearer(emulator, url) | {"X-Serverless-Authorization": "Bearer x"}
    assert (await client.get(url, headers=bad_one_beside)).status == 200


async def test_a_function_does_not_take_gclouds_audience(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    dev = Account("dev@example.com")
    token = emulator._mint.id_token(dev, GCLOUD_ADC_CLIENT, by="test", azp=GCLOUD_ADC_CLIENT)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get(emulator.urls["profiles"], headers=headers)).status == 200
    assert (await client.get(emulator.urls["resize"], headers=headers)).status == 401


@pytest.mark.parametrize("path", ["/", "/other", "/resize2"])
async def test_no_function_answers_to_another_path(
    emulator: Emulator, client: aiohttp.ClientSession, path: str
) -> None:
    url = emulator.urls["resize"]
    response = await client.get(url.removesuffix("/resize") + path, headers=bearer(emulator, url))
    assert response.status == 404


async def test_a_functions_pages_stand_under_its_name(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    url = emulator.urls["resize"]
    response = await client.get(f"{url}/bytes/3", headers=bearer(emulator, url))
    assert await response.read() == b"\x00\x01\x02"


@for_each("service", ["profiles", "intranet", "public"])
@for_each("method", ["POST", "PUT", "PATCH"])
async def test_no_length_is_411_for_whoever_asks(emulator: Emulator, method: str, service: str) -> None:
    answer = await raw(
        emulator, service, f"{method} / HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 411 Length Required\r\n")
    assert b"Content-Type: text/html; charset=utf-8\r\n" in answer
    assert b"<title>Error 411 (Length Required)!!1</title>" in answer
    assert f"{method} requests require a <code>Content-length</code> header.".encode() in answer


@for_each(
    ("method", "framing"),
    [
        *(("POST", framing) for framing in ("Content-Length: 0", "Transfer-Encoding: chunked")),
        *((method, "X: y") for method in ("GET", "DELETE", "OPTIONS", "QUERY")),
    ],
)
async def test_a_length_a_coding_or_a_method_that_expects_no_content_will_do(
    emulator: Emulator, method: str, framing: str
) -> None:
    head = f"{method} / HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n{framing}\r\n\r\n"
    body = b"0\r\n\r\n" if "chunked" in framing else b""
    answer = await raw(emulator, "profiles", head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 404")
