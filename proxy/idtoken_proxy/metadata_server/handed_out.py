"""The tokens that the metadata server's face hands out, and whose they are.

All of them are the configuration's: a request chooses among the listed audiences and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.cache import TokenCache, TokenSlot
from idtoken_proxy.identity.sources.source import Source
from idtoken_proxy.settings.model import MetadataSettings, Scopes

_OF_PROJECT = re.compile(r"[^@]+@([a-z][a-z0-9-]{4,28}[a-z0-9])\.iam\.gserviceaccount\.com")


class HandedOut:
    """Of one generation of settings. `source`: the identity's. Nothing is fetched before somebody asks."""

    def __init__(self, settings: MetadataSettings, source: Source, cache: TokenCache) -> None:
        self.settings = settings
        self.source = source
        identity = settings.identity
        self._by_audience = {one: cache.slot(identity, source, one) for one in settings.audiences}
        self._access = None if settings.scopes is None else cache.slot(identity, source, settings.scopes)

    @property
    def slots(self) -> Iterator[TokenSlot]:
        yield from self._by_audience.values()
        if self._access is not None:
            yield self._access

    def id_token(self, audience: str) -> TokenSlot | None:
        """None: it is not listed."""
        return self._by_audience.get(audience)

    def access_token(self, scopes: tuple[str, ...]) -> TokenSlot | None:
        """The one that there is, as on a VM, whose scopes were chosen with it. None: there is none, or what is asked for is
        beyond it.
        """
        listed = self.settings.scopes
        covered = listed is not None and (Scopes().names[0] in listed.names or {*scopes} <= {*listed.names})
        return self._access if covered else None

    async def email(self) -> str | None:
        """Whose the tokens are; None where they do not say. A first token is fetched for it. TokenError."""
        for slot in self.slots:
            held = slot.held
            if held is not None and held.email is not None:
                return held.email
        for slot in self.slots:
            email = (await slot.get()).email
            if email is not None:
                return email
        return None

    def project_id(self, email: str | None, environ: Mapping[str, str]) -> str | None:
        """As the file says it, as Google's libraries are told it, or as a service account's email has it."""
        said = self.settings.project_id or environ.get("GOOGLE_CLOUD_PROJECT")
        if said:
            return said
        match = None if email is None else _OF_PROJECT.fullmatch(email)
        return None if match is None else match[1]

    def error(self) -> TokenError | None:
        """Of the last fetch that failed, if the token is still missing."""
        statuses = (slot.status() for slot in self.slots)
        return next(
            (status.error for status in statuses if status.error is not None and not status.valid), None
        )

    def status(self) -> dict[str, Any]:
        """What /api/status says of it: no token."""
        error, scopes = self.error(), self.settings.scopes
        return {
            "audiences": self.settings.audiences,
            "scopes": None if scopes is None else scopes.names,
            "identity": self.source.describe(),
            "error": error and {"cause": error.cause, "detail": error.detail, "remedy": error.remedy},
        }
