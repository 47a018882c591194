"""The process as a whole: what it must never say, and what it must survive."""

from __future__ import annotations

import asyncio
import base64
import statistics
from pathlib import Path

from tests.engine.proxied import make_token
from tests.engine.wire import Ended, Message, Receiver, Wire, answering, connect, eventually, ok
from tests.hostile.process import Process, serving

MIB = 1024 * 1024


async def ask(port: int, request: bytes) -> tuple[Message | None, bytes]:
    app = await connect(port)
    app.send(request)
    try:
        return await app.response(), bytes(app.received)
    except Ended:
        return None, bytes(app.received)
    finally:
        app.close()


def get(target: str = "/", *fields: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{''.join(f'{line}{chr(13)}{chr(10)}' for line in fields)}\r\n".encode()


async def test_a_token_is_said_to_its_receiver_and_to_nobody_else(tmp_path: Path) -> None:
    """At debug level, over good and bad requests of every kind: in no log line, traceback, answer or admin page."""
    token = make_token()

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            assert f"Bearer {token}" in (
                request.one("authorization"),
                request.one("x-serverless-authorization"),
            )
            if request.target == "/redirect":
                wire.send(
                    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/elsewhere\r\nContent-Length: 0\r\n\r\n"
                )
            elif request.target == "/malformed":
                wire.send(b"HTTP/1.1 200\0OK\r\n\r\n")
            elif request.target == "/broken":
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nx")
                wire.close()
                return
            elif request.target == "/refused":
                wire.send(
                    b'HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n'
                )
            elif request.target == "/silent":
                continue
            else:
                wire.send(ok())

    shown = b""
    async with Receiver(script) as receiver:
        async with serving(tmp_path, receiver.port, token=token, timeouts={"response": "500ms"}) as process:
            for target in (
                "/",
                "/redirect",
                "/malformed",
                "/broken",
                "/refused",
                "/silent",
                "/dead",
                "/?token=a",
            ):
                _, raw = await ask(process.port, get(target))
                shown += raw
            for fields in (
                *(
                    ("Authorization: Bearer own.own.own",),
                    ("Host: evil",),
                    ("Origin: http://evil",),
                    ("X: \0",),
                ),
                ("Connection: Upgrade", "Upgrade: websocket"),
            ):
                _, raw = await ask(process.port, get("/", *fields))
                shown += raw
            for path in ("/", "/api/status", "/metrics", "/readiness", "/startup", "/liveness"):
                _, raw = await ask(process.admin, get(path, "Connection: close"))
                assert raw.startswith(b"HTTP/1.1 200"), (path, raw)
                shown += raw
        assert receiver.connections
    shown += bytes(process.said)
    head, payload, signature = token.split(".")
    for secret in (token, payload, signature, head + "." + payload, "own.own.own"):
        assert secret.encode() not in shown
        assert base64.b64encode(secret.encode()) not in shown
    assert b"token=a" not in process.said


async def test_a_redirect_is_passed_on_and_never_followed(tmp_path: Path) -> None:
    async with Receiver(answering(ok())) as elsewhere:
        location = f"http://127.0.0.1:{elsewhere.port}/secret"
        away = (
            f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        async with Receiver(answering(away)) as receiver, serving(tmp_path, receiver.port) as process:
            answer, _ = await ask(process.port, get())
            assert answer is not None
            assert (answer.status, answer.one("location")) == (307, location)
        assert not elsewhere.connections


async def test_out_of_descriptors_it_neither_spins_nor_stays_down(tmp_path: Path) -> None:
    async with (
        Receiver(answering(ok())) as receiver,
        serving(tmp_path, receiver.port, descriptors=48) as process,
    ):
        held = [await connect(process.port) for _ in range(80)]
        await eventually(lambda: process.descriptors() >= 47, "there are descriptors left")
        before = process.cpu()
        await asyncio.sleep(1.0)
        assert process.cpu() - before < 0.5, "it spins"
        for app in held:
            app.close()

        async def serves() -> None:
            while True:
                answer, _ = await ask(process.port, get())
                if answer is not None and answer.status == 200:
                    return
                await asyncio.sleep(0.05)

        async with asyncio.timeout(10):
            await serves()


async def test_a_crowd_at_the_admin_listener_takes_nothing_from_the_data_path(tmp_path: Path) -> None:
    """Silent, in the middle of a head, and reading nothing; more of them than the process has descriptors."""
    async with (
        Receiver(answering(ok())) as receiver,
        serving(tmp_path, receiver.port, descriptors=256, limits={"connections": 32}) as process,
    ):
        crowd = [await connect(process.admin) for _ in range(300)]
        for number, one in enumerate(crowd):
            if number % 3:
                one.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n" * (number % 2))
        for _ in range(20):
            answer, _ = await ask(process.port, get("/", "Connection: close"))
            assert answer is not None
            assert answer.status == 200
        assert process.descriptors() < 150
        for one in crowd:
            one.close()


async def test_under_attack_others_are_served_and_memory_is_bounded(tmp_path: Path) -> None:
    """Slow heads, endless heads, floods of empty lines, readers that do not read, receivers that flood with 1xx."""
    large = b"x" * (4 * MIB)

    async def script(wire: Wire) -> None:
        while True:
            # A connection that is kept may wait for its next request as long as the attack takes.
            await wire.wait_on(lambda: bool(wire.unread) or wire.ended)
            request = await wire.request()
            if request.target == "/large":
                wire.send(ok(large))
            elif request.target == "/flood":
                wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000)
                return
            else:
                wire.send(ok())

    async with (
        Receiver(script) as receiver,
        serving(tmp_path, receiver.port, log={"access": "off"}) as process,
    ):
        for _ in range(50):
            await ask(process.port, get())
        before = process.memory()
        attackers = [await connect(process.port) for _ in range(200)]
        rounds: list[None] = []
        attack = asyncio.ensure_future(_attack(attackers, rounds))
        try:
            took = []
            for _ in range(200):
                begin = len(rounds)
                answer, _ = await ask(process.port, get())
                took.append(len(rounds) - begin)
                assert answer is not None
                assert answer.status == 200
            answer, _ = await ask(process.port, get("/flood"))
            assert answer is not None
            assert answer.status == 103
            grown = process.memory() - before
        finally:
            attack.cancel()
            await asyncio.gather(attack, return_exceptions=True)
            for app in attackers:
                app.transport.abort()
        # In rounds of the attack, whose pace a busy machine slows as it slows the answers. The few slowest are the
        # machine's: two processes share its cores with the rest of the suite.
        assert statistics.quantiles(took, n=10)[8] < 50, took
        # 40 readers hold what their sockets and two buffers of 64 KiB take, and 40 heads 64 KiB each at the most.
        assert grown < 32 * MIB, grown
        await _quiet(process)


async def _attack(apps: list[Wire], rounds: list[None]) -> None:
    for number, app in enumerate(apps):
        if number % 5 == 0:
            app.stall()
            app.send(get("/large"))
    while True:
        for number, app in enumerate(apps):
            kind = number % 5
            if kind == 0 or app.lost or app.transport.get_write_buffer_size() > MIB:
                continue
            app.send(
                (
                    b"",
                    b"GET / HT",
                    b"X: " + b"a" * 1000,
                    b"\r\n" * 2000,
                    b"POST / HTTP/1.1\r\nHost: evil\r\n\r\n",
                )[kind]
            )
        rounds.append(None)
        await asyncio.sleep(0.01)


async def _quiet(process: Process) -> None:
    """Nothing of the attack is left to do."""

    async def idle() -> bool:
        before = process.cpu()
        await asyncio.sleep(0.3)
        return process.cpu() - before < 0.1

    async with asyncio.timeout(10):
        while not await idle():
            pass
