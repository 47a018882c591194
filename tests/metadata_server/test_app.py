"""The listener, over real sockets, in front of the local Google."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.engine.listeners import ListenFailed
from idtoken_proxy.logs import configure
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import FileIdentity
from idtoken_proxy.settings.model import (
    CLOUD_PLATFORM,
    GoogleEndpoints,
    GuardSettings,
    LogSettings,
    Scopes,
    TcpAddress,
    UnixAddress,
)
from tests.cases import for_each
from tests.deploy.test_compose_world import free_port
from tests.end_to_end.conftest import CALLER, Serve, route_to, settings_for
from tests.metadata_server.conftest import metadata_settings

ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"
FLAVOR = {"Metadata-Flavor": "Google"}


class Face:
    """A proxy's, as a library would ask it."""

    def __init__(self, server: Server, client: aiohttp.ClientSession) -> None:
        self.server = server
        (address, *_) = server.metadata
        self.base = f"http://{address}"
        self._client = client

    async def ask(
        self, path: str, headers: Mapping[str, str] = FLAVOR, method: str = "GET"
    ) -> tuple[int, str, Mapping[str, str]]:
        async with self._client.request(
            method, self.base + path, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, await answer.text(), answer.headers

    async def text(self, path: str) -> str:
        status, text, headers = await self.ask(path)
        assert status == 200, text
        assert headers["Metadata-Flavor"] == "Google"
        return text


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


@pytest.fixture
async def face(emulator: Emulator, serve: Serve, client: aiohttp.ClientSession) -> Face:
    settings = settings_for(
        route_to(emulator, "user-profiles"),
        metadata_host=emulator.metadata_host,
        metadata=metadata_settings(audiences=("https://listed.example", emulator.urls["user-profiles"])),
    )
    return Face(await serve(settings), client)


async def test_what_libraries_ask_for(face: Face) -> None:
    assert await face.text("/") == "computeMetadata/\n"
    assert await face.text("/computeMetadata/v1/") == "instance/\nproject/\nuniverse/\n"
    assert await face.text(f"{ACCOUNT}/email") == CALLER
    assert await face.text(f"{ACCOUNT}/scopes") == f"{CLOUD_PLATFORM}\n"
    assert await face.text("/computeMetadata/v1/project/project-id") == "demo-project"
    assert await face.text("/computeMetadata/v1/universe/universe-domain") == "googleapis.com"
    assert json.loads(await face.text(f"{ACCOUNT}/?recursive=true")) == {
        "aliases": ["default"],
        "email": CALLER,
        "scopes": [CLOUD_PLATFORM],
    }
    status, _, headers = await face.ask("/computeMetadata/v1/instance?alt=json")
    assert (status, headers["Location"]) == (301, "/computeMetadata/v1/instance/?alt=json")


@for_each("query", ["", "recursive=true", "audience=%ff%00", "a=b%0d%0aSet-Cookie:x", "%%%", "&&&="])
async def test_a_directory_s_name_leads_to_it_whatever_is_asked_beside(face: Face, query: str) -> None:
    """gcp-metadata looks for a server by `instance`, without a slash."""
    for path in ("/computeMetadata/v1", "/computeMetadata/v1//universe", "/computeMetadata/v1/%2Fproject"):
        status, _, headers = await face.ask(f"{path}?{query}")
        assert status == 301
        assert "Set-Cookie" not in headers
        place = f"/computeMetadata/v1/{path.rpartition('/')[2].removeprefix('%2F')}/".replace("v1/v1/", "v1/")
        assert headers["Location"].partition("?")[0] == place


async def test_id_tokens_come_out_of_the_proxy_s_own_cache(face: Face, emulator: Emulator) -> None:
    audience = emulator.urls["user-profiles"]
    (slot,) = face.server.slots.values()
    held = await slot.get()
    path = f"{ACCOUNT}/identity?audience={audience}&format=full&licenses=TRUE"
    token = await face.text(path)
    assert token == held.value
    assert await face.text(path.replace("default", CALLER)) == token
    assert (
        claims_of(await face.text(f"{ACCOUNT}/identity?audience=https://listed.example"))["email"] == CALLER
    )


async def test_audiences_are_limited_to_the_listed_ones(face: Face) -> None:
    written = io.StringIO()
    configure(LogSettings(format="json"), written)
    status, text, _ = await face.ask(f"{ACCOUNT}/identity?audience=https://other.example&format=full")
    assert status == 403
    assert "eyJ" not in text
    (told,) = [json.loads(line) for line in written.getvalue().splitlines() if "refused" in line]
    assert "other.example" in told["remedy"]
    status, text, _ = await face.ask(f"{ACCOUNT}/identity")
    assert (status, "non-empty audience parameter required" in text) == (400, True)
    assert (await face.ask(f"{ACCOUNT}/identity?audience=https://listed.example&format=odd"))[0] == 400


async def test_access_tokens(face: Face) -> None:
    answer = json.loads(await face.text(f"{ACCOUNT}/token?scopes=https://www.googleapis.com/auth/pubsub"))
    assert answer["token_type"] == "Bearer"
    assert 3000 < answer["expires_in"] <= 3600
    # One token, whatever is asked for: a request chooses nothing.
    assert json.loads(await face.text(f"{ACCOUNT}/token"))["access_token"] == answer["access_token"]


async def test_an_access_token_only_where_the_configuration_says_so(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession
) -> None:
    route = route_to(emulator, "user-profiles")
    none = metadata_settings(scopes=None, audiences=("https://listed.example",))
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host, metadata=none))
    status, text, _ = await Face(server, client).ask(f"{ACCOUNT}/token")
    assert (status, "ya29" in text) == (403, False)

    narrow = replace(none, scopes=Scopes(("https://www.googleapis.com/auth/pubsub",)))
    await server.reload(settings_for(route, metadata_host=emulator.metadata_host, metadata=narrow))
    face = Face(server, client)
    assert (await face.ask(f"{ACCOUNT}/token?scopes=https://www.googleapis.com/auth/drive"))[0] == 403
    assert (await face.ask(f"{ACCOUNT}/token?scopes=https://www.googleapis.com/auth/pubsub"))[0] == 200


async def test_who_is_refused_is_handed_nothing(face: Face) -> None:
    token = f"{ACCOUNT}/token"
    for headers in (
        {},
        {**FLAVOR, "X-Forwarded-For": "10.0.0.1"},
        {**FLAVOR, "Host": "evil.example"},
        {**FLAVOR, "Origin": face.base},
        {**FLAVOR, "Sec-Fetch-Site": "same-origin"},
    ):
        status, text, answered = await face.ask(token, headers)
        assert (status, answered["Metadata-Flavor"]) == (403, "Google")
        assert "ya29" not in text
        assert "Access-Control-Allow-Origin" not in answered
    assert (await face.ask(token, method="OPTIONS"))[0] == 405
    assert (await face.ask(token, method="POST"))[0] == 405
    assert face.server.metadata_counts.by_kind()["token", "answered"] == 0
    assert face.server.metadata_counts.by_outcome()["refused"] == 7


async def test_alone_it_needs_no_route_and_outlives_the_drain(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession
) -> None:
    """An app's last calls are made while the proxy drains already."""
    written = io.StringIO()
    configure(LogSettings(format="json", level="debug"), written)
    alone = metadata_settings(audiences=("https://a.example",))
    server = await serve(settings_for(metadata_host=emulator.metadata_host, metadata=alone))
    assert server.ready
    server.quit()
    face = Face(server, client)
    token = await face.text(f"{ACCOUNT}/identity?audience=https://a.example")
    access = json.loads(await face.text(f"{ACCOUNT}/token"))["access_token"]
    assert token[-40:] not in written.getvalue()
    assert access not in written.getvalue()


async def test_a_proxy_that_would_ask_itself_is_told_so() -> None:
    """Where a Compose file gives both the same variables."""
    written = io.StringIO()
    configure(LogSettings(format="json", level="warning"), written)
    port = free_port()
    face = metadata_settings(listen=TcpAddress("localhost", port))
    settings = settings_for(metadata_host="", metadata=face, google=GoogleEndpoints())
    for environ in ({}, {"GCE_METADATA_HOST": f"localhost:{port}"}):
        assert "asked of itself" not in written.getvalue()
        server = Server(settings, environ)
        await server.start()
        await server.stop(0)
    assert "asked of itself" in written.getvalue()


async def test_two_hosts_are_none(face: Face) -> None:
    address = face.server.metadata[0]
    assert isinstance(address, TcpAddress)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(
        f"GET {ACCOUNT}/token HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"
        "Metadata-Flavor: Google\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    assert answer.split(b" ")[1] in (b"400", b"403")
    assert b"ya29" not in answer
    writer.close()


@for_each(
    ("line", "more", "status"),
    [
        ("CONNECT localhost:80", "", 405),
        ("OPTIONS *", "", 405),
        ("GET http://evil.example/computeMetadata/v1/instance/", "", 403),
        ("GET http://localhost/computeMetadata/v1/instance/", "", 200),
        (f"GET {ACCOUNT}/token", "X_Forwarded_For: 10.0.0.1\r\n", 403),
        (f"GET {ACCOUNT}/token", "Metadata-Flavor: Google\r\n", 403),
        (f"GET {ACCOUNT}/token", "Expect: a-miracle\r\n", 417),
    ],
)
async def test_whatever_its_target_is_the_guard_is_asked_first(
    face: Face, line: str, more: str, status: int
) -> None:
    address = face.server.metadata[0]
    assert isinstance(address, TcpAddress)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(
        f"{line} HTTP/1.1\r\nHost: localhost\r\nMetadata-Flavor: Google\r\n{more}Connection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    assert answer.split(b" ")[1] == str(status).encode()
    assert b"Metadata-Flavor: Google\r\n" in answer
    assert b"aiohttp" not in answer
    assert b"miracle" not in answer
    assert b"ya29" not in answer
    writer.close()


async def test_what_is_not_there_is_404(face: Face) -> None:
    for path in (
        "/computeMetadata/v1/instance/zone",
        "/latest/meta-data",
        f"{ACCOUNT}/nothing",
        "/computeMetadata/v1beta1/",
    ):
        status, text, headers = await face.ask(path)
        assert (status, headers["Metadata-Flavor"], headers["Content-Type"].partition(";")[0]) == (
            404,
            "Google",
            "text/html",
        )
        assert path not in text
    assert (await face.ask("/computeMetadata/v1/?wait_for_change=true"))[0] == 400


async def test_without_a_token_whose_fault_it_is_decides(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A library asks again upon 503, and not upon 403: a missing file does not mend itself."""
    token = tmp_path / "token"
    route = route_to(emulator, "user-profiles")
    of_file = metadata_settings(
        identity=FileIdentity(str(token)), audiences=("https://a.example",), scopes=None
    )
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host, metadata=of_file))
    status, text, _ = await Face(server, client).ask(f"{ACCOUNT}/identity?audience=https://a.example")
    assert status == 403
    assert "token" in text
    assert server.status()["metadata"]["error"]["cause"]
    assert server.metadata_counts.by_kind()["identity", "failed"] == 1

    gone = metadata_settings(audiences=("https://b.example",), scopes=None)
    await server.reload(settings_for(route, metadata_host="127.0.0.1:1", metadata=gone))
    status, text, _ = await Face(server, client).ask(f"{ACCOUNT}/identity?audience=https://b.example")
    assert status == 503


async def test_a_reload_takes_it_over_and_away(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession
) -> None:
    route = route_to(emulator, "user-profiles")
    first = metadata_settings(audiences=("https://a.example",))
    server = await serve(settings_for(route, metadata_host=emulator.metadata_host, metadata=first))
    face, before = Face(server, client), server.metadata
    await face.text(f"{ACCOUNT}/identity?audience=https://a.example")
    second = metadata_settings(audiences=("https://b.example",))
    await server.reload(settings_for(route, metadata_host=emulator.metadata_host, metadata=second))
    assert server.metadata == before  # the same port, though it was any
    assert (await face.ask(f"{ACCOUNT}/identity?audience=https://a.example"))[0] == 403
    await face.text(f"{ACCOUNT}/identity?audience=https://b.example")

    taken = server.addresses[0]
    clash = metadata_settings(listen=taken, audiences=("https://c.example",))
    with pytest.raises(ListenFailed, match=r"metadata\.listen"):
        await server.reload(settings_for(route, metadata_host=emulator.metadata_host, metadata=clash))
    await face.text(f"{ACCOUNT}/identity?audience=https://b.example")

    await server.reload(settings_for(route, metadata_host=emulator.metadata_host))
    assert server.metadata == ()
    assert "metadata" not in server.status()
    with pytest.raises(aiohttp.ClientError):
        await face.ask("/")
    await server.reload(settings_for(route, metadata_host=emulator.metadata_host, metadata=second))
    await Face(server, client).text(f"{ACCOUNT}/identity?audience=https://b.example")


async def test_a_unix_socket_is_its_user_s_alone_unless_others_are_listed(
    emulator: Emulator, serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "metadata.sock"
    route = route_to(emulator, "user-profiles")
    settings = settings_for(
        route, metadata_host=emulator.metadata_host, metadata=metadata_settings(listen=UnixAddress(str(path)))
    )
    server = await serve(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get(f"http://any-name{ACCOUNT}/token", headers=FLAVOR) as answer:
            assert answer.status == 200
        others = GuardSettings(allowed_uids=frozenset({64_999}))
        await server.reload(replace(settings, guard=others))
        assert path.stat().st_mode & 0o777 == 0o666
        async with session.get(f"http://any-name{ACCOUNT}/token", headers=FLAVOR) as answer:
            assert answer.status == 403


async def test_a_service_of_compose_is_asked_by_its_name(
    emulator: Emulator, serve: Serve, client: aiohttp.ClientSession
) -> None:
    """On all interfaces of a container, where the operator has said so; under no name that he has not listed."""
    written = io.StringIO()
    configure(LogSettings(format="json"), written)
    settings = settings_for(
        route_to(emulator, "user-profiles"),
        metadata_host=emulator.metadata_host,
        metadata=metadata_settings(listen=TcpAddress("0.0.0.0", 0), allow_remote=True),
        guard=GuardSettings(allowed_hosts=("idtoken-proxy",)),
    )
    server = await serve(settings)
    warned = [json.loads(line) for line in written.getvalue().splitlines() if "handed this identity" in line]
    assert len(warned) == 1
    (address,) = server.metadata
    assert isinstance(address, TcpAddress)
    by_name = f"idtoken-proxy:{address.port}"
    async with client.get(
        f"http://127.0.0.1:{address.port}{ACCOUNT}/token", headers={**FLAVOR, "Host": by_name}
    ) as answer:
        assert answer.status == 200
    async with client.get(
        f"http://127.0.0.1:{address.port}{ACCOUNT}/token", headers={**FLAVOR, "Host": f"other:{address.port}"}
    ) as answer:
        assert answer.status == 403
