"""A service account's key file: a JWT signed with it is exchanged for the ID token (https://aip.dev/auth/4116)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from proxy.errors import Fault, TokenError
from proxy.identity.sources.source import REFRESH_AHEAD
from proxy.identity.sources.transport import EndpointRefused, Transport
from proxy.identity.token import IdToken


class ServiceAccountSource:
    name = "service_account"
    refresh_ahead = REFRESH_AHEAD

    def __init__(
        self, key_file: str, token_endpoint: str | None = None, *, named_by: str | None = None
    ) -> None:
        """`named_by`: who says that it is this file, for the errors, where the configuration does not."""
        self._path = Path(key_file)
        self._file = f"the key file {key_file}" + (f" ({named_by})" if named_by else "")
        self._token_endpoint = token_endpoint
        # (what the file looked like, google-auth's credentials); replaced as one, since threads share it.
        self._loaded: tuple[tuple[int, int, int], Any] | None = None
        self._email: str | None = None

    def describe(self) -> str:
        of = f" of {self._email}" if self._email else ""
        return f"key file {self._path}{of}"

    def fetch(self, audience: str) -> IdToken:
        credentials = self._credentials().with_target_audience(audience)
        email: str = credentials.service_account_email
        try:
            with Transport() as transport:
                credentials.refresh(transport)
        except TokenError:
            raise
        except EndpointRefused as refused:
            raise self._refusal(refused, email) from None
        except Exception as error:  # noqa: BLE001 -- google-auth meets a malformed answer with many kinds of them
            # `from None` and no message: google-auth's quote the answer, and with it perhaps the token.
            raise TokenError(
                "the token endpoint's answer holds no ID token",
                cause="garbage",
                fault=Fault.GOOGLE,
                log_detail=type(error).__name__,
            ) from None
        return IdToken.parse(credentials.token, origin="the token endpoint", audience=audience)

    def _credentials(self) -> Any:
        """Read again where the file changed: keys get rotated under a running proxy."""
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            loaded = self._loaded
            if loaded is not None and loaded[0] == version:
                return loaded[1]
            text = self._path.read_bytes()
        except FileNotFoundError:
            raise TokenError(
                f"{self._file} does not exist",
                cause="key_file_missing",
                fault=Fault.OPERATOR,
                remedy=f"Correct the path, or make a key: gcloud iam service-accounts keys create {self._path} "
                "--iam-account=EMAIL",
            ) from None
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            raise TokenError(
                f"{self._file} cannot be read ({why})",
                cause="key_file_unreadable",
                fault=Fault.OPERATOR,
                remedy="Give this user the right to read it",
            ) from None
        credentials = self._parse(text)
        self._email = credentials.service_account_email
        self._loaded = (version, credentials)
        return credentials

    def _parse(self, text: bytes) -> Any:
        # Imported here, in the fetching thread: google-auth takes 200 ms that the proxy's start does not wait for.
        from google.oauth2 import service_account  # noqa: PLC0415

        try:
            info = json.loads(text)
        except (ValueError, RecursionError):
            raise self._invalid("is not JSON") from None
        kind = info.get("type") if isinstance(info, dict) else None
        if kind != "service_account":
            named = f"of type {kind!r}" if isinstance(kind, str) else "without a type"
            raise self._invalid(f"holds a credential {named}, not a service account's key")
        missing = [
            key
            for key in ("client_email", "private_key", "token_uri")
            if not isinstance(info.get(key), str) or not info[key]
        ]
        if missing:
            raise self._invalid(f"lacks {', '.join(missing)}")
        try:
            from_info: Any = (
                service_account.IDTokenCredentials.from_service_account_info
            )  # untyped in google-auth
            credentials = from_info(info, target_audience=None)
        except Exception as error:  # noqa: BLE001 -- cryptography's own kinds; its message may quote the key
            raise self._invalid("holds a private key that cannot be used", type(error).__name__) from None
        return credentials.with_token_uri(self._token_endpoint) if self._token_endpoint else credentials

    def _invalid(self, what: str, log_detail: str | None = None) -> TokenError:
        return TokenError(
            f"{self._file} {what}",
            cause="key_file_invalid",
            fault=Fault.OPERATOR,
            remedy=f"Make a new key: gcloud iam service-accounts keys create {self._path} --iam-account=EMAIL",
            log_detail=log_detail,
        )

    def _refusal(self, refused: EndpointRefused, email: str) -> TokenError:
        said = f": {refused.description}" if refused.description else ""
        key_id = "the key in " + str(self._path)
        if refused.code != "invalid_grant":
            remedy = f"Check that {email} exists and is enabled: gcloud iam service-accounts describe {email}"
        elif "timeframe" in refused.description or "short-lived" in refused.description:
            # Google says: Invalid JWT. Token must be a short-lived token (60 minutes) and in a reasonable timeframe.
            remedy = "This machine's clock is wrong: set it, and keep it set (timedatectl set-ntp true)"
        elif "account not found" in refused.description:
            remedy = f"{email} was deleted: make another service account, and a key of it"
        else:
            remedy = (
                f"{key_id[0].upper()}{key_id[1:]} was deleted or disabled, or this machine's clock is wrong. "
                f"See: gcloud iam service-accounts keys list --iam-account={email}"
            )
        return TokenError(
            f"the token endpoint refused {key_id} of {email} ({refused.code}{said})",
            cause="invalid_grant" if refused.code == "invalid_grant" else "endpoint_refused",
            fault=Fault.OPERATOR,
            remedy=remedy,
            log_detail=f"status {refused.status}",
        )
