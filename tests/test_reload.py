"""New settings take over whole or not at all, and nobody loses a request over it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
import structlog
import trustme
from aiohttp import web

from idtoken_proxy.errors import ConfigError, ProxyError
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.reload import Pace, _reload, keep_reloading
from idtoken_proxy.server import Server
from idtoken_proxy.settings.file import ConfigFile
from idtoken_proxy.settings.load import settings_from_bytes
from idtoken_proxy.settings.model import Settings, TcpAddress
from tests.scripted import Scripted

PATIENCE = 10.0
BRISK = Pace(unhurried=0.01, look=0.2)


@asynccontextmanager
async def receiver(name: str) -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query.get("wait", "0")))
        return web.Response(text=f"{name}{request.path}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def written(path: Path, port: int, *, listen: str = "127.0.0.1:0", extra: str = "") -> Path:
    """As an editor or `kubectl` does: a new file in place of the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(
        f"listen: {listen}\nadmin: off\nidentity: none\n"
        f"routes: [{{name: it, upstream: 'http://127.0.0.1:{port}'}}]\n{extra}"
    )
    fresh.replace(path)
    return path


def source_of(path: Path) -> ConfigFile:
    return ConfigFile(str(path), lambda content: settings_from_bytes(content, str(path), {}))


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Server, str]]:
    source = source_of(path)
    server = Server(source.load(), {})
    await server.start()
    reloading = asyncio.ensure_future(keep_reloading(server, source, BRISK))
    await asyncio.sleep(0)
    try:
        yield server, f"http://{server.addresses[0]}"
    finally:
        reloading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reloading
        await server.stop(drain=1)


async def until(server: Server, port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while server.settings.routes[0].upstream.port != port:
            await asyncio.sleep(0.01)


async def test_what_comes_by_another_path_takes_over_too(tmp_path: Path) -> None:
    """As into a file that is mounted alone into a container: of that the kernel tells nobody in there."""
    async with receiver("before") as before, receiver("after") as after:
        inside, outside = tmp_path / "inside", tmp_path / "outside"
        inside.mkdir()
        outside.mkdir()
        path = written(inside / "proxy.yaml", before)
        (outside / "the same.yaml").hardlink_to(path)
        async with serving(path) as (server, _):
            await until(server, before)
            text = path.read_text().replace(str(before), str(after))
            (outside / "the same.yaml").write_text(text)
            await until(server, after)


async def test_a_changed_file_takes_over(tmp_path: Path) -> None:
    async with receiver("old") as old, receiver("new") as new:
        path = written(tmp_path / "proxy.yaml", old)
        async with serving(path) as (server, url), aiohttp.ClientSession() as app:
            assert await (await app.get(url)).text() == "old/"
            await asyncio.sleep(0.2)  # for the watch to begin
            written(path, new)
            await until(server, new)
            assert await (await app.get(url)).text() == "new/"


async def test_a_config_map_changes_by_a_symlink_beside_the_file(tmp_path: Path) -> None:
    async with receiver("old") as old, receiver("new") as new:
        for name, port in (("one", old), ("two", new)):
            (tmp_path / name).mkdir()
            written(tmp_path / name / "proxy.yaml", port)
        (tmp_path / "..data").symlink_to("one")
        (tmp_path / "proxy.yaml").symlink_to("..data/proxy.yaml")
        async with serving(tmp_path / "proxy.yaml") as (server, _):
            await asyncio.sleep(0.2)
            (tmp_path / "..data_tmp").symlink_to("two")
            (tmp_path / "..data_tmp").replace(tmp_path / "..data")
            await until(server, new)


async def test_sighup_loads_again_what_has_not_changed(tmp_path: Path) -> None:
    async with receiver("old") as old, serving(written(tmp_path / "proxy.yaml", old)) as (server, _):
        before = server.context.router
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while server.context.router is before:
                await asyncio.sleep(0.01)


async def test_a_directory_that_is_gone_for_a_while_is_no_end_of_it(tmp_path: Path) -> None:
    async with receiver("old") as old, receiver("new") as new:
        home, away = tmp_path / "home", tmp_path / "away"
        home.mkdir()
        path = written(home / "proxy.yaml", old)
        with structlog.testing.capture_logs() as logged:
            async with serving(path) as (server, _):
                home.rename(away)
                async with asyncio.timeout(PATIENCE):
                    while not any("does not watch" in line["event"] for line in logged):
                        await asyncio.sleep(0.01)
                written(away / "proxy.yaml", new)
                away.rename(home)
                await until(server, new)
    assert len([line for line in logged if "does not watch" in line["event"]]) == 1


async def test_a_busy_directory_does_not_put_off_the_look(tmp_path: Path) -> None:
    """Of an editor's swap files the watcher would say nothing, and of the file behind a symlink the kernel does not."""
    async with receiver("old") as old, receiver("new") as new:
        real, here = tmp_path / "real", tmp_path / "here"
        real.mkdir()
        here.mkdir()
        written(real / "proxy.yaml", old)
        (here / "proxy.yaml").symlink_to(real / "proxy.yaml")

        async def noise() -> None:
            while True:
                await asyncio.to_thread((here / "proxy.yaml.swp").touch)
                await asyncio.sleep(0.05)

        async with serving(here / "proxy.yaml") as (server, _):
            busy = asyncio.ensure_future(noise())
            await asyncio.sleep(0.3)  # until it is watched
            written(real / "proxy.yaml", new)
            await until(server, new)
            busy.cancel()


async def test_what_sighup_has_loaded_is_what_a_change_is_a_change_of(tmp_path: Path) -> None:
    async with receiver("first") as first, receiver("second") as second:
        path = written(tmp_path / "proxy.yaml", first)
        async with serving(path) as (server, _):
            written(path, second)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(server, second)
            written(path, first)
            await until(server, first)


async def test_where_no_thread_is_to_be_had_it_looks_again(tmp_path: Path) -> None:
    settings = source_of(written(tmp_path / "proxy.yaml", 1)).load()
    looks: list[None] = []

    def changed() -> bool:
        looks.append(None)
        if len(looks) == 1:
            raise RuntimeError("can't start new thread")
        return len(looks) == 2

    server = Failing(times=0)
    source = Scripted(lambda: settings, changed, str(tmp_path / "proxy.yaml"))
    reloading = asyncio.ensure_future(keep_reloading(server, source, BRISK))
    async with asyncio.timeout(PATIENCE):
        while not server.outcomes:
            await asyncio.sleep(0.01)
    reloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reloading
    assert server.outcomes == [None]


async def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with receiver("old") as old:
        path = written(tmp_path / "proxy.yaml", old)
        async with serving(path) as (server, url), aiohttp.ClientSession() as app:
            before = server.context.router
            written(path, old, extra="rautes: []\n")
            with structlog.testing.capture_logs() as logged:
                os.kill(os.getpid(), signal.SIGHUP)
                async with asyncio.timeout(PATIENCE):
                    while not any("reload refused" in line["event"] for line in logged):
                        await asyncio.sleep(0.01)
            (refused,) = [line for line in logged if "reload refused" in line["event"]][:1]
            assert refused["reason"].endswith('proxy.yaml:5: rautes: unknown key; did you mean "routes"?')
            assert server.context.router is before
            assert await (await app.get(url)).text() == "old/"


async def test_an_exchange_ends_under_the_settings_it_began_with(tmp_path: Path) -> None:
    async with receiver("old") as old, receiver("new") as new:
        path = written(tmp_path / "proxy.yaml", old)
        async with serving(path) as (server, url), aiohttp.ClientSession() as app:
            slow = asyncio.ensure_future(app.get(f"{url}/slow?wait=0.5"))
            await asyncio.sleep(0.2)
            await server.reload(source_of(written(path, new)).load())
            assert await (await app.get(f"{url}/fast")).text() == "new/fast"
            assert await (await slow).text() == "old/slow"


async def test_listeners_follow_and_one_that_cannot_be_had_refuses_the_whole(tmp_path: Path) -> None:
    async with receiver("old") as old, receiver("new") as new:
        path = written(tmp_path / "proxy.yaml", old)
        async with serving(path) as (server, url), aiohttp.ClientSession() as app:
            first = server.addresses
            await server.reload(source_of(written(path, old, listen="['127.0.0.1:0', '[::1]:0']")).load())
            assert server.addresses[0] == first[0]
            assert len(server.addresses) == 2
            taken = Settings(
                routes=server.settings.routes, listen=(TcpAddress("127.0.0.1", new),), admin=None
            )
            with pytest.raises(Exception, match="in use"):
                await server.reload(taken)
            assert await (await app.get(url)).text() == "old/"
            assert len(server.addresses) == 2


async def test_a_socket_file_that_is_gone_costs_neither_the_reload_nor_the_next(tmp_path: Path) -> None:
    with TemporaryDirectory() as made:
        door = Path(made) / "proxy.sock"
        both = f"['127.0.0.1:0', 'unix:{door}']"
        async with receiver("old") as old, receiver("new") as new:
            path = written(tmp_path / "proxy.yaml", old, listen=both)
            async with serving(path) as (server, url), aiohttp.ClientSession() as app:
                await asyncio.to_thread(door.unlink)
                written(path, new, listen=both)
                with structlog.testing.capture_logs() as logged:
                    os.kill(os.getpid(), signal.SIGHUP)
                    await until(server, new)
                    assert await (await app.get(url)).text() == "new/"
                    written(path, old, listen=both)
                    os.kill(os.getpid(), signal.SIGHUP)
                    await until(server, old)
                told = [line for line in logged if "mode cannot be set" in line["event"]]
                assert [line["path"] for line in told[:1]] == [str(door)]
                assert not [
                    line for line in logged if "refused" in line["event"] or "failed" in line["event"]
                ]
                assert await (await app.get(url)).text() == "old/"


class Failing:
    """A server whose first reload, or first `times`, run into a bug."""

    def __init__(self, times: int = 1) -> None:
        self.times = times
        self.outcomes: list[ProxyError | None] = []
        self.attempts = 0

    async def reload(self, settings: Settings) -> None:
        if len(self.outcomes) < self.times:
            raise FileNotFoundError(2, "s3cr3t")

    def reloading(self) -> None:
        self.attempts += 1

    def reloaded(self, error: ProxyError | None) -> None:
        self.outcomes.append(error)


async def test_a_reload_that_runs_into_a_bug_does_not_cost_the_next(tmp_path: Path) -> None:
    server = Failing()
    path = written(tmp_path / "proxy.yaml", 1)
    reloading = asyncio.ensure_future(keep_reloading(server, source_of(path), BRISK))
    await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logged:
        for attempt in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(PATIENCE):
                while len(server.outcomes) < attempt:
                    await asyncio.sleep(0.01)
    assert not reloading.done()
    reloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reloading
    failed, fine = server.outcomes
    assert failed is not None
    assert fine is None
    assert server.attempts == 2
    (told,) = [line for line in logged if line["event"] == "reload failed"]
    assert told["error"] == "FileNotFoundError"


async def test_no_request_is_lost_over_fifty_reloads_under_load(tmp_path: Path) -> None:
    async with receiver("one") as one, receiver("two") as two:
        path = written(tmp_path / "proxy.yaml", one)
        async with serving(path) as (server, url), aiohttp.ClientSession() as app:
            done, answers = asyncio.Event(), list[tuple[int, str]]()

            async def load() -> None:
                while not done.is_set():
                    async with app.get(url) as answer:
                        answers.append((answer.status, await answer.text()))

            clients = [asyncio.ensure_future(load()) for _ in range(8)]
            for turn in range(50):
                if turn % 5 == 4:
                    with pytest.raises(ConfigError):
                        source_of(written(path, one, extra="mistake: 1\n")).load()
                else:
                    await server.reload(source_of(written(path, two if turn % 2 else one)).load())
                seen = len(answers)
                async with asyncio.timeout(PATIENCE):
                    while len(answers) < seen + 8:
                        await asyncio.sleep(0.001)
            done.set()
            await asyncio.gather(*clients)
            assert {status for status, _ in answers} == {200}
            assert {text for _, text in answers} == {"one/", "two/"}


async def test_the_data_path_goes_on_while_a_file_is_read() -> None:
    """A thousand routes take half a second, and the loop has other work."""
    loop = asyncio.get_running_loop()
    turned = asyncio.Event()

    def load() -> Settings:
        # Comes to its end only if the loop turns meanwhile.
        loop.call_soon_threadsafe(turned.set)
        asyncio.run_coroutine_threadsafe(turned.wait(), loop).result(PATIENCE)
        raise ProxyError("read")

    told: list[ProxyError | None] = []

    class Told:
        async def reload(self, settings: Settings) -> None:
            raise AssertionError("there are no settings")

        def reloading(self) -> None:
            pass

        def reloaded(self, error: ProxyError | None) -> None:
            told.append(error)

    async with asyncio.timeout(PATIENCE):
        await _reload(Told(), Scripted(load), Threads("it"))
    assert [error and error.detail for error in told] == ["read"]


SECRET, OTHER = "a" * 32, "b" * 32


async def status_with(url: str, secret: str) -> int:
    headers = {"X-Idtoken-Proxy-Caller": secret}
    async with aiohttp.ClientSession() as client, client.get(url + "/x", headers=headers) as answer:
        return answer.status


async def until_taken(server: Server, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while sum(server.context.stats.reloads.values()) < count:
            await asyncio.sleep(0.01)


async def test_a_rotated_secret_takes_over_and_the_old_one_is_gone(tmp_path: Path) -> None:
    """As Kubernetes does it: `..data` becomes another directory, and the file's own link stays as it is."""
    secrets = tmp_path / "secrets"
    for name, secret in (("..one", SECRET), ("..two", OTHER), ("..three", "short")):
        (secrets / name).mkdir(parents=True)
        (secrets / name / "token").write_text(secret)
    (secrets / "..data").symlink_to("..one")
    (secrets / "token").symlink_to("..data/token")

    def swap(name: str) -> None:
        (secrets / "..new").symlink_to(name)
        (secrets / "..new").replace(secrets / "..data")

    async with receiver("one") as one:
        path = written(tmp_path / "proxy.yaml", one, extra="guard: {caller_token_file: secrets/token}\n")
        async with serving(path) as (server, url):
            assert (await status_with(url, SECRET), await status_with(url, OTHER)) == (200, 403)
            swap("..two")
            await until_taken(server, 1)
            assert (await status_with(url, SECRET), await status_with(url, OTHER)) == (403, 200)
            swap("..three")
            await until_taken(server, 2)
            last = server.context.stats.last_reload
            assert last is not None
            assert last.refused is not None
            assert "must hold one line of at least 16 visible" in last.refused
            assert "short" not in last.refused
            assert (await status_with(url, SECRET), await status_with(url, OTHER)) == (403, 200)
            swap("..one")
            await until_taken(server, 3)
            assert (await status_with(url, SECRET), await status_with(url, OTHER)) == (200, 403)


async def test_a_secret_that_is_replaced_by_rename_in_a_directory_that_comes_later(tmp_path: Path) -> None:
    async with receiver("one") as one:
        path = written(tmp_path / "proxy.yaml", one)
        async with serving(path) as (server, url):
            written(path, one, extra="guard: {caller_token_file: later/token}\n")
            await until_taken(server, 1)
            assert server.context.stats.reloads == {"taken": 0, "refused": 1}
            assert await status_with(url, OTHER) == 200
            (tmp_path / "later").mkdir()
            (tmp_path / "later" / "new").write_text(SECRET)
            (tmp_path / "later" / "new").rename(tmp_path / "later" / "token")
            await until_taken(server, 2)
            assert (await status_with(url, SECRET), await status_with(url, OTHER)) == (200, 403)


@asynccontextmanager
async def private_receiver(authority: trustme.CA) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_rotated_authority_takes_over_without_a_change_of_the_file(tmp_path: Path) -> None:
    """The certificates of tls.ca_file, replaced by rename; a file that holds none is refused, and mended alone."""
    one, two = trustme.CA(), trustme.CA()

    def swap(content: bytes) -> None:
        (tmp_path / "new").write_bytes(content)
        (tmp_path / "new").rename(tmp_path / "ca.pem")

    swap(two.cert_pem.bytes())
    async with private_receiver(one) as port:
        path = tmp_path / "proxy.yaml"
        path.write_text(
            "listen: 127.0.0.1:0\nadmin: off\nidentity: none\ntls: {ca_file: ca.pem}\n"
            f"routes: [{{name: it, upstream: 'https://localhost:{port}'}}]\n"
        )
        async with serving(path) as (server, url), aiohttp.ClientSession() as app:

            async def status() -> int:
                async with app.get(url) as answer:
                    return answer.status

            assert await status() == 502
            swap(one.cert_pem.bytes())
            await until_taken(server, 1)
            assert await status() == 200
            swap(b"no certificate")
            await until_taken(server, 2)
            assert await status() == 200
            swap(two.cert_pem.bytes())
            await until_taken(server, 3)
            assert server.context.stats.reloads == {"taken": 2, "refused": 1}
            assert await status() == 502
