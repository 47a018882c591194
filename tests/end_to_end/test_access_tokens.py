"""`token: access`: every kind of identity reaches a stand-in for one of Google's APIs, which checks what it is given."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from idtoken_proxy.emulator import Account, Emulator, Service, World
from idtoken_proxy.emulator.federation import SERVICE, Oidc, Provider, pool_path
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.emulator.world import PROJECT_NUMBER, service_account_email
from idtoken_proxy.identity.error_causes import HOST
from idtoken_proxy.server import Server
from idtoken_proxy.settings.identities import BY_TYPE
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import CLOUD_PLATFORM
from tests.identity.sources.emulated import logged_in, write

PROJECT = "my-project"
READ = "https://www.googleapis.com/auth/devstorage.read_only"
PRINCIPAL = f"principalSet:{SERVICE}/{pool_path(PROJECT_NUMBER, 'outside')}/*"
CALLER = Account(service_account_email("caller", PROJECT), default=True)
MIDDLE = Account(service_account_email("middle", PROJECT), token_creators=frozenset({CALLER.member}))
TARGET = Account(service_account_email("target", PROJECT), token_creators=frozenset({MIDDLE.member}))
DEV = Account("dev@example.com")
WORLD = World(
    PROJECT,
    (CALLER, MIDDLE, TARGET, DEV),
    (
        Service(
            "storage",
            frozenset({CALLER.member, TARGET.member, DEV.member, PRINCIPAL}),
            api="pubsub",
            scopes=(READ,),
        ),
        Service("vertex", frozenset({CALLER.member, DEV.member}), api="logging"),
    ),
    providers=(Provider("outside", "github", Oidc("https://github.example.com")),),
)


@pytest.fixture
def seen() -> list[Seen]:
    return []


@pytest.fixture
async def emulator(keys: Keys, seen: list[Seen]) -> AsyncIterator[Emulator]:
    async with Emulator(WORLD, keys=keys, on_request=seen.append) as running:
        yield running


class Proxied:
    """A proxy whose routes are `/NAME`, each to one of the emulator's APIs."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.server: Server | None = None

    async def start(
        self,
        routes: Mapping[str, Mapping[str, Any]],
        environ: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        emulator = self.emulator
        text = json.dumps(
            {
                "listen": "127.0.0.1:0",
                "admin": "127.0.0.1:0",
                **more,
                "google": {
                    "token_endpoint": emulator.token_endpoint,
                    "iam_endpoint": emulator.iam_endpoint,
                    "sts_endpoint": emulator.sts_endpoint,
                    "metadata_host": emulator.metadata_host,
                },
                "routes": [
                    {
                        "name": name,
                        "match": {"path": f"/{name}"},
                        "strip_prefix": True,
                        "upstream": emulator.urls[said.get("to", "storage")],
                        "token": "access",
                        **{key: value for key, value in said.items() if key != "to"},
                    }
                    for name, said in routes.items()
                ],
            }
        )
        known = environ or {}
        self.server = Server(settings_from_text(text, "proxy.yaml", known), known)
        await self.server.start()

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://{self.server.addresses[0]}"

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.session.get(
            f"{self.url}{path}", headers={name.replace("_", "-"): value for name, value in headers.items()}
        ) as answer:
            return answer.status, await answer.json(content_type=None)


@pytest.fixture
async def proxied(emulator: Emulator) -> AsyncIterator[Proxied]:
    async with aiohttp.ClientSession() as session:
        proxy = Proxied(emulator, session)
        yield proxy
        if proxy.server is not None:
            await proxy.server.stop(0)


def gcloud(directory: Path, token: str) -> None:
    """Prints an access token as the real one does, and knows no option for scopes."""
    script = f"""#!{sys.executable} -I
import json, sys
if sys.argv[1:3] == ["config", "list"]:
    print(json.dumps({{"core": {{"account": {CALLER.email!r}}}}}))
elif sys.argv[1:] == ["auth", "print-access-token"]:
    print({token!r})
else:
    sys.exit("not known")
"""
    (directory / "gcloud").write_text(script)
    (directory / "gcloud").chmod(0o700)


async def test_each_kind_of_identity_reaches_an_api_with_the_scopes_of_its_route(
    emulator: Emulator,
    proxied: Proxied,
    seen: list[Seen],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def file(name: str, content: Mapping[str, Any]) -> str:
        return str(write(tmp_path / name, content))

    key = file("key.json", await asyncio.to_thread(emulator.key_file, CALLER.email))
    login = file("application_default_credentials.json", emulator.key_file(DEV.email))
    subject = await asyncio.to_thread(emulator.subject_token, "github")
    (tmp_path / "subject").write_text(subject)
    federation = file(
        "federation.json", emulator.external_account("github", "file", at=str(tmp_path / "subject"))
    )
    (tmp_path / "token").write_text(emulator.access_token(CALLER.email, (READ,)))
    gcloud(tmp_path, emulator.access_token(CALLER.email))
    printed = json.dumps({"access_token": emulator.access_token(CALLER.email, (READ,)), "expires_in": 3600})
    client = str(await asyncio.to_thread(logged_in, emulator, tmp_path, CLOUD_PLATFORM))
    scopes = {"scopes": [READ]}
    target = {"type": "impersonated", "service_account": TARGET.email, "delegates": [MIDDLE.email]}
    routes: dict[str, tuple[Mapping[str, Any], str | None]] = {
        "auto": ({"identity": "auto", "to": "vertex"}, DEV.email),
        "metadata": ({"identity": "metadata", **scopes}, CALLER.email),
        "service_account": (
            {"identity": {"type": "service_account", "key_file": key}, **scopes},
            CALLER.email,
        ),
        "user": ({"identity": "user", "to": "vertex"}, DEV.email),
        "gcloud": ({"identity": "gcloud", "to": "vertex"}, CALLER.email),
        "oauth": (
            {
                "identity": {"type": "oauth", "client_file": client, "scopes": [CLOUD_PLATFORM]},
                "to": "vertex",
                "quota_project": PROJECT,
            },
            DEV.email,
        ),
        "impersonated": ({"identity": {**target, "source": "metadata"}, **scopes}, TARGET.email),
        "external_account": (
            {"identity": {"type": "external_account", "config_file": federation}, **scopes},
            None,
        ),
        "file": ({"identity": {"type": "file", "path": str(tmp_path / "token")}, **scopes}, CALLER.email),
        "command": (
            {
                "identity": {
                    "type": "command",
                    "argv": ["/bin/sh", "-c", f"test {READ} = \"$0\" && echo '{printed}'", "{scopes}"],
                },
                **scopes,
            },
            CALLER.email,
        ),
    }
    assert set(routes) == {kind for kind, declared in BY_TYPE.items() if declared.has_access_tokens}
    environ = {
        "XDG_STATE_HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path),
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}:/bin:/usr/bin",
    }
    assert login
    caplog.set_level(logging.DEBUG)
    await proxied.start({name: said for name, (said, _) in routes.items()}, environ)
    for name, (_, email) in routes.items():
        status, told = await proxied.get(f"/{name}/bucket")
        assert (status, told.get("caller")) == (200, email), (name, told)
    for one in seen:
        assert [value for header, value in one.headers if header.lower() == "authorization"]
    # Again: from the cache, all of them.
    before = [one.headers for one in seen]
    for name in routes:
        assert (await proxied.get(f"/{name}/bucket"))[0] == 200
    tokens = [dict(headers)["Authorization"] for headers in before]
    assert [dict(one.headers)["Authorization"] for one in seen[len(before) :]] == tokens
    said = f"{caplog.text}{capfd.readouterr()}"
    assert "ya29." not in said


def sent(one: Seen, name: str) -> list[str]:
    return [value for header, value in one.headers if header.lower() == name.lower()]


async def test_what_the_app_sends_as_a_credential_gives_way(proxied: Proxied, seen: list[Seen]) -> None:
    await proxied.start({"api": {"identity": "metadata", "scopes": [READ]}})
    status, _ = await proxied.get(
        "/api/x?key=sk-dummy",
        Authorization="Bearer sk-dummy",
        X_Goog_Api_Key="dummy",
        X_Serverless_Authorization="Bearer other",
        Proxy_Authorization="Bearer other",
    )
    assert status == 200
    (one,) = seen
    assert one.target == "/x?key=sk-dummy"  # a target is never rewritten
    (credential,) = sent(one, "authorization")
    assert credential.startswith("Bearer ya29.")
    for name in ("x-goog-api-key", "x-serverless-authorization", "proxy-authorization"):
        assert sent(one, name) == []


async def test_whom_google_charges(
    emulator: Emulator, proxied: Proxied, seen: list[Seen], tmp_path: Path
) -> None:
    """The app's word, the route's, the variable's, the credential's."""
    write(tmp_path / "application_default_credentials.json", emulator.key_file(DEV.email))
    own = {"identity": "user", "to": "vertex"}
    environ = {"CLOUDSDK_CONFIG": str(tmp_path)}
    await proxied.start({"file": own, "route": {**own, "quota_project": PROJECT_NUMBER}}, environ)
    for path, headers, charged in (
        ("/file/", {}, PROJECT),
        ("/route/", {}, PROJECT_NUMBER),
        ("/route/", {"X_Goog_User_Project": PROJECT}, PROJECT),
    ):
        assert (await proxied.get(path, **headers))[0] == 200
        assert sent(seen[-1], "x-goog-user-project") == [charged]
    assert proxied.server is not None
    await proxied.server.stop(0)
    await proxied.start({"file": own}, {**environ, "GOOGLE_CLOUD_QUOTA_PROJECT": PROJECT_NUMBER})
    assert (await proxied.get("/file/"))[0] == 200
    assert sent(seen[-1], "x-goog-user-project") == [PROJECT_NUMBER]


async def test_an_api_s_401_renews_and_the_app_never_sees_it(
    emulator: Emulator, proxied: Proxied, seen: list[Seen]
) -> None:
    await proxied.start({"api": {"identity": "metadata", "scopes": [READ]}})
    assert (await proxied.get("/api/"))[0] == 200
    emulator.revoke_access_tokens()
    assert (await proxied.get("/api/"))[0] == 200
    assert [one.refused for one in seen] == [None, 401, None]
    first, refused, last = (sent(one, "authorization") for one in seen)
    assert first == refused != last


async def test_without_a_token_nothing_goes_upstream(
    emulator: Emulator, proxied: Proxied, seen: list[Seen]
) -> None:
    await proxied.start({"api": {"identity": {"type": "file", "path": "/nonexistent/token"}}})
    status, told = await proxied.get("/api/")
    assert (status, told["title"], told["cause"], told["scopes"]) == (
        503,
        "No access token",
        "file_missing",
        CLOUD_PLATFORM,
    )
    assert "access token" in told["remedy"]
    assert not seen


async def test_a_refusal_is_explained_on_the_status_page_and_in_metrics(proxied: Proxied) -> None:
    await proxied.start({"api": {"identity": "metadata", "scopes": ["email"]}})
    status, told = await proxied.get("/api/")
    assert (status, told["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert proxied.server is not None
    admin = proxied.server.admin[0]
    async with proxied.session.get(f"http://{admin}/api/status") as answer:
        (route,) = (await answer.json())["routes"]
    assert (route["scopes"], route["audience"], route["token"]["email"]) == (["email"], None, CALLER.email)
    assert route["refused"]["cause"] == "token_scopes"
    async with proxied.session.get(f"http://{admin}/metrics") as answer:
        metrics = await answer.text()
    assert 'token_valid{audience="email",route="api"} 1.0' in metrics


@pytest.mark.parametrize("to", ["storage", "vertex"])
async def test_a_login_that_has_run_out_mends_itself(
    emulator: Emulator, proxied: Proxied, seen: list[Seen], tmp_path: Path, to: str
) -> None:
    """The request that waits, and the ones after it, go on without a restart."""
    file = tmp_path / "application_default_credentials.json"
    good = emulator.key_file(DEV.email)
    write(file, {**good, "refresh_token": "1//revoked"})
    await proxied.start(
        {"api": {"identity": "user", "to": to, "scopes": [CLOUD_PLATFORM]}},
        {"CLOUDSDK_CONFIG": str(tmp_path)},
        wait_for_login="30s",
    )
    waiting = asyncio.ensure_future(proxied.get("/api/"))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    assert not seen
    write(file, good)
    async with asyncio.timeout(5):
        status, _ = await waiting
    assert status == (200 if to == "vertex" else 403)  # storage wants another scope: it has come that far


@pytest.mark.parametrize("wait", ["0", "30s"])
async def test_a_login_that_is_revoked_in_mid_life_is_told_or_waited_for(
    emulator: Emulator, proxied: Proxied, seen: list[Seen], tmp_path: Path, wait: str
) -> None:
    """Its token had most of an hour to live: a receiver's 401 and a login that has ended say that it is dead."""
    file = tmp_path / "application_default_credentials.json"
    good = emulator.key_file(DEV.email)
    write(file, good)
    await proxied.start(
        {"api": {"identity": "user", "to": "vertex"}}, {"CLOUDSDK_CONFIG": str(tmp_path)}, wait_for_login=wait
    )
    assert (await proxied.get("/api/"))[0] == 200
    emulator.revoke_access_tokens()
    emulator.break_with("login-expired")
    first, *others = (asyncio.ensure_future(proxied.get("/api/")) for _ in range(2))
    if wait == "0":
        for one in (first, *others):
            status, told = await one
            assert (status, told["cause"]) == (503, "login_expired")
        assert (await proxied.get("/api/"))[0] == 503
        assert {one.refused for one in seen[1:]} == {401}
    else:
        await asyncio.sleep(0.3)
        assert not first.done()
        emulator.mend()
        write(file, good)
        async with asyncio.timeout(5):
            assert [(await one)[0] for one in (first, *others)] == [200, 200]
    assert [one.refused for one in seen].count(401) <= 2  # those that were on their way


async def test_a_login_that_has_run_out_is_said_with_its_command_and_machine(
    emulator: Emulator, proxied: Proxied, tmp_path: Path
) -> None:
    good = emulator.key_file(DEV.email)
    write(tmp_path / "application_default_credentials.json", {**good, "refresh_token": "1//revoked"})
    await proxied.start({"api": {"identity": "user"}}, {"CLOUDSDK_CONFIG": str(tmp_path)})
    status, told = await proxied.get("/api/")
    command = "gcloud auth application-default login"
    assert (status, told["cause"], told["login"]) == (503, "login_expired", command)
    assert told["remedy"] == f"On {HOST}: {command}"
    assert proxied.server is not None
    (route,) = proxied.server.route_statuses()
    assert (route["token"]["error"]["login"], route["token"]["error"]["remedy"]) == (command, told["remedy"])


async def test_over_http2_alike(
    emulator: Emulator, proxied: Proxied, seen: list[Seen], tmp_path: Path
) -> None:
    """What an app's requests have in common is remembered there; its credentials and whom it has charged are its own."""
    write(tmp_path / "application_default_credentials.json", emulator.key_file(DEV.email))
    await proxied.start({"api": {"identity": "user", "to": "vertex"}}, {"CLOUDSDK_CONFIG": str(tmp_path)})
    async with httpx.AsyncClient(http1=False, http2=True) as client:
        for number in range(8):
            headers = {"X-Goog-Api-Key": "dummy", "Authorization": "Bearer sk-dummy"}
            if number % 2:
                headers["X-Goog-User-Project"] = PROJECT_NUMBER
            answer = await client.get(f"{proxied.url}/api/{number}", headers=headers if number % 4 else None)
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert [sent(one, "x-goog-user-project") for one in seen] == [
        [PROJECT_NUMBER if number % 2 else PROJECT] for number in range(8)
    ]
    for one in seen:
        (credential,) = sent(one, "authorization")
        assert credential.startswith("Bearer ya29.")
        assert sent(one, "x-goog-api-key") == []
