"""The way out: what is one, and that no mistake in it repeats a password."""

from __future__ import annotations

import pytest

from idtoken_proxy.settings.egress import egress_proxy
from idtoken_proxy.settings.model import EgressProxy
from tests.cases import for_each
from tests.settings.told import ROUTE, settings, told

FORM = "http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT"


@for_each(
    ("written", "proxy"),
    [
        ("http://proxy.corp:3128", EgressProxy("proxy.corp", 3128)),
        ("HTTP://Proxy.Corp:3128/", EgressProxy("proxy.corp", 3128)),
        ("http://10.0.0.1:80", EgressProxy("10.0.0.1", 80)),
        ("http://[FD00::1]:65535", EgressProxy("fd00::1", 65535)),
        ("http://127.0.0.1:1", EgressProxy("127.0.0.1", 1)),
        ("http://me:hunter2@proxy:3128", EgressProxy("proxy", 3128, b"me:hunter2")),
        ("http://me:@proxy:3128", EgressProxy("proxy", 3128, b"me:")),
        ("http://CORP%5Cme:p%40s%3as%2F%25@proxy:3128", EgressProxy("proxy", 3128, b"CORP\\me:p@s:s/%")),
        ("http://me:a:b@[::1]:3128", EgressProxy("::1", 3128, b"me:a:b")),
        ("http://me:grün@proxy:3128", EgressProxy("proxy", 3128, "me:grün".encode())),
    ],
)
def test_ways_out(written: str, proxy: EgressProxy) -> None:
    assert egress_proxy(written) == proxy


@for_each(
    ("proxy", "written"),
    [
        (EgressProxy("proxy.corp", 3128), "proxy.corp:3128"),
        (EgressProxy("proxy.corp", 80), "proxy.corp:80"),
        (EgressProxy("::1", 3128, b"me:hunter2"), "[::1]:3128"),
    ],
)
def test_it_is_named_by_host_and_port_alone(proxy: EgressProxy, written: str) -> None:
    assert str(proxy) == written
    assert "hunter2" not in repr(proxy)


REST = "must end with its port; remove what stands behind it"
IN_PASSWORD = "; within a user name or a password / is written %2F, \\ %5C, ? %3F and # %23"
CONTROL = "must not hold control characters"


@for_each(
    ("written", "message"),
    [
        ("", f"must be {FORM}"),
        ("proxy:3128", f"must be {FORM}"),
        ("me:hunter2@proxy:3128", f"must be {FORM}"),
        (3128, "must be a string, not 3128; put it in quotes"),
        (["http://me:hunter2@proxy:3128"], "must be a string, not a list; write one value"),
        (
            "https://me:hunter2@proxy:3128",
            "must be an HTTP proxy that takes CONNECT and is reached by http; write http://HOST:PORT",
        ),
        (
            "socks5://proxy:1080",
            "must be an HTTP proxy that takes CONNECT and is reached by http; write http://HOST:PORT",
        ),
        ("http://proxy:3128/path", REST),
        ("http://proxy:3128?hunter2", REST),
        ("http://proxy:3128#hunter2", REST),
        ("http://proxy:3128//", REST),
        ("http://me:hunt/er2@proxy:3128", REST + IN_PASSWORD),
        ("http://CORP\\me:hunter2@proxy:3128", REST + IN_PASSWORD),
        (
            "http://me:hunter2@x@proxy:3128",
            "holds more than one @; within a user name or a password it is written %40",
        ),
        ("http://:3128", f"names no host; write {FORM}, an IPv6 address in brackets"),
        ("http://fd00::1:3128", f"names no host; write {FORM}, an IPv6 address in brackets"),
        ("http://me:hunter2:3128", f"names no host; write {FORM}, an IPv6 address in brackets"),
        ("http://proxy", f"says no port; write {FORM}, such as http://proxy.example.com:3128"),
        ("http://me:hunter2@proxy:", f"says no port; write {FORM}, such as http://proxy.example.com:3128"),
        ("http://me:hunter2", f"must say a port from 1 to 65535; write {FORM}"),
        ("http://proxy:0", f"must say a port from 1 to 65535; write {FORM}"),
        ("http://proxy:65536", f"must say a port from 1 to 65535; write {FORM}"),
        (
            "http://hunter2@proxy:3128",
            "names a user without a password; write http://USER:PASSWORD@HOST:PORT",
        ),
        ("http://@proxy:3128", "names a user without a password; write http://USER:PASSWORD@HOST:PORT"),
        (
            "http://me:hunter2%@proxy:3128",
            "holds a % that begins no percent-escape; within a user name or a password it is written %25",
        ),
        ("http://me:hunter2\n@proxy:3128", "holds a line break; it must be one line"),
        ("http://me:hunter2\udc80@proxy:3128", CONTROL),
        ("http://me:hunter2%0d%0aX-Injected:%20y@proxy:3128", CONTROL),
        ("http://me:hunter2%7F@proxy:3128", CONTROL),
        (
            "http://m%3Ae:hunter2@proxy:3128",
            "has a colon in its user name, which Basic authentication cannot say; take another user",
        ),
    ],
)
def test_what_is_no_way_out_is_told_without_the_password(written: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        egress_proxy(written)
    assert str(caught.value) == message
    assert "hunter2" not in str(caught.value)


def test_a_mistake_is_told_with_its_line_and_without_the_password() -> None:
    text = ROUTE + "egress_proxy: https://me:${PASSWORD}@proxy:3128\n"
    assert told(text, {"PASSWORD": "hunter2"}) == [
        (
            "proxy.yaml:2: egress_proxy: must be an HTTP proxy that takes CONNECT and is reached by http; "
            "write http://HOST:PORT"
        )
    ]
    assert told(text) == [
        "proxy.yaml:2: egress_proxy: environment variable PASSWORD is not set; set it, or write ${PASSWORD:-default}"
    ]
    (said,) = told(ROUTE + "egress_prox: http://me:hunter2@proxy:3128\n")
    assert said == 'proxy.yaml:2: egress_prox: unknown key; did you mean "egress_proxy"?'


def test_the_settings_show_no_password() -> None:
    found = settings(ROUTE + "egress_proxy: http://me:${PASSWORD}@proxy:3128", {"PASSWORD": "hunter2"})
    assert found.routes[0].egress_proxy == EgressProxy("proxy", 3128, b"me:hunter2")
    assert "hunter2" not in repr(found)
    hash(found)
