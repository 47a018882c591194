"""Clients as they are, none of them changed for the proxy or told of tokens, call private services through it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from tests.cases import for_each
from tests.end_to_end.conftest import CALLER, PATIENCE

curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed; .ci/run installs it")
node = pytest.mark.skipif(
    shutil.which("node") is None, reason="Node.js is not installed; .ci/run installs it"
)


async def output_of(*command: str, stdin: bytes | None = None, code: int = 0) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, errors = await process.communicate(stdin)
    assert process.returncode == code, (process.returncode, out, errors)
    return out


def check(told: Any, emulator: Emulator, *, method: str = "GET", size: int = 0) -> None:
    assert told["service"] == "user-profiles"
    assert (told["caller"], told["audience"]) == (CALLER, emulator.urls["user-profiles"])
    assert told["method"] == method
    assert told["body"]["size"] == size


async def test_the_story(emulator: Emulator, client: aiohttp.ClientSession, url: str) -> None:
    """Login may call user-profiles and may not call search; without the proxy nobody may call anything."""
    async with client.get(f"{url}/user-profiles/42?x=1") as answer:
        assert answer.status == 200
        told = await answer.json()
        check(told, emulator)
        assert told["path"] == "/42?x=1"
        assert "Proxy-Status" not in answer.headers
    async with client.get(f"{url}/search/q") as answer:
        assert (answer.status, answer.content_type) == (403, "text/html")  # the receiver's own
        assert answer.headers["Server"] == "Google Frontend"
        assert "Proxy-Status" not in answer.headers
    async with client.get(f"{emulator.urls['user-profiles']}/42") as answer:
        assert answer.status == 403
    async with client.get(f"{url}/nothing") as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert answer.headers["Proxy-Status"].startswith("idtoken-proxy; error=")


# -- curl ------------------------------------------------------------------------------


@curl
@pytest.mark.parametrize(
    "options",
    [[], ["--http1.0"], ["--http2"], ["--http2-prior-knowledge"], ["--ipv4"], ["-H", "Connection: close"]],
)
async def test_curl(emulator: Emulator, url: str, options: list[str]) -> None:
    check(json.loads(await output_of("curl", "-sS", "--fail", *options, f"{url}/user-profiles/42")), emulator)


@curl
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-H", "Expect: 100-continue"],
        ["-H", "Transfer-Encoding: chunked"],
        ["--http2-prior-knowledge"],
        ["--http2-prior-knowledge", "-H", "Expect: 100-continue"],
    ],
)
async def test_curl_uploads(emulator: Emulator, url: str, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "file"
    await asyncio.to_thread(file.write_bytes, bytes(2_000_000))
    target = f"{url}/user-profiles/files"
    told = json.loads(await output_of("curl", "-sS", "--fail", *options, "-T", str(file), target))
    check(told, emulator, method="PUT", size=2_000_000)
    told = json.loads(await output_of("curl", "-sS", "--fail", *options, "-T", "-", target, stdin=b"hello"))
    check(told, emulator, method="PUT", size=5)


@curl
@pytest.mark.parametrize("options", [[], ["--http2-prior-knowledge"]])
async def test_curl_is_refused_while_it_uploads(url: str, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "file"
    await asyncio.to_thread(file.write_bytes, bytes(2_000_000))
    target = ("-T", str(file), "-H", "Origin: http://evil.test", f"{url}/user-profiles/files")
    assert json.loads(await output_of("curl", "-sS", *options, *target))["status"] == 403


@curl
async def test_curl_through_as_a_forward_proxy(emulator: Emulator, url: str) -> None:
    """`http_proxy` set to us: the absolute form, for a name of ours."""
    port = url.rpartition(":")[2]
    told = json.loads(
        await output_of(
            *(
                "curl",
                "-sS",
                "--fail",
                "-x",
                f"127.0.0.1:{port}",
                f"http://login.localhost:{port}/user-profiles/",
            )
        )
    )
    check(told, emulator)
    refused = await output_of("curl", "-sS", "-x", f"127.0.0.1:{port}", "http://example.com/user-profiles/")
    assert json.loads(refused)["status"] == 403


# -- Python's own -------------------------------------------------------------------------

URLLIB = """
import json, sys, urllib.request
url = sys.argv[1]
with urllib.request.urlopen(url + "/user-profiles/42") as answer:
    first = json.load(answer)
request = urllib.request.Request(url + "/user-profiles/x", data=b"hello", headers={"Content-Type": "text/plain"})
with urllib.request.urlopen(request) as answer:
    second = json.load(answer)
json.dump([first, second], sys.stdout)
"""


async def test_urllib(emulator: Emulator, url: str) -> None:
    first, second = json.loads(await output_of(sys.executable, "-c", URLLIB, url))
    check(first, emulator)
    check(second, emulator, method="POST", size=5)


HTTP_CLIENT = """
import http.client, json, sys
from urllib.parse import urlsplit
connection = http.client.HTTPConnection(urlsplit(sys.argv[1]).netloc)
told = []
for number in range(20):
    connection.request("POST", "/user-profiles/%d" % number, body=(b"x" for _ in range(number)), encode_chunked=True)
    told.append(json.load(connection.getresponse()))
json.dump(told, sys.stdout)
"""


async def test_http_client_with_one_connection(emulator: Emulator, url: str) -> None:
    for number, told in enumerate(json.loads(await output_of(sys.executable, "-c", HTTP_CLIENT, url))):
        check(told, emulator, method="POST", size=number)


# -- Node.js --------------------------------------------------------------------------------

FETCH = """
const url = process.argv[1];
const told = [];
told.push(await (await fetch(url + '/user-profiles/42')).json());
told.push(await (await fetch(url + '/user-profiles/x', {method: 'POST', body: 'hello'})).json());
const stream = new ReadableStream({start(c) { c.enqueue(new TextEncoder().encode('stream')); c.close(); }});
told.push(await (await fetch(url + '/user-profiles/x', {method: 'POST', body: stream, duplex: 'half'})).json());
const many = await Promise.all([...Array(50).keys()].map(n => fetch(url + '/user-profiles/' + n).then(a => a.json())));
told.push(...many);
const abort = new AbortController();
const events = await fetch(url + '/user-profiles/events?interval=0.01', {signal: abort.signal});
await events.body.getReader().read();
abort.abort();
console.log(JSON.stringify(told));
process.exit(0);
"""


@node
async def test_node_fetch(emulator: Emulator, url: str) -> None:
    out = await output_of("node", "--input-type=module", "-e", FETCH, url)
    first, second, third, *many = json.loads(out)
    check(first, emulator)
    check(second, emulator, method="POST", size=5)
    check(third, emulator, method="POST", size=6)
    assert [told["path"] for told in many] == [f"/{number}" for number in range(50)]


# -- streams ----------------------------------------------------------------------------------


async def test_a_websocket(client: aiohttp.ClientSession, url: str) -> None:
    async with client.ws_connect(f"{url}/user-profiles/ws", max_msg_size=0) as socket:
        for number in range(10):
            await socket.send_str(f"hello {number}")
            assert await socket.receive_str() == f"hello {number}"
        large = bytes(range(256)) * 4096
        await socket.send_bytes(large)
        assert await socket.receive_bytes() == large
        await socket.ping()
    assert socket.close_code == 1000


async def test_a_websocket_that_a_receiver_refuses(client: aiohttp.ClientSession, url: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(f"{url}/search/ws")
    assert caught.value.status == 403


async def test_events_arrive_while_their_stream_stays_open(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(f"{url}/user-profiles/events?interval=600") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert await answer.content.readline() == b"id: 1\n"
        assert await answer.content.readline() == b"data: user-profiles 1\n"


async def test_an_echo_goes_both_ways_at_once(client: aiohttp.ClientSession, url: str) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def words() -> Any:
        for number in range(5):
            yield f"word {number}".encode()
            while not await heard.get():
                pass

    async with client.post(f"{url}/user-profiles/echo", data=words()) as answer:
        for number in range(5):
            async with asyncio.timeout(PATIENCE):
                assert await answer.content.readany() == f"word {number}".encode()
            heard.put_nowait(b"x")
        assert await answer.content.read() == b""


# -- what a receiver sees -----------------------------------------------------------------------

HOSTILE = (
    [("Connection", "authorization, x-serverless-authorization"), ("Authorization", "Bearer theirs")],
    [("Connection", "Authorization"), ("Connection", "X-SERVERLESS-AUTHORIZATION, host")],
    [("X-Serverless-Authorization", "Bearer theirs"), ("x-serverless-authorization", "Bearer theirs")],
    [("X_Serverless_Authorization", "Bearer theirs"), ("Proxy-Authorization", "Bearer theirs")],
)


@pytest.mark.parametrize("fields", HOSTILE)
async def test_a_hostile_client_changes_nothing(
    client: aiohttp.ClientSession, url: str, seen: list[Seen], fields: list[tuple[str, str]]
) -> None:
    async with client.get(f"{url}/user-profiles/", headers=fields) as answer:
        assert answer.status == 200
        assert (await answer.json())["caller"] == CALLER
    (one,) = seen
    credentials = [value for name, value in one.headers if "authorization" in name.lower()]
    assert len(credentials) == 1
    assert credentials[0].startswith("Bearer eyJ")
    assert not any("theirs" in value for _, value in one.headers)


async def test_an_apps_own_authorization_reaches_the_container(
    client: aiohttp.ClientSession, url: str
) -> None:
    async with client.get(f"{url}/user-profiles/", headers={"Authorization": "Bearer of-the-app"}) as answer:
        told = await answer.json()
    assert ["Authorization", "Bearer of-the-app"] in told["headers"]
    assert told["caller"] == CALLER


@for_each("status", [200, 201, 301, 304, 401, 403, 404, 418, 500, 503])
async def test_every_status_passes(client: aiohttp.ClientSession, url: str, status: int) -> None:
    target = f"{url}/user-profiles/status/{status}?header=X-Two:a&header=X-Two:b"
    async with client.get(target, allow_redirects=False) as answer:
        assert answer.status == status
        assert answer.headers.getall("X-Two") == ["a", "b"]
        assert "Proxy-Status" not in answer.headers
