from __future__ import annotations

import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.errors import ConfigError
from idtoken_proxy.mcp.listener import Target, connected
from idtoken_proxy.settings.identities import ImpersonatedIdentity, MetadataIdentity
from tests.cases import for_each

URL = "https://tools-x7f3kq2abc-uc.a.run.app"


@for_each(
    ("url", "path"),
    [(URL, "/"), (f"{URL}/", "/"), (f"{URL}/mcp", "/mcp"), (f"{URL}/mcp/", "/mcp/"), (f"{URL}/a?b=c?d", "/a?b=c?d")],
)  # fmt: skip
def test_one_route_to_the_whole_host_and_the_endpoint_as_it_was_said(url: str, path: str) -> None:
    target = Target.of(url, None, None, {})
    (route,) = target.settings.routes
    assert (str(route.upstream), route.audience, target.path) == (URL, URL, path)
    assert (route.timeouts.response, route.timeouts.idle) == (3600, 600)
    assert target.settings.admin is None


def test_a_function_s_audience_has_its_name() -> None:
    url = "https://us-central1-p.cloudfunctions.net/tools/mcp"
    (route,) = Target.of(url, None, None, {}).settings.routes
    assert route.audience == "https://us-central1-p.cloudfunctions.net/tools"


def test_audience_and_identity_as_said() -> None:
    identity = {"type": "impersonated", "service_account": "a@p.iam.gserviceaccount.com"}
    (route,) = Target.of("https://mcp.example.com/mcp", URL, identity, {}).settings.routes
    assert route.audience == URL
    assert isinstance(route.identity, ImpersonatedIdentity)


@for_each(
    ("url", "audience", "identity", "said"),
    [
        ("http://tools.example.com/mcp", None, None, "URL: "),
        ("tools.example.com/mcp", None, None, "URL: "),
        (f"{URL}/mcp#a", None, None, "URL: "),
        ("https://me:hunter2@tools.a.run.app/mcp", None, None, "URL: "),
        ("http://metadata.google.internal/mcp", None, None, "URL: "),
        ("https://mcp.example.com/mcp", None, None, "--audience: "),
        (f"{URL}/mcp", None, "metdata", '--identity: .*did you mean "metadata"'),
        (f"{URL}/mcp", None, {"type": "file"}, "--identity: "),
    ],
)
def test_a_mistake_is_named_by_what_was_said(
    url: str, audience: str | None, identity: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        Target.of(url, audience, identity, {})
    assert "hunter2" not in str(error.value)


async def test_its_socket_is_nobody_else_s_and_goes_with_it(emulator: Emulator) -> None:
    environ = {"GCE_METADATA_HOST": emulator.metadata_host, "IDTOKEN_PROXY_LISTEN": "localhost:1"}
    url = emulator.urls["user-profiles"]
    target = Target.of(f"{url}/status/204", None, "metadata", environ)
    async with connected(target, environ) as remote:
        path = Path(str(getattr(remote.client.connector, "path", "")))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        async with remote.ask("POST", {}, "{}") as response:
            assert response.status == 204
        assert remote.token is not None
    assert not path.parent.exists()


async def test_cloud_run_s_cookie_is_sent_back(emulator: Emulator, seen: list[Seen]) -> None:
    """Of `--session-affinity`: without it each request may be another instance's."""
    environ = {"GCE_METADATA_HOST": emulator.metadata_host}
    cookie = "header=Set-Cookie:GAESA%3Dabc;%20Path%3D/;%20Secure;%20HttpOnly"
    url = f"{emulator.urls['user-profiles']}/status/200?{cookie}"
    async with connected(Target.of(url, None, "metadata", environ), environ) as remote:
        for _ in range(2):
            async with remote.ask("POST", {}, "{}") as response:
                assert response.status == 200
    assert [dict(one.headers).get("Cookie") for one in seen] == [None, "GAESA=abc"]


async def test_a_service_manager_hears_nothing_of_it(emulator: Emulator, tmp_path: Path) -> None:
    path = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.setblocking(False)
        environ = {"GCE_METADATA_HOST": emulator.metadata_host, "NOTIFY_SOCKET": path}
        target = Target.of(emulator.urls["user-profiles"], None, "metadata", environ)
        async with connected(target, environ) as remote:
            assert remote.slot is not None
            await remote.slot.get()
        with pytest.raises(BlockingIOError):
            manager.recv(100)


async def test_a_route_without_identity_has_no_token(emulator: Emulator) -> None:
    url = emulator.urls["user-profiles"]
    target = Target.of(url, None, "none", {})
    (route,) = target.settings.routes
    assert not isinstance(route.identity, MetadataIdentity)
    async with connected(replace(target), {}) as remote:
        assert remote.token is None
        async with remote.ask("POST", {}, "{}") as response:
            assert response.status == 403
