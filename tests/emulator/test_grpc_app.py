"""Which requests are calls of gRPC, and which the container's pages have."""

from __future__ import annotations

import json

import aiohttp
import pytest

from idtoken_proxy.emulator.emulator import Emulator
from tests.emulator.http2_client import connected


@pytest.mark.parametrize(
    ("content_type", "is_call"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc;charset=utf-8", True),
        ("application/grpc-web", False),
        ("application/json", False),
    ],
)
async def test_the_content_type_tells_calls(emulator: Emulator, content_type: str, *, is_call: bool) -> None:
    async with connected(emulator.urls["public"]) as client:
        stream = client.request("/x.Y/Z", ("content-type", content_type), method="POST", body=b"\0\0\0\0\0")
        came = await client.answer(stream)
    assert ("grpc-status" in came.headers) == is_call
    assert is_call or json.loads(came.body)["path"] == "/x.Y/Z"


async def test_over_http1_there_are_no_calls(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": "application/grpc"}
    response = await client.post(emulator.urls["public"] + "/x.Y/Z", headers=headers)
    assert "grpc-status" not in response.headers
