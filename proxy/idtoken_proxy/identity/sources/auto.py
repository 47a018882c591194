"""Application Default Credentials, in Google's documented order.

https://cloud.google.com/docs/authentication/application-default-credentials: GOOGLE_APPLICATION_CREDENTIALS,
gcloud's own file, the metadata server. google-auth's `fetch_id_token_credentials` leaves the second out and
asks the metadata server for a sign of life first; hence not it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, TypeVar

import structlog

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources.application_default import VARIABLE, gcloud_file, named_file, source_of
from idtoken_proxy.identity.sources.credential_file import LOGIN
from idtoken_proxy.identity.sources.metadata import MetadataSource, metadata_host, metadata_variable
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD, Credential, RestrictedAudience
from idtoken_proxy.identity.sources.user import audience_host, who_refuses
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.identities import AutoIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Scopes
from idtoken_proxy.settings.plausible import host_objection

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

_log = structlog.get_logger("idtoken_proxy.identity")

_NO_METADATA_SERVER = ("metadata_unreachable", "metadata_foreign")

T = TypeVar("T")


class AutoSource:
    """Decides by what exists, at the first fetch and not before: looking may block. The decision holds from the
    first token on; until then each fetch looks again, so that a login mends a running proxy.
    """

    def __init__(self, google: GoogleEndpoints, environ: Mapping[str, str], wall: Wall = time) -> None:
        self._wall = wall
        self._google = google
        self._environ = environ
        self._metadata_host = metadata_host(google.metadata_host, environ)
        self._shown_host = self._metadata_host if host_objection(self._metadata_host) is None else "a host"
        self._variable = metadata_variable(google.metadata_host, environ)
        self._named = named_file(environ)
        self._gcloud = gcloud_file(environ)
        self._chosen: Credential | None = None
        self._where = ""
        self._told: tuple[str, str] | None = None
        self._works = False

    @property
    def name(self) -> str:
        return self._chosen.name if self._chosen else "auto"

    @property
    def refresh_ahead(self) -> float:
        return self._chosen.refresh_ahead if self._chosen else REFRESH_AHEAD

    def describe(self) -> str:
        if self._chosen:
            return f"auto: {self._chosen.describe()}"
        return "auto: nothing found yet" if self._named is None else f"auto: what {VARIABLE} names"

    def objection(self, audience: str, host: str) -> TokenError | None:
        try:
            found = self._found()
        except TokenError:
            return None  # the fetch will say so
        return found.objection(audience, host) if isinstance(found, RestrictedAudience) else None

    def fetch(self, audience: str) -> IdToken:
        return self._by(lambda found: found.fetch(audience), audience)

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        return self._by(lambda found: found.access_token(scopes))

    def version(self) -> object:
        return (None if self._named is None else self._named.version(), self._gcloud.version())

    def member(self) -> str | None:
        return self._chosen.member() if self._chosen else None

    def _by(self, ask: Callable[[Credential], T], audience: str | None = None) -> T:
        try:
            answer = ask(self._found())
        except TokenError as error:
            if error.cause in _NO_METADATA_SERVER:
                raise self._nothing(error, audience) from None
            if error.cause == "credential_file_invalid":
                self._works = False  # it may hold another type of credential by now, after a new login
            raise
        self._works = True
        self._tell()
        return answer

    def _found(self) -> Credential:
        if self._chosen is not None and self._works:
            return self._chosen
        # A file that is there and broken is an error, never a reason to go on to somebody else's identity.
        if self._named is not None:
            found = source_of(self._named, self._google, self._environ, self._wall)
            where = f"{self._named.path} ({VARIABLE})"
        elif self._gcloud.is_misnamed or self._gcloud.is_there:
            found = source_of(self._gcloud, self._google, self._environ, self._wall)
            where = self._gcloud.path
        else:
            # What is left. Whether it is there, its answer tells, and it is found no sooner.
            self._chosen = MetadataSource(host=self._metadata_host, wall=self._wall)
            self._where = self._shown_host
            return self._chosen
        # Two audiences may look at once; they find the same.
        self._chosen, self._where = found, where
        self._tell()
        return found

    def _tell(self) -> None:
        """Once, of what was found."""
        found, where = self._chosen, self._where
        if found is not None and (found.name, where) != self._told:
            self._told = (found.name, where)
            _log.info("identity found", kind=found.name, where=where, described=found.describe())

    def _nothing(self, error: TokenError, audience: str | None) -> TokenError:
        """Told to whoever has just installed this on a laptop: what they lack is a login."""
        command = LOGIN
        if audience is not None and who_refuses(audience, audience_host(audience)) is not None:
            command += " --impersonate-service-account=EMAIL"
        login = command if self._variable is None else f"{self._variable}; or {command}"
        return TokenError(
            f"no credentials found: {VARIABLE} is not set, {self._gcloud.path} does not exist, and {error.detail}",
            cause=error.cause,
            fault=error.fault,
            remedy=f"{login}; or set {VARIABLE} to a credential file; or, without Google: idtoken-proxy emulate",
            login=command,
            log_detail=error.log_detail,
        )


def build(_: AutoIdentity, by: Builder) -> AutoSource:
    return AutoSource(by.google, by.environ, by.wall)
