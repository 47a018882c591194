"""Clients of HTTP/2 and gRPC as they are, none of them changed for the proxy: on Node.js, in Go, nghttp, h2load, httpx;
curl's turn is in test_clients.py.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from tests.end_to_end.conftest import CALLER, Serve, route_to, settings_for
from tests.end_to_end.test_clients import check, output_of

CLIENTS: Final = Path(__file__).parent / "clients"
GO: Final = CLIENTS / "build" / "grpc-go"


def _lacks(command: str) -> bool:
    return shutil.which(command) is None


needs_node = pytest.mark.skipif(
    _lacks("node") or not (CLIENTS / "node_modules").exists(),
    reason="no Node.js, or no @grpc/grpc-js for it; make clients installs that, and .ci/run both",
)
needs_go = pytest.mark.skipif(
    not GO.exists(),
    reason="the client in Go is not built; make clients does, and .ci/run brings what it needs",
)
needs_nghttp2 = pytest.mark.skipif(
    _lacks("nghttp") or _lacks("h2load"), reason="nghttp2-client is not installed; .ci/run installs it"
)


@pytest.fixture
async def target(emulator: Emulator, serve: Serve) -> str:
    """HOST:PORT of a proxy all of whose paths lead to user-profiles."""
    route = route_to(emulator, "user-profiles", path="/", strip_prefix=False)
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host))
    return f"localhost:{server.addresses[0].port}"


def all_by_the_proxy(seen: list[Seen]) -> bool:
    """Each request has one token, and came once."""
    return all(
        one.refused is None and sum(name == "authorization" for name, _ in one.headers) == 1 for one in seen
    )


# What both say of every case; what one has and the other does not is beside its test.
CALLS: Final[dict[str, list[Any]]] = {
    "unary": [0, "hello"],
    "binary_metadata": [0, "first", "00ff"],
    "unimplemented": [12],
    "deadline": [4],
    "cancel": [1],
    "health": [0],
    "refused": [7, True],
}


@needs_node
async def test_grpc_js(target: str, seen: list[Seen]) -> None:
    told = json.loads(await output_of("node", str(CLIENTS / "grpc.js"), target))
    assert told == CALLS | {
        "server_streaming": [0, "sssss"],
        "client_streaming": [0, "c4"],
        "bidi_streaming": [0, "b0 b1 b2"],
        "status": [9, "100 % \t words"],
        "many": [200],
    }
    assert all_by_the_proxy(seen)


@needs_go
async def test_grpc_go(target: str, seen: list[Seen]) -> None:
    told = json.loads(await output_of(str(GO), target))
    assert told == CALLS | {
        "server_streaming": [0, "s s s s s"],
        "client_streaming": [0, "c2"],
        "bidi_streaming": [0, "b0 b1 b2"],
        "empty_stream": [0, ""],
        "status": [9, "\t\ntest with whitespace\r\nand Unicode BMP \u263a"],
        "many": [1000],
    }
    assert all_by_the_proxy(seen)


# -- HTTP/2 without gRPC ----------------------------------------------------------------------


@needs_nghttp2
async def test_nghttp(emulator: Emulator, target: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    await asyncio.to_thread(file.write_bytes, bytes(300_000))
    told = await output_of("nghttp", f"http://{target}/42", f"http://{target}/43")
    answers = [json.loads(one) for one in re.findall(rb"\{.*?\n\}", told, re.DOTALL)] or [json.loads(told)]
    assert [one["path"] for one in answers] == ["/42", "/43"]
    check(answers[0], emulator)
    told = await output_of("nghttp", "--data", str(file), f"http://{target}/up")
    check(json.loads(told), emulator, method="POST", size=300_000)
    trailers = await output_of("nghttp", "--trailer", "x-sum: 1", "--data", str(file), f"http://{target}/up")
    check(json.loads(trailers), emulator, method="POST", size=300_000)


@needs_nghttp2
async def test_h2load(target: str, seen: list[Seen]) -> None:
    told = await output_of(
        "h2load", "--requests=300", "--clients=3", "--max-concurrent-streams=50", f"http://{target}/a"
    )
    assert b"300 succeeded, 0 failed, 0 errored, 0 timeout" in told
    assert b"status codes: 300 2xx" in told
    assert len(seen) == 300
    assert all_by_the_proxy(seen)


async def test_httpx(emulator: Emulator, target: str) -> None:
    async with httpx.AsyncClient(
        http1=False, http2=True, base_url=f"http://{target}", trust_env=False
    ) as app:
        answers = await asyncio.gather(*(app.get(f"/{number}") for number in range(100)))
        assert [one.json()["path"] for one in answers] == [f"/{number}" for number in range(100)]
        assert {one.http_version for one in answers} == {"HTTP/2"}
        assert answers[0].json()["caller"] == CALLER
        uploaded = await app.post("/up", content=bytes(1_000_000))
        check(uploaded.json(), emulator, method="POST", size=1_000_000)
        async with app.stream("GET", "/down") as streamed:
            assert b"".join([piece async for piece in streamed.aiter_bytes()])
        for body in (
            b"",
            bytes(1_000_000),
        ):  # one that is beyond every window is still on its way as it is refused
            refused = await app.post("/", headers={"origin": "http://evil.test"}, content=body)
            assert refused.status_code == 403
            assert refused.json()["remedy"]


def test_the_clients_lock_names_no_place_to_fetch_from() -> None:
    """Of whoever made it; its hashes say what may be installed from anywhere."""
    lock = json.loads((CLIENTS / "package-lock.json").read_text(encoding="utf-8"))
    packages = [one for name, one in lock["packages"].items() if name]
    assert packages
    assert all("resolved" not in one and one["integrity"].startswith("sha512-") for one in packages)
