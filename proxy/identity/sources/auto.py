"""Application Default Credentials, in Google's documented order.

https://cloud.google.com/docs/authentication/application-default-credentials: GOOGLE_APPLICATION_CREDENTIALS,
gcloud's own file, the metadata server. google-auth's `fetch_id_token_credentials` leaves the second out and
asks the metadata server for a sign of life first; hence not it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from proxy.errors import Fault, TokenError
from proxy.identity.sources.metadata import MetadataSource, metadata_host
from proxy.identity.sources.service_account import ServiceAccountSource
from proxy.identity.sources.source import REFRESH_AHEAD, Source
from proxy.identity.token import IdToken
from proxy.settings.model import GoogleEndpoints

_log = structlog.get_logger("proxy.identity")

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
LATER = ("authorized_user", "impersonated_service_account", "external_account")  # not in this version


class AutoSource:
    """Decides by what exists, at the first fetch and not before: looking may block. The decision holds from the
    first token on; until then each fetch looks again, so that a login mends a running proxy.
    """

    def __init__(self, google: GoogleEndpoints, environ: Mapping[str, str]) -> None:
        self._token_endpoint = google.token_endpoint
        self._metadata_host = metadata_host(google.metadata_host, environ)
        self._named = environ.get(VARIABLE) or None
        config = environ.get("CLOUDSDK_CONFIG") or str(
            Path(environ.get("HOME") or os.path.expanduser("~"), ".config", "gcloud")  # noqa: PTH111 -- may not raise
        )
        self._gcloud_file = Path(config, "application_default_credentials.json")
        self._chosen: Source | None = None
        self._where: str | None = None
        self._works = False

    @property
    def name(self) -> str:
        return self._chosen.name if self._chosen else "auto"

    @property
    def refresh_ahead(self) -> float:
        return self._chosen.refresh_ahead if self._chosen else REFRESH_AHEAD

    def describe(self) -> str:
        return f"auto: {self._chosen.describe()}" if self._chosen else "auto: nothing found yet"

    def fetch(self, audience: str) -> IdToken:
        source = self._chosen
        if source is None or not self._works:
            source = self._look()
        try:
            token = source.fetch(audience)
        except TokenError as error:
            if error.cause == "metadata_unreachable":
                raise self._nothing(error) from None
            raise
        self._works = True
        return token

    def _look(self) -> Source:
        if self._named is not None:
            found, where = self._from_file(Path(self._named), VARIABLE), f"{self._named} ({VARIABLE})"
        elif _exists(self._gcloud_file):
            found, where = self._from_file(self._gcloud_file, "gcloud's file"), str(self._gcloud_file)
        else:
            found, where = MetadataSource(host=self._metadata_host), self._metadata_host
        # Two audiences may look at once; they find the same.
        if where != self._where:
            _log.info("identity_found", kind=found.name, where=where)
        self._chosen, self._where = found, where
        return found

    def _from_file(self, path: Path, why: str) -> Source:
        """A file that is there and broken is an error, never a reason to go on to somebody else's identity."""
        source = ServiceAccountSource(str(path), self._token_endpoint, named_by=why)
        kind = _type(path)
        if kind in LATER:
            raise TokenError(
                f"{path} ({why}) holds a credential of type {kind}, which this version cannot use",
                cause="unsupported_credential",
                fault=Fault.OPERATOR,
                remedy=f"Name a service account's key file in {VARIABLE}, or set identity to another form",
            )
        return source  # which reports a missing or broken file itself, better than could be done here

    def _nothing(self, error: TokenError) -> TokenError:
        return TokenError(
            f"no credentials found: {VARIABLE} is not set, {self._gcloud_file} does not exist, and {error.detail}",
            cause=error.cause,
            fault=error.fault,
            remedy=error.remedy,
            log_detail=error.log_detail,
        )


def _exists(path: Path) -> bool:
    """Path.exists, but a file that may not be looked at counts as there: it will be an error, not passed over."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _type(path: Path) -> str | None:
    try:
        info = json.loads(path.read_bytes())
        return info["type"] if isinstance(info["type"], str) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
