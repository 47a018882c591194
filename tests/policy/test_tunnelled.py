"""Within a CONNECT: requests for the receiver that it named, spelled in whatever way means it, and nobody else's."""

from __future__ import annotations

import pytest

from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.tunnelled import Tunnelled
from tests.cases import for_each


def request(host: str | None, method: bytes = b"GET", *, absolute: bool = False) -> Request:
    made = Request()
    made.method, made.target, made.passing = method, b"/", []
    made.host = None if host is None else host.encode()
    made.absolute = absolute
    return made


@for_each(
    ("authority", "host"),
    [
        ("a.run.app", "a.run.app"),
        ("a.run.app", "A.Run.App"),
        ("a.run.app", "a.run.app:80"),
        ("a.run.app", "a.run.app:"),
        ("a.example:9001", "a.example:9001"),
        ("[::1]", "[::1]"),
        ("[::1]", "[::1]:80"),
        ("[::1]:9001", "[::1]:9001"),
    ],
)
def test_the_authority_s_own_name(authority: str, host: str) -> None:
    made = request(host)
    Tunnelled(authority).admit(made)
    assert made.absolute
    assert made.host == host.encode()


@for_each(
    ("authority", "host"),
    [
        ("a.run.app", None),
        ("a.run.app", ""),
        ("a.run.app", "b.run.app"),
        ("a.run.app", "a.run.app."),
        ("a.run.app", "a.run.app:443"),
        ("a.run.app", "a.run.app:080"),
        ("a.run.app", "x@a.run.app"),
        ("a.run.app", "localhost"),
        ("a.example:9001", "a.example"),
        ("a.example:9001", "a.example:80"),
        ("[::1]", "[::1"),
        ("[::1]:9001", "[::1]"),
    ],
)
def test_any_other_is_refused_and_the_connection_ends(authority: str, host: str | None) -> None:
    with pytest.raises(MalformedRequest) as caught:
        Tunnelled(authority).admit(request(host))
    assert caught.value.closes
    assert authority in caught.value.detail
    assert caught.value.remedy


@for_each("method", [b"CONNECT", b"connect"])
def test_no_connect_within_a_connect(method: bytes) -> None:
    with pytest.raises(MalformedRequest, match="a CONNECT within a CONNECT"):
        Tunnelled("a.run.app").admit(request("a.run.app", method))


def test_no_url_within_a_connect() -> None:
    with pytest.raises(MalformedRequest, match="no URL"):
        Tunnelled("a.run.app").admit(request("a.run.app", absolute=True))
