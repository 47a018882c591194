from __future__ import annotations

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.rebinding import may_lead_here
from tests.cases import for_each
from tests.emulator.http2_client import connected

OWN = [
    "localhost",
    "localhost:8333",
    "127.0.0.1:8333",
    "[::1]:8333",
    "10.1.2.3",
    "app.localhost:1",
    "emulator:8333",
    "LOCALHOST",
]
GOOGLES = [
    "metadata.google.internal",
    "sts.googleapis.com",
    "profiles-x7f3kq-uc.a.run.app:80",
    "a.cloudfunctions.net",
]
REBOUND = [
    *(
        "evil.com",
        "evil.example:8333",
        "rebound.test",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "run.app.evil.com",
    ),
    *("evilrun.app", "printer.local", "127.0.0.1.", "evil.com."),
    *("[::1].evil.example", "[::1]evil.example", "[::1]:80.evil.example", "localhost:80.evil.example"),
    *(
        "localhost:80:evil.example",
        "[evil.example]",
        "user@localhost",
        "localhost/evil.example",
        "localhost,evil",
        "",
    ),
]


@for_each("host", OWN + GOOGLES)
def test_names_of_this_machine_and_google_s(host: str) -> None:
    assert may_lead_here(host.encode())


@for_each("host", REBOUND)
def test_a_name_that_anyone_may_have_lead_here(host: str) -> None:
    assert not may_lead_here(host.encode())


@pytest.mark.parametrize("host", ["evil.example", "rebound.test:80"])
async def test_under_such_a_name_there_are_no_keys_no_tokens_and_no_service(
    emulator: Emulator, client: aiohttp.ClientSession, host: str
) -> None:
    identity = "/computeMetadata/v1/instance/service-accounts/default/identity?audience=a"
    places = [emulator.url + path for path in ("/emulator/keys/login.json", identity, "/nowhere")]
    for url in (*places, *emulator.urls.values()):
        async with client.get(url, headers={"Host": host, "Metadata-Flavor": "Google"}) as answer:
            assert answer.status == 403
            assert "private" not in await answer.text()


async def test_no_answer_tells_what_it_is_made_of(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    paths = ("/", "/nowhere", "/computeMetadata/v1/", "/emulator/keys/login.json", "/token", "/v1/token")
    places = [emulator.url + path for path in paths]
    for url in places:
        for host in ("localhost", "evil.example"):
            async with client.get(url, headers={"Host": host}) as answer:
                assert "aiohttp" not in answer.headers.get("Server", ""), url


@pytest.mark.parametrize("authority", ["evil.example", "rebound.test:80", "[::1].evil.example"])
async def test_nor_by_http2(emulator: Emulator, authority: str) -> None:
    for url in emulator.urls.values():
        async with connected(url) as client:
            client.authority = authority
            assert (await client.answer(client.request())).status == 403
