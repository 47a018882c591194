"""`idtoken-proxy token`: one token, as a route would get it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from idtoken_proxy.identity.cache import FetchEvent, TokenCache
from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.token import IdToken, Token
from idtoken_proxy.settings.identities import AutoIdentity, Identity, NoIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Route, Scopes, Settings, Wanted
from idtoken_proxy.settings.names import audience as audience_of
from idtoken_proxy.settings.names import scope
from idtoken_proxy.settings.plausible import objection, shown

_PREFIX: Final = "https://www.googleapis.com/auth/"
_SHORT: Final = ("openid", "email", "profile")


def identity_for(
    settings: Settings, audience: str | None, route: str | None, scopes: str | None = None
) -> tuple[Identity, Wanted]:
    """(identity, what to ask for) of the named route, or of the audience or the scopes: a route that has them, else what all
    routes have in common. `scopes`: divided by commas. ValueError says what has to be named.
    """
    wanted: Wanted | None = audience
    if scopes is not None:
        if audience is not None:
            raise ValueError(
                "an access token has scopes and no audience; name one of --audience and --scopes"
            )
        wanted = _scopes(scopes)
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
        return _of_route(settings, route, wanted)
    if wanted is None:
        raise ValueError(
            "name an audience with --audience, scopes with --scopes, or a route of the configuration with --route"
        )
    same = [one.identity for one in private if one.wanted == wanted]
    identities = list(dict.fromkeys(same or [one.identity for one in private]))
    if len(identities) > 1:
        names = ", ".join(one.name for one in private)
        raise ValueError(f"the routes have several identities; name one of them with --route: {names}")
    return (identities[0] if identities else AutoIdentity()), wanted


def _scopes(said: str) -> Scopes:
    """Each by its URL, or by what stands behind https://www.googleapis.com/auth/."""
    names = []
    for one in filter(None, said.replace(",", " ").split()):
        try:
            names.append(scope(one if "://" in one or one in _SHORT else _PREFIX + one))
        except ValueError as error:
            raise ValueError(f"--scopes {error}") from None
    if not names:
        raise ValueError("--scopes names none; write cloud-platform, or several with commas between them")
    return Scopes(tuple(names))


def _of_route(settings: Settings, name: str, asked: Wanted | None) -> tuple[Identity, Wanted]:
    found: Route | None = next((one for one in settings.routes if one.name == name), None)
    if found is None:
        if not settings.routes:
            raise ValueError(
                f"there is no route {shown(name)}, as there is no configuration; name its file with -c"
            )
        names = ", ".join(one.name for one in settings.routes)
        raise ValueError(f"there is no route {shown(name)}; there are: {names}")
    wanted = asked or found.wanted
    if isinstance(found.identity, NoIdentity) or wanted is None:
        raise ValueError(f'route "{name}" is public (identity: none): it has no token')
    return found.identity, wanted


async def one_token(
    identity: Identity, wanted: Wanted, google: GoogleEndpoints, environ: Mapping[str, str]
) -> Token:
    """Within the cache's deadline. TokenError."""
    cache = TokenCache(on_event=_nobody)
    try:
        return await cache.slot(identity, build(identity, google, environ), wanted).get()
    finally:
        await cache.close()


def _nobody(_event: FetchEvent) -> None:
    """The error says it all."""


def claims_of(token: Token) -> dict[str, Any]:
    """Unverified, as everywhere in the proxy; of an access token, which says nothing itself, what came with it. An ID token
    has been parsed before, so this cannot fail.
    """
    if not isinstance(token, IdToken):
        return {"email": token.email, "sub": token.subject, "exp": round(token.expires_at)}
    payload = token.value.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
