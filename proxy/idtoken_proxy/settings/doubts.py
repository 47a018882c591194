"""Warnings about what is valid and probably not what was meant, for `check`, `doctor` and a start.

They refuse nothing. A value that looks wrong may be right: whoever wrote it knows the receiver better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from idtoken_proxy.settings.addresses import is_loopback, is_remote
from idtoken_proxy.settings.audience import is_mtls, untagged
from idtoken_proxy.settings.identities import SignedJwtIdentity
from idtoken_proxy.settings.mistakes import Location, Mistake
from idtoken_proxy.settings.model import Route, Settings
from idtoken_proxy.settings.names import is_iap_client

_URL: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#@\\\s]+)([/?#].*)?", re.DOTALL)
_UNTOLD: Final = (
    "requests under the name {name} are refused unless they show that no page of another site sent them, of which browsers "
    "say nothing there (no Sec-Fetch-Site); write a name under .localhost, ask callers for a secret "
    "(guard.caller_token_file), or, where no browser runs, guard: {{unverified_pages: allow}}"
)
_EXPOSED: Final = (
    "lets {who} send requests to Google's APIs by route {route}, as its identity; ask callers for a secret "
    "(guard.caller_token_file)"
)
_VARIABLE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_RUN: Final = ".run.app"
_FUNCTIONS: Final = ".cloudfunctions.net"


def doubts(settings: Settings) -> Iterator[Mistake]:
    yield from _untold_names(settings)
    yield from _exposed_apis(settings)
    metadata = settings.metadata
    if metadata is not None and not metadata.audiences and metadata.scopes is None:
        message = "hands out no token: no route has an audience for this identity; list some, or say access_tokens: true"
        yield ("metadata", "audiences"), message
    for index, route in enumerate(settings.routes):
        doubt = audience_doubt(route)
        if doubt is not None:
            yield ("routes", index, "audience"), doubt
        if "*" in route.path:
            above = route.path.partition("*")[0].rstrip("/") or "/"
            message = f"{route.path} is matched to the letter, asterisk included; a path stands for all below it: write {above}"
            yield ("routes", index, "match", "path"), message


def _untold_names(settings: Settings) -> Iterator[Mistake]:
    """Names under which requests of programs and of web pages look alike. The guard refuses those (policy/guard.py)."""
    guard = settings.guard
    if guard.caller_token_file is not None or guard.unverified_pages == "allow":
        return
    names: list[tuple[Location, str]] = [
        (("guard", "allowed_hosts", index), name) for index, name in enumerate(guard.allowed_hosts)
    ]
    names += [
        (("routes", index, "match", "host"), route.host)
        for index, route in enumerate(settings.routes)
        if route.host is not None
    ]
    for place, name in names:
        if not is_loopback(name.lower().strip("[]")):
            yield place, _UNTOLD.format(name=name)


def _exposed_apis(settings: Settings) -> Iterator[Mistake]:
    """Whoever may use a route with an access token can do at Google's APIs whatever its identity can."""
    guard = settings.guard
    first = next((route.name for route in settings.routes if route.scopes is not None), None)
    if first is None or guard.caller_token_file is not None:
        return
    if any(is_remote(address) for address in settings.listen):
        yield ("allow_remote",), _EXPOSED.format(who="every machine that reaches a listener", route=first)
    if guard.unverified_pages == "allow":
        yield ("guard", "unverified_pages"), _EXPOSED.format(who="pages of other sites", route=first)


def _unexpanded(audience: str) -> str | None:
    """`$AUD`, which only a shell would expand."""
    named = _VARIABLE.match(audience)
    if named is None:
        return None
    return f"${named[1]} is taken to the letter; for the variable, write ${{{named[1]}}}"


def audience_doubt(route: Route) -> str | None:
    """For an audience that is the URL of a Cloud Run service or a function, but not spelled as Google compares it:
    octet by octet, with the URL it gave the service. Custom audiences cannot be judged.
    """
    audience = route.audience
    if audience is None or is_iap_client(audience) or isinstance(route.identity, SignedJwtIdentity):
        return None
    unexpanded = _unexpanded(audience)
    if unexpanded is not None:
        return unexpanded
    match = _URL.fullmatch(audience)
    if match is None:
        return None
    scheme, authority, path = match[1], match[2], match[3] or ""
    host = authority.partition(":")[0].lower().rstrip(".")
    if not host.endswith((_RUN, _FUNCTIONS)):
        return None
    if is_mtls(host):
        return (
            f"{audience} is the mutual TLS endpoint's name, for which Cloud Run takes no token; write the service's run.app "
            "URL, or a custom audience that is registered with it"
        )
    try:
        own = untagged(host)
    except ValueError:
        own = host
    right = f"https://{own}" + (path.rstrip("/") if host.endswith(_FUNCTIONS) else "")
    if own != host:
        return f"{audience} is a traffic tag's URL, for which Cloud Run takes no token; write {right}, the service's own, or leave it out"
    if host.endswith(_FUNCTIONS) and not path.strip("/"):
        return f"{audience} lacks the function's name, and a function's audience is its whole URL; write {right}/FUNCTION"
    if audience == right:
        return None
    if scheme is None or scheme.lower() == "http":
        return f"{audience} does not begin with https://, as the URL does for which Google takes tokens; write {right}"
    if path and host.endswith(_RUN):
        return (
            f"{audience} has a path, and Cloud Run's audience is the service's URL without one; write {right}"
        )
    return f"{audience} is not written as Google writes the receiver's URL; write {right}"
