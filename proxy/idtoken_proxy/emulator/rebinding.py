"""The emulator's own guard against DNS rebinding: a page whose name leads to 127.0.0.1 would fetch its key files.

The keys open nothing but the emulator, and it may hold a developer's data behind a service. What is refused is a name of
the public DNS that is not Google's: only such a name can an attacker let lead here. Addresses, names without a dot (a
container's) and those of this machine cannot be rebound.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from idtoken_proxy.policy.guard import name_of
from idtoken_proxy.settings.addresses import ip_address

_NOT_FOR_SALE: Final = (
    ".localhost",
    ".internal",  # ICANN reserved it: metadata.google.internal, host.docker.internal
    ".googleapis.com",
    ".run.app",
    ".cloudfunctions.net",
    ".google.com",
)


def refuse_rebound(request: web.BaseRequest) -> None:
    """Raises web.HTTPForbidden."""
    if not may_lead_here(request.host.encode("utf-8", "surrogateescape")):
        raise web.HTTPForbidden(text="the emulator answers to this machine's names and Google's alone\n")


def refuse_pages(request: web.Request) -> None:
    """For what a page must not do, whatever its origin. Raises web.HTTPForbidden.

    A page's POST carries Origin in every browser, and Sec-Fetch-Site in those of today; no other program sends either.
    """
    if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
        raise web.HTTPForbidden(text="a page may not do this; a program may, such as curl\n")


def may_lead_here(host: bytes) -> bool:
    """`host`: of a Host field, with or without a port. It is read as the proxy reads it, to its end."""
    name = name_of(host).strip("[]")
    return bool(name) and ("." not in name or name.endswith(_NOT_FOR_SALE) or ip_address(name) is not None)
