"""TLS of a listener before an app (receive/), handshake by handshake."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trustme

from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.settings.load import settings_from_text
from tests.engine.http2.peer import headers
from tests.engine.wire import Wire, eventually, get
from tests.hostile.raw_http2 import ACKNOWLEDGED, PREFACE, Raw, settings
from tests.receive.inbound import Inbound, inbound, settings_text

CA = trustme.CA()


def written(directory: Path, name: str = "orders.localhost") -> str:
    """The `tls` of a configuration."""
    certificate = CA.issue_cert(name)
    certificate.cert_chain_pems[0].write_to_path(directory / "tls.crt")
    certificate.private_key_pem.write_to_path(directory / "tls.key")
    return f"{{cert_file: '{directory / 'tls.crt'}', key_file: '{directory / 'tls.key'}'}}"


@asynccontextmanager
async def over_tls(directory: Path) -> AsyncIterator[Inbound]:
    async with inbound(tls=written(directory), invokers="[allUsers]") as running:
        yield running


def front_of(running: Inbound) -> ServerContext:
    (context,) = running.server.context.beside
    return context


async def dialled(running: Inbound, *alpn: str, name: str = "orders.localhost") -> Wire:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    _, wire = await asyncio.get_running_loop().create_connection(
        lambda: Wire(tls=True), "127.0.0.1", running.port, ssl=context, server_hostname=name
    )
    running.wires.append(wire)
    return wire


async def test_a_request_and_the_app_is_told_that_it_was_tls(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as running:
        wire = await dialled(running)
        for _ in range(2):
            wire.send(get("/"))
            assert (await wire.response()).status == 200
        assert running.sent_on[0].one("x-forwarded-proto") == "https"
        assert front_of(running).busy == 1


async def test_http2_by_alpn(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as running:
        wire = await dialled(running, "h2", "http/1.1")
        chosen = wire.transport.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen == "h2"
        wire.send(PREFACE + settings() + ACKNOWLEDGED)
        raw = Raw(wire)
        head = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"orders.localhost"),
            (b":path", b"/"),
        ]
        raw.send(headers(1, head, end=True))
        assert (await raw.done(1)).status == 200
        assert running.sent_on[-1].one("x-forwarded-proto") == "https"


async def test_what_is_no_handshake_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as running:
        for octets in (get("/"), b"\x16\x03\x01" + b"\xff" * 500, b""):
            wire = await running.connect()
            wire.send(octets)
            if not octets:
                await eventually(lambda: front_of(running).busy == 1, "not counted")
                wire.close()
            await wire.gone()
            await eventually(lambda: front_of(running).busy == 0, "it is left")
        assert running.sent_on == []


async def test_a_handshake_that_does_not_go_on_is_cut_off(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as running:
        wire = await running.connect()
        wire.send(b"\x16\x03\x01\x02\x00")
        await eventually(lambda: front_of(running).busy == 1, "not counted")
        sweeper = running.server.context.sweeper
        sweeper.now += 11.0  # timeouts.header is 10 s
        sweeper.sweep()
        await wire.gone()
        assert running.server.context.stats.limits["header_timeout"] == 1


async def test_handshakes_count_as_connections(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as running:
        context = front_of(running)
        context.max_connections = 2
        waiting = [await running.connect() for _ in range(2)]
        await eventually(lambda: context.busy == 2, "not counted")
        more = await running.connect()
        await more.gone()
        for wire in waiting:
            wire.close()
        await eventually(lambda: context.busy == 0, "they are left")
        wire = await dialled(running)
        wire.send(get("/"))
        assert (await wire.response()).status == 200


async def test_another_certificate_is_taken_over_and_open_connections_go_on(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as running:
        before = await dialled(running)
        tls = written(tmp_path, "new.localhost")
        keys = running.server.settings.google.keys_endpoint
        assert keys is not None
        port = int(keys.rpartition(":")[2].partition("/")[0])
        text = settings_text(running.app.port, port, tls=tls, invokers="[allUsers]")
        await running.server.reload(settings_from_text(text, "proxy.yaml", {}))
        after = await dialled(running, name="new.localhost")
        for wire in (before, after):
            wire.send(get("/"))
            assert (await wire.response()).status == 200


async def test_the_end_of_the_proxy_ends_a_handshake(tmp_path: Path) -> None:
    async with over_tls(tmp_path) as running:
        wire = await running.connect()
        await eventually(lambda: front_of(running).busy == 1, "not counted")
        await running.server.stop(drain=0.05)
        await wire.gone()
