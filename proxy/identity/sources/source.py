"""What a source of ID tokens is: one blocking call, nothing of caching, threads or retries."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from proxy.identity.token import IdToken

# How long before expiry the cache asks again. The metadata server hands out the same token until about 4
# minutes are left, so that asking it sooner loops (google-auth-library-java#749, arrow-rs#6638).
METADATA_REFRESH_AHEAD = 210.0
REFRESH_AHEAD = 600.0


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
