"""A service account's key file: a JWT signed with it is exchanged for the ID token (https://aip.dev/auth/4116)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING, Any, Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.reasons import project_of, why
from idtoken_proxy.identity.redaction import redacted
from idtoken_proxy.identity.sources.credential_file import CredentialFile, Document, read_as
from idtoken_proxy.identity.sources.iam_credentials import ID_TOKEN, IamCredentials, iam_endpoint
from idtoken_proxy.identity.sources.malformed import spoilt_key
from idtoken_proxy.identity.sources.refreshed import access_token_of, quota_project_of
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD
from idtoken_proxy.identity.sources.transport import EndpointRefused, Transport, conversation
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.identities import ServiceAccountIdentity
from idtoken_proxy.settings.model import Scopes

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder


PUBLIC: Final = "googleapis.com"
_LIFETIME: Final = 3600  # seconds, the most that a signed JWT may have
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")


class ServiceAccountSource:
    name = "service_account"
    refresh_ahead = REFRESH_AHEAD

    def __init__(
        self,
        document: Document,
        token_endpoint: str | None = None,
        iam_endpoint: str | None = None,
        universe_domain: str = PUBLIC,
        wall: Wall = time,
    ) -> None:
        """`universe_domain`: the configured one. A key of another universe than PUBLIC asks no token endpoint, for there is
        none: it signs its access tokens itself, and IAM Credentials make the ID tokens.
        """
        self._document = document
        self._token_endpoint = token_endpoint
        self._iam_endpoint = iam_endpoint
        self._configured = universe_domain
        self._wall = wall
        # (the document, the key in it as google-auth's signer); replaced as one, since threads share it.
        self._loaded: tuple[Mapping[str, Any], Any] | None = None
        self._email: str | None = None

    def version(self) -> object:
        return self._document.version()

    def describe(self) -> str:
        of = f" of {self._email}" if self._email else ""
        return f"key file {self._document.path}{of}"

    def fetch(self, audience: str) -> IdToken:
        # Imported here, in the fetching thread: google-auth takes 200 ms that the proxy's start does not wait for.
        from google.oauth2 import service_account  # noqa: PLC0415

        info, signer = self.key()
        universe = self._universe(info)
        if universe != PUBLIC:
            body = {"audience": audience, "includeEmail": True}
            iam = IamCredentials(iam_endpoint(self._iam_endpoint, universe), self, wall=self._wall)
            value = iam.ask(ID_TOKEN, info["client_email"], (), body)
            return IdToken.parse(value, origin="IAM Credentials", audience=audience)
        new: Any = service_account.IDTokenCredentials  # untyped in google-auth
        credentials = new(
            signer,
            info["client_email"],
            self._token_endpoint or info["token_uri"],
            target_audience=audience,
        )
        self._refresh(credentials)
        return IdToken.parse(credentials.token, origin="the token endpoint", audience=audience)

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        from google.oauth2 import service_account  # noqa: PLC0415

        info, signer = self.key()
        if self._universe(info) != PUBLIC:
            return self._self_signed(info, signer, scopes)
        new: Any = service_account.Credentials
        credentials = new(
            signer,
            info["client_email"],
            self._token_endpoint or info["token_uri"],
            scopes=list(scopes.names),
        )
        return access_token_of(
            credentials,
            self._refresh(credentials),
            origin="the token endpoint",
            email=self._email,
            quota_project=quota_project_of(info, self._document),
        )

    def _self_signed(self, info: Mapping[str, Any], signer: Any, scopes: Scopes) -> AccessToken:
        """https://google.aip.dev/auth/4111: nobody is asked for it."""
        from google.auth import jwt  # noqa: PLC0415

        now = int(self._wall())
        email = info["client_email"]
        claims = {"iss": email, "sub": email, "scope": str(scopes), "iat": now, "exp": now + _LIFETIME}
        encode: Any = jwt.encode  # untyped in google-auth
        signed: bytes = encode(signer, claims)
        return AccessToken.of(
            signed.decode("ascii"),
            origin=self.describe(),
            asked=now,
            life=_LIFETIME,
            email=email,
            quota_project=quota_project_of(info, self._document),
        )

    def _universe(self, info: Mapping[str, Any]) -> str:
        said = info.get("universe_domain")
        universe = said if isinstance(said, str) and said else PUBLIC
        if self._configured not in (PUBLIC, universe):
            raise TokenError(
                f"the {self.describe()} is of the universe {redacted(universe)}, and google.universe_domain is {self._configured}",
                cause="universe_mismatch",
                fault=Fault.OPERATOR,
                remedy="Use a key of that universe, or correct google.universe_domain",
            )
        if _DOMAIN.fullmatch(universe) is None:
            raise self._document.invalid("has a universe_domain that is none")
        return universe

    def member(self) -> str | None:
        return f"serviceAccount:{self._email}" if self._email else None

    def key(self) -> tuple[Mapping[str, Any], Any]:
        """(what the file says, google-auth's signer). TokenError where it is broken."""
        info = read_as(
            self._document,
            "service_account",
            "a service account's key",
            ("client_email", "private_key", "token_uri"),
        )
        loaded = self._loaded
        if loaded is not None and loaded[0] is info:
            return loaded
        from google.auth import crypt  # noqa: PLC0415

        signer_of: Any = crypt.RSASigner.from_service_account_info
        try:
            signer = signer_of(info)
        except Exception as error:  # noqa: BLE001 -- cryptography's own kinds; its message may quote the key
            what, remedy = spoilt_key(info, self._document.path) or (
                "holds a private key that cannot be used",
                None,
            )
            raise self._document.invalid(what, remedy=remedy, log_detail=type(error).__name__) from None
        self._email = info["client_email"]
        self._loaded = (info, signer)
        return self._loaded

    def _refresh(self, credentials: Any) -> Transport:
        """Whose conversation brought the token."""
        try:
            with conversation("the token endpoint", self._wall) as transport:
                credentials.refresh(transport)
                return transport
        except EndpointRefused as refused:
            raise self._refusal(refused) from None

    def _refusal(self, refused: EndpointRefused) -> TokenError:
        email, path = self._email, self._document.path
        found = why(
            refused.error,
            caller=email or "the key's account",
            member=self.member(),
            project=project_of(email),
        )
        if found is not None:
            return TokenError(
                f"the token endpoint refused the key in {path} of {email} {refused.said}: {found.detail}",
                cause=found.cause,
                fault=Fault.OPERATOR,
                remedy=found.remedy,
                log_detail=f"status {refused.status}",
            )
        cause = "invalid_grant"
        if refused.code != "invalid_grant":
            cause = "endpoint_refused"
            remedy = f"Check that {email} exists and is enabled: gcloud iam service-accounts describe {email}"
        elif "timeframe" in refused.description or "short-lived" in refused.description:
            # Google says: Invalid JWT. Token must be a short-lived token (60 minutes) and in a reasonable timeframe.
            cause = "clock_skew"
            remedy = "This machine's clock is wrong: set it, and keep it set (timedatectl set-ntp true)"
        elif "account not found" in refused.description:
            cause = "account_not_found"
            remedy = f"{email} was deleted: make another service account, and a key of it"
        else:
            remedy = (
                f"The key in {path} was deleted or disabled, or this machine's clock is wrong. "
                f"See: gcloud iam service-accounts keys list --iam-account={email}"
            )
        return TokenError(
            f"the token endpoint refused the key in {path} of {email} {refused.said}",
            cause=cause,
            fault=Fault.OPERATOR,
            remedy=remedy,
            log_detail=f"status {refused.status}",
        )


def build(identity: ServiceAccountIdentity, by: Builder) -> ServiceAccountSource:
    return of_key_file(identity.key_file, by)


def of_key_file(path: str, by: Builder) -> ServiceAccountSource:
    google = by.google
    return ServiceAccountSource(
        *(
            CredentialFile(path, noun="the key file"),
            google.token_endpoint,
            google.iam_endpoint,
            google.universe_domain,
            by.wall,
        )
    )
