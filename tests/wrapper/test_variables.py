"""What a wrapped app finds in its environment."""

from __future__ import annotations

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.model import (
    Address,
    NoIdentity,
    Route,
    Settings,
    TcpAddress,
    UnixAddress,
    Upstream,
)
from idtoken_proxy.wrapper.variables import check, variables

SOCKET = UnixAddress("/run/proxy.sock")


def settings(*listen: Address) -> Settings:
    upstream = Upstream("https", "users.a.run.app", 443)
    routes = (
        Route("all", upstream, None, NoIdentity()),
        Route("user-profiles_v2", upstream, None, NoIdentity(), path="/users/v2", strip_prefix=True),
        Route("web", upstream, None, NoIdentity(), host="web.localhost", path="/app"),
    )
    return Settings(routes, listen=listen)


@pytest.mark.parametrize(
    ("listen", "bound", "own", "hosted"),
    [
        (
            [TcpAddress("localhost", 0)],
            [TcpAddress("127.0.0.1", 4711), TcpAddress("::1", 4711)],
            "http://localhost:4711",
            "http://web.localhost:4711",
        ),
        # What was named stands for itself: localhost might be another family's.
        (
            [TcpAddress("127.0.0.1", 80)],
            [TcpAddress("127.0.0.1", 80)],
            "http://127.0.0.1:80",
            "http://web.localhost:80",
        ),
        ([TcpAddress("::1", 0)], [TcpAddress("::1", 1)], "http://[::1]:1", "http://web.localhost:1"),
        (
            [TcpAddress("0.0.0.0", 8080)],
            [TcpAddress("0.0.0.0", 8080)],
            "http://localhost:8080",
            "http://web.localhost:8080",
        ),
        (
            [TcpAddress("::", 8080)],
            [TcpAddress("::", 8080)],
            "http://localhost:8080",
            "http://web.localhost:8080",
        ),
        # The first port counts, wherever it stands.
        (
            [SOCKET, TcpAddress("localhost", 0), TcpAddress("127.0.0.1", 0)],
            [SOCKET, TcpAddress("127.0.0.1", 1), TcpAddress("::1", 1), TcpAddress("127.0.0.1", 2)],
            "http://localhost:1",
            "http://web.localhost:1",
        ),
    ],
)
def test_the_first_port_and_each_route(
    listen: list[Address], bound: list[Address], own: str, hosted: str
) -> None:
    told = {
        "IDTOKEN_PROXY_URL": own,
        "ALL_URL": own,
        "USER_PROFILES_V2_URL": f"{own}/users/v2",
        "WEB_URL": f"{hosted}/app",
    }
    assert variables(settings(*listen), bound, http_proxy=False) == told
    assert variables(settings(*listen), bound, http_proxy=True) == {
        **told,
        "HTTP_PROXY": own,
        "http_proxy": own,
    }


def test_a_socket_is_no_url_for_a_route() -> None:
    assert variables(settings(SOCKET), [SOCKET], http_proxy=False) == {
        "IDTOKEN_PROXY_URL": "unix:/run/proxy.sock"
    }


def test_http_proxy_needs_a_port() -> None:
    with pytest.raises(ConfigError, match="needs a TCP port"):
        check(settings(SOCKET), http_proxy=True)
    check(settings(SOCKET), http_proxy=False)
    check(settings(SOCKET, TcpAddress("localhost", 0)), http_proxy=True)
