"""Mints ID tokens as Google does, with real signatures, and opaque access tokens.

Sources: https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload,
https://cloud.google.com/docs/authentication/token-types.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cachetools import TLRUCache
from google.auth import exceptions, jwt

from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import ORGANIZATION, Account, Principal
from idtoken_proxy.settings.model import CLOUD_PLATFORM

ISSUER = "https://accounts.google.com"
# Of agents' tokens, which are JWT-SVIDs: https://cloud.google.com/iam/docs/agent-identity-overview.
AGENTS = (
    f"https://sts.googleapis.com/v1/organizations/{ORGANIZATION}/locations/global/workloadIdentityPools/"
    f"agents.global.org-{ORGANIZATION}.system.id.goog"
)
LIFETIME = 3600  # seconds; https://cloud.google.com/docs/authentication/token-types#id-lifetime

Clock: TypeAlias = Callable[[], float]  # Unix seconds


@dataclass(frozen=True, slots=True)
class Counts:
    """Per issuer ("metadata", "token_endpoint", "iam_credentials"): ID tokens handed out, and those newly
    signed. The metadata server caches, so that its two numbers differ.
    """

    handed_out: Counter[str] = field(default_factory=Counter)
    minted: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an access token is good for. `expires_at`: Unix seconds."""

    principal: Principal
    scopes: frozenset[str]
    expires_at: float


class Mint:
    """All tokens of one emulator. `account`: by its email. `lifetime`: seconds. `altered`: the claims that a new one should have
    -> those it gets.
    """

    def __init__(
        self,
        keys: Keys,
        clock: Clock,
        lifetime: float = LIFETIME,
        altered: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims,
        account: Callable[[str], Account | None] = lambda _email: None,
    ) -> None:
        self._account = account
        self.clock = clock
        self.counts = Counts()
        self._keys = keys
        self._lifetime = lifetime
        self._altered = altered
        self._grants: TLRUCache[str, Grant] = TLRUCache(
            10_000, ttu=lambda _token, grant, _now: grant.expires_at, timer=clock
        )

    def id_token(
        self, account: Account, audience: str, *, by: str, email: bool = True, azp: str | None = None
    ) -> str:
        """`by`: the issuer, for the counts; `email`: whether its claims are in it; `azp` defaults to the account's
        unique ID.
        """
        now = int(self.clock())
        claims: dict[str, Any] = {
            "iss": AGENTS if account.is_agent else ISSUER,
            "aud": [audience] if account.is_agent else audience,
            "azp": azp or account.subject,
            "sub": account.subject,
            "iat": now,
            "exp": int(now + self._lifetime),
        }
        if account.is_agent:
            del claims["azp"]
        elif email:
            claims |= {"email": account.email, "email_verified": True}
        self.counts.minted[by] += 1
        token: bytes = jwt.encode(self._keys.google.signer, self._altered(claims))  # type: ignore[no-untyped-call]
        return token.decode("ascii")

    def access_token(
        self, principal: Principal, scopes: Iterable[str] = (CLOUD_PLATFORM,), lifetime: float | None = None
    ) -> str:
        """Opaque, as Google's are: only the one who gave it out knows whose it is, and what it is good for. `lifetime`: shorter
        than all others'.
        """
        token = f"ya29.emulated.{secrets.token_urlsafe(32)}"
        life = self._lifetime if lifetime is None else min(lifetime, self._lifetime)
        self._grants[token] = Grant(principal, frozenset(scopes), self.clock() + life)
        return token

    def grant(self, access_token: str) -> Grant | None:
        """None for one that is none, or has expired."""
        return self._grants.get(access_token) or self._self_signed(access_token)

    def _self_signed(self, token: str) -> Grant | None:
        """https://google.aip.dev/auth/4111: a JWT of an account's own, good for the scopes that it says."""
        try:
            issuer = jwt.decode(token, verify=False)["iss"]  # type: ignore[no-untyped-call]
            account = self._account(issuer)
            if account is None:
                return None
            certificates = self._keys.certificate_of(account.email)
            claims = jwt.decode(token, certificates, clock_skew_in_seconds=10**11)  # type: ignore[no-untyped-call]
            now, issued, expires = self.clock(), claims["iat"], claims["exp"]
            scopes = frozenset(claims["scope"].split())
        except (ValueError, TypeError, KeyError, AttributeError, exceptions.GoogleAuthError):
            return None
        if not issued - 300 <= now <= expires <= issued + LIFETIME:
            return None
        return Grant(account, scopes, expires)

    def owner(self, access_token: str) -> Principal | None:
        grant = self.grant(access_token)
        return None if grant is None else grant.principal

    def forget_access_tokens(self) -> None:
        """As though all of them had been revoked."""
        self._grants.clear()

    def access_token_answer(
        self, principal: Principal, scopes: Iterable[str] = (CLOUD_PLATFORM,)
    ) -> dict[str, str | int]:
        """RFC 6749 section 5.1."""
        return {
            "access_token": self.access_token(principal, scopes),
            "expires_in": int(self._lifetime),
            "token_type": "Bearer",
        }
