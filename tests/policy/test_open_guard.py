from __future__ import annotations

import pytest

from idtoken_proxy.errors import MalformedRequest, Refused
from idtoken_proxy.policy.open_guard import OpenGuard
from idtoken_proxy.policy.request import Request


def request(host: bytes | None, **changes: object) -> Request:
    made = Request()
    made.method, made.target, made.passing, made.host = b"GET", b"/", [], host
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_any_name_will_do_and_pages_are_not_told_apart() -> None:
    guard = OpenGuard(tls=False)
    caller = guard.admit(
        request(b"Orders.example.com:8443", origin=b"https://evil.example", fetch_site=b"cross-site")
    )
    assert (caller.name, caller.origin) == ("orders.example.com", b"http://orders.example.com:8443")
    assert caller.forwarded_host == b"X-Forwarded-Host: Orders.example.com:8443\r\n"
    assert guard.admit(request(b"Orders.example.com:8443")) is caller
    assert guard.admit(request(None)).forwarded_host == b""


def test_behind_its_own_tls_the_app_is_told_so() -> None:
    guard = OpenGuard(tls=True)
    asked = request(b"orders.example.com")
    assert guard.admit(asked).origin == b"https://orders.example.com"
    assert asked.over_tls


def test_what_is_no_name_is_refused_and_made_up_ones_do_not_pile_up() -> None:
    guard = OpenGuard(tls=False)
    for host in (b"", b"a b", b"a@b", b"a:b", b"[::1"):
        with pytest.raises(MalformedRequest):
            guard.admit(request(host))
    for number in range(1000):
        guard.admit(request(b"h%d.example" % number))
    assert guard.remembered <= 256


def test_it_is_no_forward_proxy() -> None:
    with pytest.raises(Refused):
        OpenGuard(tls=False).admit_tunnel(request(b"app:80"))
