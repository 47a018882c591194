"""Whose tokens they will be: the identity that `doctor` would find, and what receivers will not take its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.cache import FetchEvent, TokenCache
from idtoken_proxy.identity.sources import RestrictedAudience, Source, build
from idtoken_proxy.settings.identities import AutoIdentity, GcloudIdentity, Identity, ImpersonatedIdentity
from idtoken_proxy.settings.model import GoogleEndpoints

_NOTHING_THERE: Final = ("metadata_unreachable", "metadata_foreign")
_SERVICE_ACCOUNT: Final = ".gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class Caller:
    """`described`: in words. `email`: None where it is not known; `error`: why there is no token yet."""

    identity: Identity
    source: Source
    described: str
    email: str | None = None
    error: TokenError | None = None

    @property
    def service_account(self) -> str | None:
        return self.email if self.email is not None and self.email.endswith(_SERVICE_ACCOUNT) else None

    def objection(self, audience: str, host: str) -> TokenError | None:
        """Why the receiver will not take its tokens. Reads files."""
        return self.source.objection(audience, host) if isinstance(self.source, RestrictedAudience) else None


async def find_caller(
    audience: str, environ: Mapping[str, str], service_account: str | None = None
) -> Caller:
    """`auto`; where that finds nothing at all, gcloud's own login; or who may act as `service_account`. With a token for
    `audience`, or why there is none: a configuration can be written before that is mended.
    """
    if service_account is not None:
        found = await _ask(ImpersonatedIdentity(service_account), audience, environ)
        return found if found.email is not None else _named(found, service_account)
    found = await _ask(AutoIdentity(), audience, environ)
    if found.error is not None and found.error.cause in _NOTHING_THERE:
        login = await _ask(GcloudIdentity(), audience, environ)
        return found if login.error is not None else login
    return found


def _named(found: Caller, service_account: str) -> Caller:
    return Caller(found.identity, found.source, found.described, service_account, found.error)


async def _ask(identity: Identity, audience: str, environ: Mapping[str, str]) -> Caller:
    source = build(identity, GoogleEndpoints(), environ)
    cache = TokenCache(on_event=_nobody)
    try:
        token = await cache.slot(identity, source, audience).get()
    except TokenError as error:
        return Caller(identity, source, source.describe(), error=error)
    finally:
        await cache.close()
    return Caller(identity, source, source.describe(), token.email)


def _nobody(_event: FetchEvent) -> None:
    """The error says it all."""
