"""May this request be answered? Whoever is answered holds the identity's token.

The real server demands `Metadata-Flavor: Google`, which no page can send to another origin without being asked first
(a preflight, which nobody answers here), and refuses `X-Forwarded-For`, which a forwarder adds for whoever is behind it.
Forwarders leave other marks too, and no library leaves any of them. A page that rebinds its own name to this machine is of the
same origin: hence the names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from idtoken_proxy.policy.fields import folded
from idtoken_proxy.policy.guard import name_of
from idtoken_proxy.settings.addresses import is_loopback

FLAVOR: Final = "Metadata-Flavor"
# What the libraries call it without being told: gcp-metadata writes the name with its last dot.
GOOGLE_S_NAMES: Final = frozenset(
    {"metadata.google.internal", "metadata.google.internal.", "169.254.169.254"}
)
_USUAL_PORT: Final = ":80"
# What says that somebody else is behind who asks, in any spelling that a server may take for it (policy/fields.py).
_FORWARDERS: Final = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"forwarded", b"via"})
_PAGES: Final = frozenset({b"origin", b"sec-fetch-site"})
_FORBIDDEN: Final = "Your client does not have permission to get this URL from this server."


@dataclass(frozen=True, slots=True)
class Asked:
    """`host`: as the request has it, None without one. `target_host`: the one in its target, else `host` again. `headers`: as they
    came. `address`: the one that was connected to, None for a unix socket. `peer`: who asks, likewise.
    """

    method: str
    path: str
    host: str | None
    target_host: str | None
    headers: Sequence[tuple[str, str]]
    address: str | None
    peer: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """`told`: to whoever asked, as the real server would. `cause`: a slug, for metrics. `remedy`: for the log."""

    status: int
    told: str
    cause: str
    remedy: str


def refusal(asked: Asked, allowed_hosts: Collection[str]) -> Refusal | None:
    """The first reason not to answer. `allowed_hosts`: guard.allowed_hosts."""
    if asked.peer is not None and _is_far(asked.peer):
        return _forbidden("peer", "only private networks may ask; close this port to the internet")
    if not _is_own(asked, allowed_hosts):
        return _forbidden(
            "host",
            "the Host is no name of this server: set GCE_METADATA_HOST to the address it listens on, or add the name to "
            "guard.allowed_hosts",
        )
    names = {folded(name.lower().encode("utf-8", "surrogateescape")) for name, _ in asked.headers}
    if not names.isdisjoint(_PAGES):
        return _forbidden("page", "a web page asked, and none may")
    if not names.isdisjoint(_FORWARDERS):
        return _forbidden("forwarded", "a forwarder asked for somebody else; let the app ask directly")
    # The libraries look for a server before they say what they want, and Go's says nothing then.
    flavors = [value for name, value in asked.headers if name.lower() == FLAVOR.lower()]
    if asked.path != "/" and flavors != ["Google"]:
        return Refusal(
            403,
            f"{_FORBIDDEN} Missing Metadata-Flavor:Google header.",
            "flavor",
            "send Metadata-Flavor: Google",
        )
    if asked.method not in ("GET", "HEAD"):
        return Refusal(
            405,
            "The request method is inappropriate for this URL.",
            "method",
            "ask by GET; a certificate-bound token (POST) is not to be had here",
        )
    return None


def _forbidden(cause: str, remedy: str) -> Refusal:
    return Refusal(403, _FORBIDDEN, cause, remedy)


def _is_own(asked: Asked, allowed_hosts: Collection[str]) -> bool:
    if asked.address is None:
        return True  # no page reaches a unix socket, and a client names it as it likes
    # A target may name a host of its own, which takes the place of Host (RFC 9112 section 3.2.2).
    return all(_is_own_name(host, asked.address, allowed_hosts) for host in {asked.host, asked.target_host})


def _is_own_name(host: str | None, address: str, allowed_hosts: Collection[str]) -> bool:
    if host is None:
        return False
    # Without a port, or with its own, as libraries ask that are not told of any: a page of such a name, rebound to
    # this machine, would have to say the port that it connects to.
    if host.lower().removesuffix(_USUAL_PORT) in GOOGLE_S_NAMES:
        return True
    name = name_of(host.encode("utf-8", "surrogateescape"))
    bare = name.strip("[]")
    if not name:
        return False
    return is_loopback(bare) or bare == address or any(name == one.lower() for one in allowed_hosts)


def _is_far(peer: str) -> bool:
    """Out on the internet, wherever the listener was opened to. An address that cannot be read is."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return True
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_global
