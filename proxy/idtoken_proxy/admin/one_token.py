"""`idtoken-proxy token`: one ID token, as a route would get it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from idtoken_proxy.identity.cache import FetchEvent, TokenCache
from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.identities import AutoIdentity, Identity, NoIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Route, Settings
from idtoken_proxy.settings.names import audience as audience_of
from idtoken_proxy.settings.plausible import objection, shown


def identity_for(settings: Settings, audience: str | None, route: str | None) -> tuple[Identity, str]:
    """(identity, audience) of the named route, or of the audience's: a route that has it, else what all routes have
    in common. ValueError says what has to be named.
    """
    if audience is not None:
        refused = objection(audience)
        if refused is not None:
            raise ValueError(f"--audience {refused}")
        try:
            audience_of(audience)
        except ValueError as error:
            raise ValueError(f"--audience {error}") from None
    private = [one for one in settings.routes if not isinstance(one.identity, NoIdentity)]
    if route is not None:
        return _of_route(settings, route, audience)
    if audience is None:
        raise ValueError("name an audience with --audience, or a route of the configuration with --route")
    same = [one.identity for one in private if one.audience == audience]
    identities = list(dict.fromkeys(same or [one.identity for one in private]))
    if len(identities) > 1:
        names = ", ".join(one.name for one in private)
        raise ValueError(f"the routes have several identities; name one of them with --route: {names}")
    return (identities[0] if identities else AutoIdentity()), audience


def _of_route(settings: Settings, name: str, audience: str | None) -> tuple[Identity, str]:
    found: Route | None = next((one for one in settings.routes if one.name == name), None)
    if found is None:
        if not settings.routes:
            raise ValueError(
                f"there is no route {shown(name)}, as there is no configuration; name its file with -c"
            )
        names = ", ".join(one.name for one in settings.routes)
        raise ValueError(f"there is no route {shown(name)}; there are: {names}")
    wanted = audience or found.audience
    if isinstance(found.identity, NoIdentity) or wanted is None:
        raise ValueError(f'route "{name}" is public (identity: none): it has no token')
    return found.identity, wanted


async def one_token(
    identity: Identity, audience: str, google: GoogleEndpoints, environ: Mapping[str, str]
) -> IdToken:
    """Within the cache's deadline. TokenError."""
    cache = TokenCache(on_event=_nobody)
    try:
        return await cache.slot(identity, build(identity, google, environ), audience).get()
    finally:
        await cache.close()


def _nobody(_event: FetchEvent) -> None:
    """The error says it all."""


def claims_of(token: IdToken) -> dict[str, Any]:
    """Unverified, as everywhere in the proxy. The token has been parsed before, so this cannot fail."""
    payload = token.value.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
