"""What a source of tokens is: one blocking call, nothing of caching, threads or retries. And what else it may be."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.token import AccessToken, IdToken, Token
from idtoken_proxy.settings.model import Scopes, Wanted

# How long before expiry the cache asks again. The metadata server hands out the same token until about 4
# minutes are left, so that asking it sooner loops (google-auth-library-java#749, arrow-rs#6638).
METADATA_REFRESH_AHEAD = 210.0
REFRESH_AHEAD = 600.0

# What an access token must be good for to call IAM Credentials.
CLOUD = Scopes()


class Source(Protocol):
    @property
    def name(self) -> str:
        """The kind, for logs and metrics: `metadata`, `service_account`."""

    @property
    def refresh_ahead(self) -> float:
        """Seconds before a token's expiry at which the next is fetched."""

    def fetch(self, audience: str) -> IdToken:
        """Blocks, for seconds. Several threads may be in it at once. Raises TokenError alone."""

    def describe(self) -> str:
        """Where tokens come from, for people; never blocks: `metadata server, account default`."""


@runtime_checkable
class Watched(Protocol):
    """A source that costs next to nothing and may change under us: ask it at least every `recheck` seconds."""

    @property
    def recheck(self) -> float: ...


@runtime_checkable
class Versioned(Protocol):
    """A source that reads what somebody may change at any moment: a person's login, a key, a file with a token."""

    def version(self) -> object:
        """Compares equal as long as that is the same. May block for a moment; raises nothing."""


@runtime_checkable
class RestrictedAudience(Protocol):
    """A source whose tokens not every receiver takes."""

    def objection(self, audience: str, host: str) -> TokenError | None:
        """Why the receiver at `host` will not take this source's tokens for a route of `audience`, and what to do
        instead; None where it will, or where nobody can tell. Reads files, and may block for a second.
        """


@runtime_checkable
class HasAccessTokens(Protocol):
    """A source for routes of `token: access`."""

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        """Blocks, for seconds. Raises TokenError alone."""


@runtime_checkable
class AccessTokenSource(HasAccessTokens, Protocol):
    """An identity that can ask Google for another's tokens: the `source` of an impersonation."""

    def member(self) -> str | None:
        """Whose token it is, as IAM names it (`serviceAccount:EMAIL`, `user:EMAIL`, `principalSet://...`), for the
        command that grants it something; None where that cannot be told. May block.
        """

    def describe(self) -> str: ...


class Credential(Source, AccessTokenSource, Protocol):
    """What application default credentials can be: good for both."""


def fetched(source: Source, wanted: Wanted) -> Token:
    """The token of either kind. Blocks. Raises TokenError alone."""
    if not isinstance(wanted, Scopes):
        return source.fetch(wanted)
    if isinstance(source, HasAccessTokens):
        return source.access_token(wanted)
    raise TokenError(
        f"the {source.describe()} has no access tokens",
        cause="source_without_access_token",
        fault=Fault.OPERATOR,
        remedy="Give the route another identity, or have it send an ID token (token: id)",
    )
