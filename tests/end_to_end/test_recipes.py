"""The README's recipes for Google's APIs, word for word, against the emulator: real SDKs, pip and curl, and no login of theirs."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.emulator.world import service_account_email
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Route, Scopes, Settings, TcpAddress, Upstream
from tests.test_readme import TOLD, blocks

CALLER = Account(service_account_email("caller", "my-project"), default=True)
APIS = ("aiplatform", "storage", "monitoring", "python")
WORLD = World(
    "my-project", (CALLER,), tuple(Service(name, frozenset({CALLER.member}), api=name) for name in APIS)
)
RECIPES = TOLD.partition("\n### Recipes\n")[2].partition("\n### ")[0]
PYTHON = blocks("python", RECIPES)
LINES = "".join(blocks("sh", RECIPES)).splitlines()


@pytest.fixture
async def seen() -> list[Seen]:
    return []


@pytest.fixture
async def proxies(keys: Keys, seen: list[Seen]) -> AsyncIterator[dict[str, str]]:
    """The URL of a proxy before each API."""
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(WORLD, keys=keys, on_request=seen.append))
        urls = {}
        for name, url in emulator.urls.items():
            upstream = Upstream("http", "127.0.0.1", int(url.rpartition(":")[2]))
            route = Route(name, upstream, None, MetadataIdentity(), scopes=Scopes())
            google = GoogleEndpoints(metadata_host=emulator.metadata_host)
            server = Server(
                Settings((route,), listen=(TcpAddress("127.0.0.1", 0),), admin=None, google=google), {}
            )
            await server.start()
            stack.push_async_callback(server.stop, 0)
            urls[name] = f"http://{server.addresses[0]}"
        yield urls


async def run(*argv: str, directory: Path) -> str:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(directory)}
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=environ,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-1500:]
    return out.decode()


def of(block: str, proxies: dict[str, str]) -> str:
    """The recipe, with the proxy of its API."""
    marks = {"storage": "storage", "prometheus": "monitoring", "/simple/": "python"}
    api = next((name for mark, name in marks.items() if mark in block), "aiplatform")
    return block.replace("http://localhost:8080", proxies[api])


@pytest.mark.thorough
async def test_the_sdks_work_unmodified_but_for_their_base_url(
    proxies: dict[str, str], seen: list[Seen], tmp_path: Path
) -> None:
    """In one process, one after the other, as they share what is dear to import. The last is a large upload: its session has
    an address of its own, which must be the proxy's.
    """
    (storage,) = (block for block in PYTHON if "storage" in block)
    head = storage.partition("blob.upload")[0].replace('"greeting")', '"large", chunk_size=256 * 1024)')
    large = f"{head}import io\nblob.upload_from_file(io.BytesIO(b'x' * 600_000))\nprint(len(blob.download_as_bytes()))"
    script = "\nprint('--')\n".join(of(block, proxies) for block in (*PYTHON, large))
    said = (await run(sys.executable, "-c", script, directory=tmp_path)).split("--")
    assert [one.strip() for one in said] == [
        "Say hello to the world\nSay hello to the world",
        "Say hello to the world\nSay hello to the world",
        "hello",
        "600000",
    ]
    for one in seen:
        credentials = [value for name, value in one.headers if name.lower() == "authorization"]
        assert [value.startswith("Bearer ya29.") for value in credentials] == [True], one
        assert one.refused is None
    pieces = [one.method for one in seen if "uploadType=resumable" in one.target]
    assert pieces == ["POST", "PUT", "PUT", "PUT"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_lines_work_as_they_are_pasted(proxies: dict[str, str], tmp_path: Path) -> None:
    lines = [of(line, proxies) for line in LINES if line.startswith(("curl", "pip"))]
    storage, prometheus, pip = lines
    assert '"kind": "storage#objects"' in await run("sh", "-c", storage, directory=tmp_path)
    assert '"status": "success"' in await run("sh", "-c", prometheus, directory=tmp_path)
    download = pip.removeprefix("pip install")
    command = f"{sys.executable} -m pip download --no-deps --disable-pip-version-check --dest . {download}"
    await run("sh", "-c", command, directory=tmp_path)
    assert (tmp_path / "hello-1.0-py3-none-any.whl").exists()
