"""What a wrapped app finds in its environment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Address, Route, Settings, TcpAddress, UnixAddress, Upstream
from idtoken_proxy.wrapper.variables import check, direct, metadata, variables
from tests.cases import for_each

SOCKET = UnixAddress("/run/proxy.sock")


def settings(*listen: Address) -> Settings:
    upstream = Upstream("https", "users.a.run.app", 443)
    routes = (
        Route("all", upstream, None, NoIdentity()),
        Route("user-profiles_v2", upstream, None, NoIdentity(), path="/users/v2", strip_prefix=True),
        Route("web", upstream, None, NoIdentity(), host="web.localhost", path="/app"),
    )
    return Settings(routes, listen=listen)


def test_every_service_of_a_project_has_no_variable() -> None:
    pattern = Upstream("https", "*-123456789012.us-central1.run.app", 443)
    routes = (Route("project", pattern, None, host="*.run.localhost"),)
    local = TcpAddress("localhost", 8080)
    assert variables(Settings(routes, listen=(local,)), [local], http_proxy=True) == {
        "IDTOKEN_PROXY_URL": "http://localhost:8080",
        "HTTP_PROXY": "http://localhost:8080",
        "http_proxy": "http://localhost:8080",
    }


@for_each(
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


def test_http_proxy_needs_the_form_to_be_on() -> None:
    off = replace(settings(TcpAddress("localhost", 0)), forward_proxy=False)
    with pytest.raises(ConfigError, match="needs forward_proxy: on"):
        check(off, http_proxy=True)
    check(off, http_proxy=False)


LOOPBACK = "localhost,.localhost,127.0.0.1,::1"


@for_each(
    ("own", "before", "upper", "lower"),
    [
        ("http://localhost:1", {}, LOOPBACK, LOOPBACK),
        (
            "http://localhost:1",
            {"no_proxy": "corp.example, 10.0.0.1,"},
            f"corp.example,10.0.0.1,{LOOPBACK}",
            f"corp.example,10.0.0.1,{LOOPBACK}",
        ),
        ("http://localhost:1", {"NO_PROXY": "a", "no_proxy": "b"}, f"a,{LOOPBACK}", f"b,{LOOPBACK}"),
        ("http://localhost:1", {"NO_PROXY": "*"}, "*", "*"),
        ("http://localhost:1", {"NO_PROXY": LOOPBACK}, LOOPBACK, LOOPBACK),
        ("http://10.0.0.7:1", {}, f"{LOOPBACK},10.0.0.7", f"{LOOPBACK},10.0.0.7"),
        ("unix:/run/proxy.sock", {}, LOOPBACK, LOOPBACK),
    ],
)
def test_what_is_for_this_machine_goes_through_no_other_proxy(
    own: str, before: dict[str, str], upper: str, lower: str
) -> None:
    assert direct(before, {"IDTOKEN_PROXY_URL": own}) == {"NO_PROXY": upper, "no_proxy": lower}


def test_the_route_that_nobody_named_has_no_variable() -> None:
    upstream = Upstream("https", "users.a.run.app", 443)
    made = Settings(
        (Route("default", upstream, None, NoIdentity()), Route("b", upstream, None, NoIdentity(), path="/b"))
    )
    bound = [TcpAddress("127.0.0.1", 4711)]
    of_options = variables(made, bound, http_proxy=False, from_options=True)
    assert sorted(of_options) == ["B_URL", "IDTOKEN_PROXY_URL"]
    # In a file it is what its author called it.
    assert sorted(variables(made, bound, http_proxy=False)) == ["B_URL", "DEFAULT_URL", "IDTOKEN_PROXY_URL"]


def test_a_receiver_on_loopback_is_asked_for_by_way_of_the_proxy() -> None:
    found = direct({}, {"IDTOKEN_PROXY_URL": "http://localhost:1"}, {"127.0.0.1", "a.run.app"})
    assert found["NO_PROXY"] == "localhost,.localhost,::1"


@for_each(
    ("bound", "at"),
    [
        ([TcpAddress("127.0.0.1", 8181), TcpAddress("::1", 8181)], "127.0.0.1:8181"),
        ([TcpAddress("::1", 8181)], "[::1]:8181"),
        ([TcpAddress("0.0.0.0", 8181)], "localhost:8181"),
        ([SOCKET], None),
        ([], None),
    ],
)
def test_where_google_s_libraries_look(bound: list[Address], at: str | None) -> None:
    told = metadata(bound)
    assert {told.get(name) for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")} == {at}
    assert ("METADATA_SERVER_DETECTION" in told) is (at is not None)
