"""A project without a list: one route for every Cloud Run service of one project and region, whose name is a DNS label.

`match: {host: "*.run.localhost"}` with `upstream: https://*-PROJECT_NUMBER.REGION.run.app`. The star is one label of
Cloud Run's grammar, so a request can name nothing but a service of that project and region.
https://cloud.google.com/run/docs/triggering/https-request#deterministic
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from idtoken_proxy.settings.addresses import host_only, ip_address, is_loopback
from idtoken_proxy.settings.audience import derived_audience, signed_jwt_audience, untagged
from idtoken_proxy.settings.identities import NoIdentity, SignedJwtIdentity
from idtoken_proxy.settings.model import Route, Upstream
from idtoken_proxy.settings.plausible import shown
from idtoken_proxy.settings.urls import upstream
from idtoken_proxy.settings.values import text

STAR: Final = "*"
_UPSTREAM: Final = re.compile(r"https://(\*-[0-9]{6,19}\.[a-z]+(?:-[a-z]+)*[0-9]{1,2}\.run\.app)/?")
_SERVICE: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,47}[a-z0-9])?")
_LONGEST_LABEL: Final = 63  # octets (RFC 1035 section 2.3.4)


def match_host(value: object) -> str:
    """A host name. `*.` is allowed only before a name that leads to this machine whatever DNS says: pages of any other
    name could pass for the proxy's own.
    """
    string = text(value)
    if not string.startswith(f"{STAR}."):
        return host_only(value)
    rest = host_only(string[2:])
    if not is_loopback(rest) or ip_address(rest.strip("[]")) is not None:
        raise ValueError(f'{shown(string)} must end in .localhost, such as "*.run.localhost"')
    return f"{STAR}.{rest}"


def upstream_or_services(value: object) -> Upstream:
    """As `urls.upstream`, or every service of a project and region if its host begins with a star."""
    if not isinstance(value, str) or STAR not in value:
        return upstream(value)
    match = _UPSTREAM.fullmatch(value)
    if match is None:
        raise ValueError(
            "must be https://*-PROJECT_NUMBER.REGION.run.app, such as https://*-123456789012.us-central1.run.app, where a star "
            "stands for every service"
        )
    return Upstream("https", match[1], 443)


def service_host(pattern: str, label: str) -> str | None:
    """`*-123456789012.us-central1.run.app` and `orders` -> `orders-123456789012.us-central1.run.app`; `TAG---orders`
    names that traffic tag. None if the label names no service.
    """
    if _SERVICE.fullmatch(label) is None:
        return None
    host = label + pattern.removeprefix(STAR)
    if len(host.partition(".")[0]) > _LONGEST_LABEL:
        return None
    try:
        untagged(host)
    except ValueError:
        return None  # unclear which of its parts is the tag
    return host


def service_route(route: Route, label: str) -> Route:
    """The pattern's route for one service. `label`: one that names a service."""
    host = service_host(route.upstream.host, label)
    assert host is not None
    receiver = replace(route.upstream, host=host)
    audience: str | None
    match route.identity:
        case NoIdentity():
            audience = None
        case SignedJwtIdentity():
            audience = signed_jwt_audience(receiver)
        case _:
            audience = derived_audience(receiver)
    name = None if route.host is None else label + route.host.removeprefix(STAR)
    return replace(route, upstream=receiver, audience=audience, host=name)
