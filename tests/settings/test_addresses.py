from __future__ import annotations

import pytest

from idtoken_proxy.settings.addresses import (
    admin_address,
    host_and_port,
    host_only,
    is_link_local,
    is_loopback,
    listen_address,
    overlap,
    split_authority,
)
from idtoken_proxy.settings.model import TcpAddress, UnixAddress
from tests.cases import for_each


@for_each(
    ("written", "address"),
    [
        ("localhost:8080", TcpAddress("localhost", 8080)),
        ("LocalHost:0", TcpAddress("localhost", 0)),
        ("127.0.0.1:65535", TcpAddress("127.0.0.1", 65535)),
        ("[::1]:80", TcpAddress("::1", 80)),
        ("[0:0:0:0:0:0:0:1]:80", TcpAddress("::1", 80)),
        ("0.0.0.0:80", TcpAddress("0.0.0.0", 80)),
        ("unix:/run/proxy.sock", UnixAddress("/run/proxy.sock")),
        ("unix:~/a b.sock", UnixAddress("~/a b.sock")),
        ("unix:./a.sock", UnixAddress("./a.sock")),
        ("unix:a.sock", UnixAddress("a.sock")),
    ],
)
def test_listen_addresses(written: str, address: object) -> None:
    assert listen_address(written) == address
    assert admin_address(written) == address


@for_each(
    ("written", "message"),
    [
        (8080, "must be HOST:PORT, such as localhost:8080"),
        ("8080", "says no host; write localhost:8080"),
        (":8080", "says no host; write localhost:8080"),
        ("localhost", "says no port; write localhost:8080"),
        ("localhost:", "says no port; write localhost:8080"),
        ("localhost:65536", '"65536" is no port; write a number from 0 to 65535'),
        ("localhost:http", '"http" is no port; write a number from 0 to 65535'),
        ("localhost:-1", '"-1" is no port; write a number from 0 to 65535'),
        ("::1:80", '"::1:80" is no host; an IPv6 address goes in brackets, such as [::1]:8080'),
        ("[::g]:80", '"[::g]" is no IPv6 address'),
        ("[fe80::1%eth0]:80", '"[fe80::1%eth0]" names a network interface, which has no place here'),
        (
            "unix:@run.sock",
            (
                "must be the path of a socket, such as unix:/run/idtoken-proxy/proxy.sock, not what it holds "
                "(not shown: it looks like a user name and a password)"
            ),
        ),
        (
            "unix:/a\tb",
            'must be the path of a socket, such as unix:/run/idtoken-proxy/proxy.sock, not "unix:/a?b"',
        ),
        (
            "unix:/run/",
            'must be the path of a socket, such as unix:/run/idtoken-proxy/proxy.sock, not "unix:/run/"',
        ),
        (
            "unix:~me/a.sock",
            'must be the path of a socket, such as unix:/run/idtoken-proxy/proxy.sock, not "unix:~me/a.sock"',
        ),
        ("", '"" is no host name; write one such as example.com or localhost'),
        ("off", "cannot be off: write HOST:PORT, such as localhost:8080, or unix:PATH"),
        (False, "cannot be off: write HOST:PORT, such as localhost:8080, or unix:PATH"),
        (True, "must be HOST:PORT, such as localhost:8080, or unix:PATH, not true"),
        ("http://localhost:9090", "is a URL, and HOST:PORT belongs here; write localhost:9090"),
        (None, "must be a string, not nothing; write one value"),
    ],
)
def test_what_is_no_listen_address(written: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        listen_address(written)
    assert str(caught.value) == message


@for_each("written", ["off", False])
def test_admin_may_be_off(written: object) -> None:
    assert admin_address(written) is None


@for_each("host", ["localhost", "a.localhost", "127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@for_each("host", ["localhost.evil.com", "notlocalhost", "128.0.0.1", "0.0.0.0", "::", "::2", "example.com"])
def test_what_other_machines_reach(host: str) -> None:
    assert not is_loopback(host)


@for_each("name", ["127.1", "0x7f000001", "2130706433", "017700000001", "1.2.3.4.5", "a.0x1", "127.0.0.01"])
def test_an_address_has_one_spelling(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no IPv4 address; write four decimal numbers, as in 127.0.0.1"):
        split_authority(name)


@for_each("name", ["a..b", "-a", "a-", ".a", "a b", "a\nb", "*", "x" * 64, "a." * 126 + "ab", "a/b"])
def test_what_is_no_host_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no host name; write one such as example.com or localhost"):
        split_authority(name)


def test_a_name_ends_without_a_dot() -> None:
    with pytest.raises(ValueError, match=r'"a.example." ends in a dot; remove it'):
        split_authority("a.example.")


def test_a_name_that_is_not_ascii_is_to_be_written_as_it_travels() -> None:
    with pytest.raises(ValueError, match=r'"bücher.example" is not ASCII; write the name in its xn-- form'):
        split_authority("Bücher.example")


@for_each(
    ("written", "name"),
    [("Profiles.LOCALHOST", "profiles.localhost"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]")],
)
def test_a_host_as_the_host_header_has_it(written: str, name: str) -> None:
    assert host_only(written) == name


@for_each(("written", "name"), [("a.localhost:8080", "a.localhost"), ("[::1]:80", "[::1]")])
def test_a_host_is_written_without_a_port(written: str, name: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        host_only(written)
    assert str(caught.value) == (
        f'is a name without a port (the port in Host does not matter); write "{name}"'
    )


@for_each(
    ("written", "normal"),
    [
        ("localhost:8090", "localhost:8090"),
        ("Metadata", "metadata"),
        ("[::1]:1", "[::1]:1"),
        ("[::1]", "[::1]"),
    ],
)
def test_a_host_with_or_without_a_port(written: str, normal: str) -> None:
    assert host_and_port(written) == normal


@for_each("written", ["localhost:0", "http://localhost:80", "localhost:"])
def test_what_is_no_host_with_a_port(written: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        host_and_port(written)


@for_each(
    "host",
    [
        "169.254.169.254",
        "fe80::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.1.1",
    ],
)
def test_link_local_however_it_is_wrapped(host: str) -> None:
    assert is_link_local(host)


@for_each("host", ["169.253.0.1", "fd00::1", "64:ff9b::1.2.3.4", "::1", "2001:db8::1", "example.com"])
def test_what_is_not_link_local(host: str) -> None:
    assert not is_link_local(host)


@for_each(
    ("one", "other", "overlaps"),
    [
        ("localhost:1", "localhost:1", True),
        ("localhost:1", "localhost:2", False),
        ("localhost:0", "localhost:0", False),
        ("localhost:1", "127.0.0.1:1", True),
        ("localhost:1", "[::1]:1", True),
        ("127.0.0.1:1", "[::1]:1", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("0.0.0.0:1", "localhost:1", True),
        ("0.0.0.0:1", "[::1]:1", False),
        ("[::]:1", "[::1]:1", True),
        ("[::]:1", "127.0.0.1:1", True),
        ("a.example:1", "b.example:1", False),
        ("a.example:1", "a.example:1", True),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "unix:/b/../a", True),
        ("unix:/a", "localhost:1", False),
    ],
)
def test_addresses_that_cannot_both_be_listened_on(one: str, other: str, overlaps: bool) -> None:  # noqa: FBT001
    assert overlap(listen_address(one), listen_address(other)) is overlaps
    assert overlap(listen_address(other), listen_address(one)) is overlaps
