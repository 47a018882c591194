"""The access log: what it says of an exchange, and what it never says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.engine.access import remote_of
from idtoken_proxy.settings.model import LogSettings
from tests.cases import for_each
from tests.engine.conftest import Receive, Start
from tests.engine.wire import Wire, answering, eventually, get, ok


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def requests_of(lines: list[Any]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "request"]


async def test_every_exchange(receive: Receive, start: Start, lines: list[Any]) -> None:
    receiver = await receive(answering(ok(), ok().replace(b"200 OK", b"500 Oops")))
    proxied = await start(receiver, log=LogSettings(access="all"))
    await proxied.ask(get("/a?secret=1", "Cookie: secret"))
    await proxied.ask(get("/b", method="POST"))
    await proxied.ask(get("/c", "Origin: null"))
    await proxied.ask(b"nonsense\r\n\r\n")
    await eventually(lambda: len(requests_of(lines)) == 4, "four lines")
    first, second, third, fourth = requests_of(lines)
    assert (first["status"], first["method"], first["path"], first["route"]) == (200, "GET", "/a", "receiver")
    assert first["ms"] >= 0
    assert (second["status"], second["log_level"]) == (500, "warning")
    assert (third["status"], third["fault"]) == (403, "caller")
    assert fourth["status"] == 400
    assert "secret" not in str(lines)


@pytest.mark.parametrize(("length", "shown"), [(1024, "/" + "a" * 1023), (1025, "/" + "a" * 1023 + "...")])
async def test_a_long_path_is_cut(
    receive: Receive, start: Start, lines: list[Any], length: int, shown: str
) -> None:
    proxied = await start(await receive(answering(ok())), log=LogSettings(access="all"))
    await proxied.ask(get("/" + "a" * (length - 1)))
    await eventually(lambda: len(requests_of(lines)) == 1, "a line")
    assert requests_of(lines)[0]["path"] == shown


async def test_errors_alone(receive: Receive, start: Start, lines: list[Any]) -> None:
    receiver = await receive(
        answering(ok(), ok().replace(b"200 OK", b"404 No"), ok().replace(b"200 OK", b"503 Oops"))
    )
    proxied = await start(receiver, log=LogSettings(access="errors"))
    for _ in range(3):
        await proxied.ask(get("/"))
    await proxied.ask(get("/", method="TRACE"))
    await eventually(lambda: len(requests_of(lines)) == 2, "two lines")
    assert [line["status"] for line in requests_of(lines)] == [503, 405]


async def test_none(receive: Receive, start: Start, lines: list[Any]) -> None:
    proxied = await start(await receive(answering(ok())), log=LogSettings(access="off"))
    await proxied.ask(get("/"))
    await proxied.ask(get("/", method="TRACE"))
    assert requests_of(lines) == []


async def test_an_app_that_went_away(receive: Receive, start: Start, lines: list[Any]) -> None:
    async def silent(wire: Wire) -> None:
        await wire.request()

    receiver = await receive(silent)
    proxied = await start(receiver)
    app = await proxied.connect()
    app.send(get("/"))
    await eventually(lambda: bool(receiver.requests), "the request")
    app.close()
    await eventually(lambda: bool(requests_of(lines)), "a line")
    assert requests_of(lines)[0]["reason"] == "the app went away"


async def test_a_receiver_that_broke_off_in_mid_answer(
    receive: Receive, start: Start, lines: list[Any]
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await asyncio.sleep(0.05)
        wire.close()

    proxied = await start(await receive(script))
    app = await proxied.connect()
    app.send(get("/"))
    await app.gone()
    await eventually(lambda: bool(requests_of(lines)), "a line")
    (line,) = requests_of(lines)
    assert (line["status"], line["fault"], line["log_level"]) == (200, "receiver", "warning")


# -- what a line holds ----------------------------------------------------------

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENTINEL = "s3nt1nel"


async def test_sizes_protocol_and_trace(receive: Receive, start: Start, lines: list[Any]) -> None:
    proxied = await start(await receive(answering(ok(b"x" * 5000))), log=LogSettings(access="all"))
    request = get("/a", f"traceparent: 00-{TRACE}-b7ad6b7169203331-01")
    answer = await proxied.ask(request)
    await proxied.ask(get("/b", version="1.0"))
    await eventually(lambda: len(requests_of(lines)) == 2, "two lines")
    first, second = requests_of(lines)
    assert first["received"] == len(request)
    assert first["sent"] == len(answer.raw) + 5000
    assert (first["trace"], first["span"], first["sampled"]) == (TRACE, "b7ad6b7169203331", True)
    assert [line["protocol"] for line in (first, second)] == ["HTTP/1.1", "HTTP/1.0"]
    assert not {"trace", "remote"} & second.keys()
    assert first["each"] is True


async def test_an_error_has_a_kind_and_may_be_one_of_many(
    receive: Receive, start: Start, lines: list[Any]
) -> None:
    proxied = await start(await receive(answering(ok())))
    await proxied.ask(get("/c", "Origin: null"))
    await eventually(lambda: bool(requests_of(lines)), "a line")
    (line,) = requests_of(lines)
    assert line["kind"] == "refused"
    assert "each" not in line


@for_each(
    ("address", "told"),
    [
        (None, None),
        ("127.0.0.1", None),
        ("127.8.0.1", None),
        ("::1", None),
        ("10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_only_callers_from_elsewhere_are_named(address: str | None, told: str | None) -> None:
    assert remote_of(address) == told


async def test_no_value_of_a_header_or_query_is_ever_told(
    receive: Receive, start: Start, lines: list[Any]
) -> None:
    secret = [
        f"{name}: {SENTINEL}"
        for name in (
            "Authorization",
            "Proxy-Authorization",
            "X-Serverless-Authorization",
            "Cookie",
            "X-Api-Key",
            "traceparent",
            "X-Cloud-Trace-Context",
            "User-Agent",
            "Referer",
            "Forwarded",
            "X-Forwarded-For",
        )
    ]
    answer = ok(SENTINEL.encode(), f"Set-Cookie: a={SENTINEL}")
    proxied = await start(
        await receive(answering(answer, answer.replace(b"200 OK", b"500 " + SENTINEL.encode()))),
        log=LogSettings(access="all"),
    )
    for extra in ((), (), ("Sec-Fetch-Site: cross-site",), ("Content-Length: x",)):
        await proxied.ask(get(f"/?{SENTINEL}", *secret, *extra))
    await eventually(lambda: len(requests_of(lines)) == 4, "four lines")
    assert SENTINEL not in str(lines)
    assert proxied.token not in str(lines)
