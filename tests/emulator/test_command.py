from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from idtoken_proxy.emulator.command import numbered, run_emulator, what_to_export, with_backends
from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import DEMO, Account, Service, World
from idtoken_proxy.emulator.world_entries import NAME_SHAPE
from tests.cases import and_thoroughly
from tests.emulator.conftest import CLIENT, WORLD
from tests.emulator.grpc_client import dialled
from tests.settings.test_plausible import BASE64, KEY

RUN = "import sys; from idtoken_proxy.emulator.command import run_emulator as run; sys.exit(run(None, '127.0.0.1', 0))"


@pytest.mark.parametrize("number", and_thoroughly(signal.SIGTERM, signal.SIGINT))
async def test_it_says_what_to_export_and_ends_cleanly(
    client: aiohttp.ClientSession, number: signal.Signals
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-u", "-c", RUN),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(20):
        while "# Public keys" not in said:
            said += (await process.stdout.readline()).decode()
        exports = dict(re.findall(r"export (\w+)=(\S+)", said))
        response = await client.get(exports["USER_PROFILES_URL"] + "/x?y=1")
        assert response.status == 403
        process.send_signal(number)
        rest, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert rest.decode().splitlines()[0] == "user-profiles: GET /x?y=1: refused with 403"
    assert exports["GCE_METADATA_HOST"] == exports["GCE_METADATA_IP"]
    url = re.findall(r"curl -so login.json (\S+)", said)
    assert url == [f"http://{exports['GCE_METADATA_HOST']}/emulator/keys/login.json"]


async def test_it_says_who_cancels() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-W", "error", "-u", "-c", RUN), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(20):
        while "# Public keys" not in said:
            said += (await process.stdout.readline()).decode()
        exports = dict(re.findall(r"export (\w+)=(\S+)", said))
        url = exports["USER_PROFILES_URL"]
        async with aiohttp.ClientSession() as client:
            asked = f"http://{exports['GCE_METADATA_HOST']}/computeMetadata/v1/instance/service-accounts/default/identity"
            token = await (
                await client.get(asked, params={"audience": url}, headers={"Metadata-Flavor": "Google"})
            ).text()
        async with dialled(url, (("authorization", f"Bearer {token}"),)) as grpc:
            call = grpc.health("Watch", "")
            await call.read()
            call.cancel()
            path = "user-profiles: POST /grpc.health.v1.Health/Watch"
            lines = [(await process.stdout.readline()).decode() for _ in range(2)]
        assert lines == [f"{path}: let through\n", f"{path}: cancelled with CANCEL\n"]
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


def test_services_follow_the_issuers_where_they_say_no_port() -> None:
    def ports(port: int, *own: int) -> list[int]:
        world = World("p", (), tuple(Service(f"s{at}", port=number) for at, number in enumerate(own)))
        return [service.port for service in numbered(world, port).services]

    assert ports(8090, 0, 0, 0) == [8101, 8102, 8103]
    assert ports(8090, 0, 9000, 0) == [8101, 9000, 8102]
    assert ports(8090, 0, 8101, 0) == [8102, 8101, 8103]
    assert ports(0, 0, 7000) == [0, 7000]
    assert ports(65524, 0, 0) == [65535, 0]


def test_an_app_stands_behind_a_service_that_is_there_or_comes_to_be() -> None:
    world = with_backends(DEMO, ["search=http://localhost:3000", "my-app=http://[::1]:3001/"])
    assert [service.backend for service in world.services] == [
        None,
        "http://localhost:3000",
        None,
        "http://[::1]:3001",
    ]
    search, mine = world.services[1], world.services[3]
    assert search.invokers == DEMO.services[1].invokers
    assert (mine.name, mine.invokers) == ("my-app", frozenset({DEMO.accounts[0].member}))
    assert with_backends(World("p", (), ()), ["a=http://a:1"]).services[0].invokers == frozenset()
    assert with_backends(DEMO, []) == DEMO


def test_a_wrong_app_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_emulator(None, "127.0.0.1", 0, backends=["My App=http://a:1", "b=3000", "c"]) == 2
    url = "must be http://HOST:PORT of an app, and no more, not"
    assert capsys.readouterr().err.splitlines() == [
        f'--service: {NAME_SHAPE}, not "My App"',
        "--service b: must be a URL; write http://localhost:3000",
        f'--service c: {url} ""',
    ]


def test_a_wrong_world_is_2_with_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "world.yaml"
    file.write_text("accounts: 3\n")
    assert run_emulator(str(file), "127.0.0.1", 0) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{file}: services: is missing",
        f"{file}:1: accounts: must be a list, not 3",
    ]


def test_no_world_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_emulator(str(tmp_path / "none.yaml"), "127.0.0.1", 0) == 2
    assert capsys.readouterr().err == f"{tmp_path}/none.yaml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("secret", [KEY, BASE64, "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJTRU5USU5FTCJ9.SENTINEL"])
def test_a_secret_in_place_of_the_world_s_path_is_not_shown(
    secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_emulator(secret, "127.0.0.1", 0) == 2
    told = capsys.readouterr().err
    assert told.startswith("-c: holds the credential itself, as it looks")
    assert "SENTINEL" not in told
    assert secret not in told


def test_a_taken_port_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "world.yaml"
    file.write_text("{accounts: [], services: []}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run_emulator(str(file), "127.0.0.1", taken.getsockname()[1]) == 1
    assert "address already in use" in capsys.readouterr().err


async def test_it_breaks_on_purpose_and_says_so(client: aiohttp.ClientSession) -> None:
    run = RUN.replace("0))", "0, 'rate-limit'))")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-u", "-c", run),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(20):
        while "# Public keys" not in said:
            said += (await process.stdout.readline()).decode()
        host = dict(re.findall(r"export (\w+)=(\S+)", said))["GCE_METADATA_HOST"]
        assert (await client.get(f"http://{host}/")).status == 429
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    first = said.splitlines()[0]
    assert first == "# Broken on purpose (rate-limit): Google answers 429 to every request for a token."


async def test_it_says_what_stands_before_a_service_and_where_workloads_find_their_files(
    emulator: Emulator, client: aiohttp.ClientSession
) -> None:
    lines = list(what_to_export(emulator))
    ends = {line.split("=")[0].removeprefix("export "): line.partition("; ")[2] for line in lines}
    assert ends["RESIZE_URL"] == "a 1st-generation function"
    assert ends["INTRANET_URL"] == f"behind IAP, audience {CLIENT}"
    assert ends["MANAGED_URL"] == "behind IAP, managed client"
    assert ends["PROFILES_URL"] == ""
    assert f"curl -X POST {emulator.url}/emulator/services/profiles/invokers/indexer" in lines
    config = f"{emulator.url}/emulator/workloads/outside/github/config.json"
    assert f"curl -so github.json '{config}?impersonate=indexer'" in lines
    assert (await client.get(f"{config}?impersonate=indexer")).status == 200


async def test_a_pool_that_may_impersonate_nobody_comes_without_an_account(keys: Keys) -> None:
    world = World("p", (Account("a@b.c"),), (), providers=WORLD.providers[:1])
    async with Emulator(world, keys=keys) as emulator:
        config = f"{emulator.url}/emulator/workloads/outside/github/config.json"
        assert f"curl -so github.json '{config}'" in list(what_to_export(emulator))


async def test_without_a_default_account_no_metadata_server_is_named(keys: Keys) -> None:
    async with Emulator(World("p", (), (Service("a", frozenset({"allUsers"})),)), keys=keys) as emulator:
        lines = list(what_to_export(emulator))
        assert f"export A_URL={emulator.urls['a']}  # allUsers" in lines
    assert not any("GCE_METADATA_HOST" in line for line in lines)
