"""A receiver over HTTP/2: what its front end says, what its container streams, and what ends a connection."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator, http2_front
from idtoken_proxy.emulator.breaks import AGED_BY
from idtoken_proxy.emulator.edge import LARGEST
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Cancelled
from idtoken_proxy.engine.http2.error_codes import ErrorCode
from idtoken_proxy.engine.http2.frames import PREFACE, build_settings
from tests.cases import for_each
from tests.emulator.conftest import LOGIN, WORLD, Recorder
from tests.emulator.http2_client import connected
from tests.emulator.test_receivers import CHALLENGE, bearer, token_for


def authorized(emulator: Emulator, service: str = "profiles") -> tuple[str, str]:
    return "authorization", f"Bearer {token_for(emulator, service)}"


async def test_an_invoker_is_let_through(emulator: Emulator, recorder: Recorder) -> None:
    async with connected(emulator.urls["profiles"]) as client:
        came = await client.answer(client.request("/42%2F..?x=1", authorized(emulator), ("x-a", "é")))
    assert came.status == 200
    told = json.loads(came.body)
    assert told["caller"] == LOGIN.email
    assert told["path"] == "/42%2F..?x=1"
    fields = dict(told["headers"])
    assert fields["host"] == client.authority
    assert fields["authorization"].endswith(".SIGNATURE_REMOVED_BY_GOOGLE")
    assert not {"connection", "transfer-encoding", "keep-alive"} & came.headers.keys()
    [seen] = recorder.seen
    assert (seen.method, seen.target, seen.refused) == ("GET", "/42%2F..?x=1", None)


async def test_the_other_token_header_is_read_first(emulator: Emulator) -> None:
    good = authorized(emulator)
    async with connected(emulator.urls["profiles"]) as client:
        fields = (("x-serverless-authorization", good[1]), ("authorization", "Bearer of-the-app"))
        assert (await client.answer(client.request("/", *fields))).status == 200
        fields = (("x-serverless-authorization", "Bearer bad"), good)
        assert (await client.answer(client.request("/", *fields))).status == 401


@for_each(
    ("service", "path", "fields"),
    [
        ("profiles", "/<x>", {}),
        ("profiles", "/", {"Authorization": "Bearer nonsense"}),
        ("search", "/", {"Authorization": "login"}),
        ("profiles", "/healthz", {}),
        ("intranet", "/", {}),
        ("intranet", "/", {"Accept": "text/html"}),
        ("intranet", "/", {"Authorization": "login"}),
        ("resize", "/resize/x", {}),
        ("resize", "/other", {}),
        ("public", "/status/418", {}),
    ],
)
async def test_refusals_are_those_of_http1(
    emulator: Emulator, client: aiohttp.ClientSession, service: str, path: str, fields: dict[str, str]
) -> None:
    if fields.get("Authorization") == "login":
        fields = fields | bearer(token_for(emulator, service))
    url = emulator.urls[service].removesuffix("/resize")
    first = await client.get(url + path, headers=fields, allow_redirects=False)
    async with connected(url) as http2:
        second = await http2.answer(
            http2.request(
                path.replace("<", "%3C").replace(">", "%3E"), *((k.lower(), v) for k, v in fields.items())
            )
        )
    assert second.status == first.status
    assert second.body == await first.read()
    kept = {
        name.lower(): value for name, value in first.headers.items() if name not in ("Date", "Connection")
    }
    assert {name: value for name, value in second.headers.items() if name not in (":status", "date")} == kept


async def test_a_token_that_does_not_verify_is_challenged(emulator: Emulator) -> None:
    async with connected(emulator.urls["profiles"]) as client:
        came = await client.answer(client.request("/", ("authorization", "Bearer x.y.z")))
    assert (came.status, came.headers["www-authenticate"]) == (401, CHALLENGE)


async def test_another_host_is_404(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        client.authority = "localhost:1"
        assert (await client.answer(client.request())).status == 404
        client.authority = "evil.example.com"
        assert (await client.answer(client.request())).status == 403


async def test_neither_length_nor_largest_body_is_asked_of_a_stream(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        stream = client.request("/echo", method="POST", body=None)
        client.h2.send_data(stream, b"without a length", end_stream=True)
        client.flush()
        came = await client.answer(stream)
        assert (came.status, came.body) == (200, b"without a length")
        stream = client.request("/status/200", ("content-length", str(LARGEST + 1)), method="POST", body=None)
        assert (await client.answer(stream)).status == 200


async def test_large_bodies_go_both_ways_under_flow_control(emulator: Emulator) -> None:
    body = bytes(range(256)) * 16 * 1024  # 4 MiB: many windows
    async with connected(emulator.urls["public"]) as client:
        stream = client.request("/echo", ("content-type", "a/b"), method="POST", body=None)
        assert await client.send(stream, body) == len(body)
        client.h2.end_stream(stream)
        client.flush()
        came = await client.answer(stream)
    assert came.body == body
    assert came.headers["content-type"] == "a/b"


async def test_who_takes_nothing_holds_its_own_stream_alone(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        client.gives_credit = False
        held = client.request("/bytes/60000")
        await client.answer(held)
        stuck = client.request("/bytes/1000000?chunked=1")
        await client.until(lambda: len(client.streams[stuck].body) == 5535)  # what is left of 65,535
        client.h2.increment_flow_control_window(1 << 20)
        client.gives_credit = True
        other = client.request("/bytes/200000")
        assert len((await client.answer(other)).body) == 200_000
        assert not client.streams[stuck].is_over


async def test_an_answer_before_the_request_s_end_stops_it(emulator: Emulator) -> None:
    async with connected(emulator.urls["profiles"]) as client:
        stream = client.request("/", method="POST", body=None)
        await client.answer(stream)
        await client.until(lambda: client.streams[stream].reset is not None)
        assert (client.streams[stream].status, client.streams[stream].reset) == (403, 0)


async def test_a_reset_ends_the_handler_and_is_told(keys: Keys) -> None:
    told: list[Cancelled] = []
    async with (
        Emulator(WORLD, keys=keys, on_cancel=told.append) as emulator,
        connected(emulator.urls["public"]) as client,
    ):
        stream = client.request("/events?interval=100")
        await client.until(lambda: client.streams[stream].body)
        client.h2.reset_stream(stream, ErrorCode.CANCEL)
        client.flush()
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.01)
        assert (await client.answer(client.request())).status == 200
    assert told == [Cancelled("public", "GET", "/events?interval=100", ErrorCode.CANCEL)]


async def test_a_hundred_streams_and_no_more(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        open_streams = [client.request("/events?interval=100") for _ in range(100)]
        await client.until(lambda: all(client.streams[stream].headers for stream in open_streams))
        assert client.h2.remote_settings.max_concurrent_streams == 100
        client.h2.remote_settings[3] = 200  # who does not heed it
        client.h2.remote_settings.acknowledge()
        one_more = client.request()
        assert (await client.answer(one_more)).reset == ErrorCode.REFUSED_STREAM
        client.h2.reset_stream(open_streams[0], ErrorCode.CANCEL)
        client.flush()
        await asyncio.sleep(0.05)  # until its handler has ended
        assert (await client.answer(client.request())).status == 200


async def test_what_is_no_http2_gets_goaway(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        await client.until(lambda: client.h2.remote_settings.max_concurrent_streams == 100)
        client._writer.write(b"\0\0\0\x05\0\0\0\0\x01")  # PUSH_PROMISE
        await client.until(lambda: client.closed)
        assert [code for code, _ in client.goaways] == [ErrorCode.PROTOCOL_ERROR]


async def test_a_handler_s_mistake_is_told_to_the_loop(keys: Keys) -> None:
    """And resets the stream, where HTTP/1.1 has 500."""
    told: list[str] = []

    def fail(_seen: object) -> None:
        raise RuntimeError("a bug")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(str(context["exception"])))
    async with (
        Emulator(WORLD, keys=keys, on_request=fail) as emulator,
        connected(emulator.urls["public"]) as client,
    ):
        assert (await client.answer(client.request())).reset == ErrorCode.INTERNAL_ERROR
    loop.set_exception_handler(None)
    assert told == ["a bug"]


async def test_goaway_in_two_steps_lets_open_streams_end(emulator: Emulator) -> None:
    async with connected(emulator.urls["public"]) as client:
        stream = client.request("/events?count=3&interval=0.1")
        await client.until(lambda: client.streams[stream].body)
        emulator.go_away("public")
        await client.until(lambda: len(client.goaways) == 2)
        assert client.goaways == [(0, (1 << 31) - 1), (0, stream)]
        assert (await client.answer(stream)).status == 200
        await client.until(lambda: client.closed)


async def test_goaway_s_second_step_does_not_wait_for_a_ping_s_answer_for_ever(emulator: Emulator) -> None:
    host, _, port = emulator.urls["public"].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + build_settings({}))
    await reader.readexactly(9)
    emulator.go_away("public")
    rest = await asyncio.wait_for(reader.read(), 5)  # until it closes, which it does though nobody answers
    assert rest.count(b"\0\0\x08\x07\0\0\0\0\0") == 2
    writer.close()
    await writer.wait_closed()


async def test_connections_age_by_requests(emulator: Emulator) -> None:
    emulator.break_with("connection-age")
    async with connected(emulator.urls["public"]) as client:
        for _ in range(AGED_BY - 1):
            assert (await client.answer(client.request())).status == 200
        assert not client.goaways
        last = client.request()
        assert (await client.answer(last)).status == 200
        await client.until(lambda: client.closed)
        assert client.goaways == [(0, (1 << 31) - 1), (0, last)]


async def test_connections_age_with_time(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_front, "AGED_AFTER", 0.1)
    emulator.break_with("connection-age")
    async with connected(emulator.urls["public"]) as client:
        stream = client.request("/events?count=4&interval=0.1")
        assert (await client.answer(stream)).body.endswith(b"public 4\n\n")
        await client.until(lambda: client.closed)
        assert client.goaways == [(0, (1 << 31) - 1), (0, stream)]
