"""Hosts and listen addresses: `localhost:8080`, `127.0.0.1:0`, `[::1]:80`, `unix:/run/proxy.sock`, `unix:~/proxy.sock`."""

from __future__ import annotations

import contextlib
import ipaddress
import posixpath
import re
from pathlib import Path
from typing import Final, Literal, TypeAlias

from idtoken_proxy.settings.model import Address, TcpAddress, UnixAddress
from idtoken_proxy.settings.plausible import shown
from idtoken_proxy.settings.values import text

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
ProxyRange: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# What getaddrinfo takes for a number: 127.1, 0x7f000001, 2130706433. Only the plain form passes, because the others
# would get around checks by address (WHATWG URL, "ends in a number").
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_HOLDING_IPV4: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([^:]*))?")


def split_authority(value: str) -> tuple[str, str | None]:
    """`host:port` -> (host in lower case, an IPv6 address without brackets; port as written or None)."""
    match = _AUTHORITY.fullmatch(value)
    url = re.fullmatch(r"https?://([^/?#@\s]+)/?", value, re.IGNORECASE)
    if url is not None and _AUTHORITY.fullmatch(url[1]):
        raise ValueError(f"is a URL, and HOST:PORT belongs here; write {url[1]}")
    if match is None:
        raise ValueError(f"{shown(value)} is no host; an IPv6 address goes in brackets, such as [::1]:8080")
    name, number = match[1].lower(), match[2]
    if name.startswith("["):
        try:
            address = ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            raise ValueError(f"{shown(match[1])} is no IPv6 address") from None
        if address.scope_id is not None:
            raise ValueError(f"{shown(match[1])} names a network interface, which has no place here")
        return str(address), number
    return _host_name(name), number


def _host_name(name: str) -> str:
    if _ENDS_IN_NUMBER.fullmatch(name):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ValueError(
                f"{shown(name)} is no IPv4 address; write four decimal numbers, as in 127.0.0.1"
            ) from None
    if name.endswith("."):
        raise ValueError(f"{shown(name)} ends in a dot; remove it")
    if not name.isascii():
        raise ValueError(f"{shown(name)} is not ASCII; write the name in its xn-- form")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"{shown(name)} is no host name; write one such as example.com or localhost")
    return name


def ip_address(host: str) -> IPAddress | None:
    """None for a name. An IPv4 address mapped into IPv6 (`::ffff:1.2.3.4`) is returned as IPv4."""
    # Trying a name would cost twenty times as much. Any address ends in a digit or holds a colon.
    if ":" not in host and not host[-1:].isdigit():
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_link_local(host: str) -> bool:
    """169.254.0.0/16 and fe80::/10, also by way of NAT64 (RFC 6052), 6to4 (RFC 3056) or an IPv4-compatible address
    (RFC 4291 section 2.5.5.1).
    """
    address = ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        held = any(address in network for network in _HOLDING_IPV4)
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if held else address.sixtofour
        return (inner or address).is_link_local
    return address is not None and address.is_link_local


def is_loopback(host: str) -> bool:
    """`localhost` and what is under it (RFC 6761 section 6.3), 127.0.0.0/8, ::1."""
    address = ip_address(host)
    return host == "localhost" or host.endswith(".localhost") if address is None else address.is_loopback


def is_remote(address: Address) -> bool:
    """Whether other machines may reach a listener on it."""
    return isinstance(address, TcpAddress) and not is_loopback(address.host)


def base_url(address: Address) -> str:
    """`http://127.0.0.1:8080`. A unix socket has no URL and is returned as it is."""
    return str(address) if isinstance(address, UnixAddress) else f"http://{address}"


def overlap(one: Address, other: Address) -> bool:
    """Whether one proxy cannot listen on both. Port 0 is never taken; `localhost` is both loopback addresses."""
    if not isinstance(one, TcpAddress) or not isinstance(other, TcpAddress):
        return _file(one) == _file(other) is not None
    if one.port != other.port or one.port == 0:
        return False
    return one.host == other.host or bool(_bound(one.host) & _bound(other.host))


def _file(address: Address) -> str | None:
    return posixpath.normpath(address.path) if isinstance(address, UnixAddress) else None


def _bound(host: str) -> frozenset[str]:
    """The addresses a listener on `host` takes. An unspecified address takes all of its family."""
    address = ip_address(host)
    if address is None:
        return frozenset({"127.0.0.1", "::1"}) if is_loopback(host) else frozenset()
    if address.is_unspecified:
        return frozenset({str(address), "127.0.0.1", "::1"} if address.version == 6 else {host, "127.0.0.1"})
    return frozenset({str(address)})


def port(value: str, *, lowest: int) -> int:
    if re.fullmatch(r"[0-9]{1,5}", value) is None or not lowest <= int(value) <= 65535:
        raise ValueError(f"{shown(value)} is no port; write a number from {lowest} to 65535")
    return int(value)


def listen_address(value: object) -> Address:
    """Port 0 lets the kernel choose. A port without a host would mean every interface, so it is refused. A unix
    socket's path may be relative or begin with `~`; the caller resolves it. A path must not begin with `@` or `~name`,
    which elsewhere mean a socket without a file and another user's home.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"must be HOST:PORT, such as localhost:{value}")  # noqa: TRY004 - what readers collect
    if value is False or value == "off":
        raise ValueError("cannot be off: write HOST:PORT, such as localhost:8080, or unix:PATH")
    if isinstance(value, bool) or value in ("on", "yes", "no"):
        raise ValueError(f"must be HOST:PORT, such as localhost:8080, or unix:PATH, not {shown(value)}")
    string = text(value)
    if string.startswith("unix:"):
        path = string.removeprefix("unix:")
        odd = path.startswith(("@", "~")) and not path.startswith("~/")
        if (
            not path
            or odd
            or path.endswith(("/", "/.", "/.."))
            or path in {".", ".."}
            or not path.isprintable()
        ):
            raise ValueError(
                f"must be the path of a socket, such as unix:/run/idtoken-proxy/proxy.sock, not {shown(string)}"
            )
        return UnixAddress(path)
    if re.fullmatch(r":?[0-9]{1,5}", string):
        raise ValueError(f"says no host; write localhost:{string.removeprefix(':')}")
    host, number = split_authority(string)
    if not number:
        raise ValueError(f"says no port; write {TcpAddress(host, 8080)}")
    return TcpAddress(host, port(number, lowest=0))


def from_here(value: object) -> object:
    """A listener as an option or a variable gives it: a relative path is resolved against the current directory,
    wherever the file with the other settings is.
    """
    if isinstance(value, list):
        return [from_here(one) for one in value]
    if not isinstance(value, str) or not value.startswith("unix:"):
        return value
    path = value.removeprefix("unix:")
    if path.startswith(("/", "~", "@")) or not path:
        return value
    with contextlib.suppress(OSError):  # the directory is gone; listening there will fail and say so
        path = str(Path.cwd() / path)
    return f"unix:{path}"


def admin_address(value: object) -> Address | None:
    """None means off."""
    return None if value == "off" or value is False else listen_address(value)


def host_only(value: object) -> str:
    """A name as the Host header carries it: lower case, no port; an IPv6 address keeps its brackets."""
    host, number = split_authority(text(value))
    name = f"[{host}]" if ":" in host else host
    if number is not None:
        raise ValueError(f'is a name without a port (the port in Host does not matter); write "{name}"')
    return name


_UNIVERSE: Final = re.compile(r"[a-z0-9-]*apis|apis-[a-z0-9-]+")


def universe_domain(value: object) -> str:
    """Google's universe or another, such as googleapis.com: hosts under it get access tokens. Raises ValueError.

    All known ones are named `...apis` or `apis-...` (s3nsapis.fr, apis-berlin-build0.goog), with `run` in that place
    for Cloud Run. Of the public suffixes (https://publicsuffix.org/list), under which anybody may have a host, one has
    such a name, and it is one API's own.
    """
    name = host_only(value)
    label, dot, _ = name.partition(".")
    if not dot or ip_address(name) is not None or _UNIVERSE.fullmatch(label) is None:
        raise ValueError(
            f"{shown(name)} is no universe's domain, and any host under it would be handed access tokens; write one such as "
            "googleapis.com or s3nsapis.fr, as a key file of it says under universe_domain"
        )
    return name


def proxy_range(value: object) -> ProxyRange:
    """An address, a range in CIDR notation, or `unix`. IPv4 in IPv6 becomes IPv4, as it does for peers' addresses."""
    string = text(value)
    if string == "unix":
        return "unix"
    try:
        network = ipaddress.ip_network(string, strict=False)
    except ValueError:
        raise ValueError(
            f"{shown(string)} is no address; write one such as 10.0.0.7, a range such as 10.0.0.0/24, or unix"
        ) from None
    if str(network.network_address) != str(ipaddress.ip_interface(string).ip):
        raise ValueError(f"{shown(string)} has bits behind its prefix; write {network}")
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            network = ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    if network.prefixlen == 0:
        raise ValueError(f"{shown(string)} would trust everybody; write the address of who ends TLS")
    return network


def host_and_port(value: object) -> str:
    """`host` or `host:port`, without a scheme, as in GCE_METADATA_HOST."""
    string = text(value)
    if "/" in string:
        raise ValueError(f"{shown(string)} is no HOST or HOST:PORT; leave out http:// and the path")
    host, number = split_authority(string)
    name = f"[{host}]" if ":" in host else host
    return name if number is None else f"{name}:{port(number, lowest=1)}"
