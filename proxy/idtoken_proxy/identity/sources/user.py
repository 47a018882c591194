"""A person's login, as `gcloud auth application-default login` leaves it: the ID token beside the access token.

https://cloud.google.com/docs/authentication/application-default-credentials#personal. The token's audience is the
login's OAuth client, whatever was asked: see `objection`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING, Any

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.reasons import why
from idtoken_proxy.identity.sources.credential_file import LOGIN, Document, login, read_as
from idtoken_proxy.identity.sources.refreshed import access_token_of, quota_project_of
from idtoken_proxy.identity.sources.source import CLOUD, REFRESH_AHEAD
from idtoken_proxy.identity.sources.transport import EndpointRefused, Transport, conversation
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.identities import UserIdentity
from idtoken_proxy.settings.model import Scopes

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

TOKEN_ENDPOINT = "https://oauth2.googleapis.com/token"  # noqa: S105 -- a URL
_FOR_ID_TOKENS = Scopes(("https://www.googleapis.com/auth/userinfo.email", *CLOUD.names))


class UserSource:
    name = "user"
    refresh_ahead = REFRESH_AHEAD
    command = LOGIN  # with which a person logs in anew

    def __init__(self, document: Document, token_endpoint: str | None = None, wall: Wall = time) -> None:
        self._wall = wall
        self._document = document
        self._token_endpoint = token_endpoint
        self._email: str | None = None

    def describe(self) -> str:
        of = f" of {self._email}" if self._email else ""
        return f"login{of} in {self._document.path}"

    def command_for(self, scopes: Scopes) -> str:
        """Likewise, for these scopes besides the usual ones."""
        names = scopes.names if set(CLOUD.names) <= set(scopes.names) else (*CLOUD.names, *scopes.names)
        return f"{LOGIN} --scopes=openid,{','.join(names)}"

    def remedy_for(self, scopes: Scopes) -> str:
        return login(self._document, self.command_for(scopes))

    def objection(self, audience: str, host: str) -> TokenError | None:
        try:
            client = self.client_id()
        except TokenError:
            client = None  # the fetch will say so
        # A client of one's own (login --client-id-file), which the receiver may well be meant for.
        return None if client == audience else objection(self.describe(), self._email, audience, host)

    def client_id(self) -> object:
        """The OAuth client of the login. TokenError."""
        return self._document.read().get("client_id")

    def fetch(self, audience: str) -> IdToken:  # noqa: ARG002 -- Google does not ask for it
        info, credentials, _ = self._refreshed()
        if credentials.id_token is None:
            raise TokenError(
                f"the token endpoint's answer to the {self.describe()} holds no ID token: it was made without "
                "the scope openid",
                cause="no_id_token",
                fault=Fault.OPERATOR,
                remedy=login(self._document, self.command_for(_FOR_ID_TOKENS)),
                login=self.command_for(_FOR_ID_TOKENS),
            )
        token = IdToken.parse(credentials.id_token, origin="the token endpoint", audience=info["client_id"])
        self._email = token.email or self._email
        return token

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        info, credentials, transport = self._refreshed(scopes)
        return access_token_of(
            credentials,
            transport,
            origin="the token endpoint",
            email=self._email,
            quota_project=quota_project_of(info, self._document),
        )

    def version(self) -> object:
        return self._document.version()

    def member(self) -> str | None:
        return f"user:{self._email}" if self._email else None

    def _refreshed(self, scopes: Scopes = CLOUD) -> tuple[Mapping[str, Any], Any, Transport]:
        """(what the file says, google-auth's credentials with fresh tokens, the conversation that brought them). The usual
        scopes are what the login was made with, and none is asked for: one that was not granted then would be refused.
        """
        from google.oauth2.credentials import Credentials  # noqa: PLC0415

        info = read_as(
            self._document,
            "authorized_user",
            "a user's login",
            ("client_id", "client_secret", "refresh_token"),
            remedy=f"{login(self._document, self.command)}, or set identity: auto",
        )
        account = info.get("account")  # gcloud leaves it empty
        if isinstance(account, str) and account:
            self._email = account
        new: Any = Credentials  # untyped in google-auth
        # Not from_authorized_user_info, which knows one token endpoint alone.
        credentials = new(
            None,
            refresh_token=info["refresh_token"],
            token_uri=self._token_endpoint or _text(info, "token_uri") or TOKEN_ENDPOINT,
            client_id=info["client_id"],
            client_secret=info["client_secret"],
            scopes=None if scopes == CLOUD else list(scopes.names),
        )
        try:
            with conversation("the token endpoint", self._wall) as transport:
                credentials.refresh(transport)
        except EndpointRefused as refused:
            raise self._refusal(refused, scopes) from None
        if self._email is None and credentials.id_token is not None:
            self._email = _email(credentials.id_token)
        return info, credentials, transport

    def _refusal(self, refused: EndpointRefused, scopes: Scopes) -> TokenError:
        detail = f"the token endpoint refused the {self.describe()} {refused.said}"
        found = why(refused.error, caller=self._email or "this login", member=self.member())
        if found is not None:
            return TokenError(
                f"{detail}: {found.detail}",
                cause=found.cause,
                fault=Fault.OPERATOR,
                remedy=found.remedy,
                log_detail=f"status {refused.status}",
            )
        if refused.code == "invalid_scope":
            return TokenError(
                f"{detail}: it was not made for the scopes {scopes}",
                cause="login_scopes",
                fault=Fault.OPERATOR,
                remedy=self.remedy_for(scopes),
                login=self.command_for(scopes),
                log_detail=f"status {refused.status}",
            )
        if refused.code == "invalid_grant":
            again = refused.reason in ("invalid_rapt", "rapt_required") or "reauth" in refused.description
            return TokenError(
                f"{detail}: {'the organisation asks for a new login' if again else 'it has expired or was revoked'}",
                cause="login_required" if again else "login_expired",
                fault=Fault.OPERATOR,
                remedy=login(self._document, self.command),
                login=self.command,
                log_detail=f"status {refused.status}",
            )
        return TokenError(
            detail,
            cause="login_refused",
            fault=Fault.OPERATOR,
            remedy=login(self._document, self.command),
            login=self.command,
            log_detail=f"status {refused.status}",
        )


def objection(described: str, email: str | None, audience: str, host: str) -> TokenError | None:
    """Why a route of `audience` to `host` cannot do with a user's token, None where it can or may."""
    who = who_refuses(audience, host)
    if who is None:
        return None
    yourself = shlex.quote(f"user:{email or 'YOU'}")
    return TokenError(
        f"the {described} gives a token for its own client ID, whatever the audience: {who}",
        cause="audience_unsupported",
        fault=Fault.OPERATOR,
        remedy="Impersonate a service account: identity: {type: impersonated, service_account: EMAIL}; "
        "grant it to yourself: gcloud iam service-accounts add-iam-policy-binding EMAIL "
        f"--member={yourself} --role=roles/iam.serviceAccountOpenIdTokenCreator",
    )


def who_refuses(audience: str, host: str) -> str | None:
    """The receiver that does not take a user's token, in a sentence; None where it does or may: Cloud Run takes
    gcloud's client IDs besides its own URL and custom audiences; IAP, functions' front end and whatever else looks at
    `aud` do not.
    """
    if audience.endswith(".apps.googleusercontent.com"):
        return "IAP takes its own client ID alone"
    if host.endswith(".cloudfunctions.net"):
        return "a 1st-generation function takes its own URL alone (a 2nd-generation one: use its run.app URL)"
    if host.endswith(".run.app") or audience_host(audience).endswith(".run.app") or _is_loopback(host):
        return None
    return f"a receiver that checks for {audience} does not take it"


def audience_host(audience: str) -> str:
    return audience.partition("://")[2].partition("/")[0].partition(":")[0]


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


def _text(info: Mapping[str, Any], key: str) -> str | None:
    value = info.get(key)
    return value if isinstance(value, str) and value else None


def _email(id_token: object) -> str | None:
    """For the errors to come: no reason for one."""
    try:
        return IdToken.parse(str(id_token), origin="the token endpoint").email
    except TokenError:
        return None


def build(_: UserIdentity, by: Builder) -> UserSource:
    # Imported here: of the files' finder, which knows this module too.
    from idtoken_proxy.identity.sources.application_default import gcloud_file, named_file  # noqa: PLC0415

    return UserSource(named_file(by.environ) or gcloud_file(by.environ), by.google.token_endpoint, by.wall)
