"""Which kind of token a route sends, an ID token or an access token, and which of its keys contradict that.

Order is the security property. Whoever receives an access token can call Google's APIs as the identity. So it is never
chosen by default, nor allowed, for a host that is neither Google's own nor named in the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator

from idtoken_proxy.settings.audience import may_have_access_tokens, takes_access_tokens
from idtoken_proxy.settings.document import Google, RouteSection
from idtoken_proxy.settings.identities import BY_TYPE, NoIdentity, OauthIdentity
from idtoken_proxy.settings.mistakes import Location, Mistake
from idtoken_proxy.settings.model import GoogleEndpoints, Scopes
from idtoken_proxy.settings.schema_dsl import Entry

_PUBLIC = "has no use on a public route (identity: none), which gets no token; remove one of the two"
USUAL_SCOPES = ("openid", "email")  # every login has them
_OF_ACCESS = ("scopes", "quota_project")  # keys for access tokens only


def is_access(route: RouteSection, identity: str, google: Google) -> bool:
    """`identity`: the type of the route's identity."""
    if identity == NoIdentity.type:
        return False
    if route.token is not None:
        return route.token == "access"  # noqa: S105 -- a kind
    return takes_access_tokens(route.upstream.host, universe(google))


def universe(google: Google) -> str:
    return google.universe_domain or GoogleEndpoints().universe_domain


def objections(route: RouteSection, identity: str, google: Google, location: Location) -> Iterator[Mistake]:
    """Contradictions between the keys about tokens, except an ID token's audience."""
    if identity == NoIdentity.type:
        yield from (
            ((*location, name), _PUBLIC) for name in ("token", "audience", *_OF_ACCESS) if name in vars(route)
        )
    elif is_access(route, identity, google):
        yield from _to_access(route, identity, google, location)
    else:
        for name in _OF_ACCESS:
            if name in vars(route):
                yield (
                    (*location, name),
                    "is about access tokens, and this route sends an ID token; say token: access too, or remove it",
                )


def login_s_objections(route: RouteSection, identity: Entry, location: Location) -> Iterator[Mistake]:
    """For a route with an access token whose identity is a person's login: it asks for its scopes once, in advance."""
    if identity.tag != OauthIdentity.type:
        return
    asked = {*USUAL_SCOPES, *identity.scopes}  # type: ignore[attr-defined]  # the entry's, as declared
    lacking = [scope for scope in route.scopes or Scopes().names if scope not in asked]
    if lacking:
        yield (
            (*location, "scopes" if route.scopes is not None else "upstream"),
            (
                f"takes an access token for {', '.join(lacking)}, which the login does not ask for; add that to the scopes of its "
                "identity, and log in anew: idtoken-proxy login"
            ),
        )


def _to_access(route: RouteSection, identity: str, google: Google, location: Location) -> Iterator[Mistake]:
    host = route.upstream.host
    here = (*location, "token" if "token" in vars(route) else "upstream")
    if not may_have_access_tokens(host, universe(google), google.access_token_hosts):
        yield (
            here,
            (
                f"would hand {host} an access token, with which whoever holds it can call Google's APIs as this identity; a "
                "service of your own takes an ID token (token: id, the default). Where it is to have an access token all the "
                f"same, state it: google: {{access_token_hosts: [{host}]}}"
            ),
        )
    if route.audience is not None:
        yield (
            (*location, "audience"),
            (
                f"has no use at {host}, which takes access tokens, and those have no audience; remove it, or say token: id"
                if route.token is None
                else "has no use beside token: access, since access tokens have none; remove one of the two"
            ),
        )
    if route.token_header not in ("auto", "Authorization"):
        yield (
            (*location, "token_header"),
            "is not where Google's APIs look for an access token: they read Authorization alone; remove it",
        )
    if not BY_TYPE[identity].has_access_tokens:
        able = ", ".join(kind for kind, declared in BY_TYPE.items() if declared.has_access_tokens)
        yield (
            here,
            f"takes an access token, and an identity of type {identity} has none; use {able}",
        )
