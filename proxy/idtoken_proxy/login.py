"""`idtoken-proxy login` and `logout`: a person logs in with an OAuth client of their organisation.

https://developers.google.com/identity/protocols/oauth2/native-app, RFC 8252: the browser comes back to a loopback port.
PKCE (RFC 7636) and a state that only this process knows make the code that it brings good once, and for this process
alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from idtoken_proxy.doorstep import Doorstep, no_answer
from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.login_store import COMMAND, Login, LoginStore
from idtoken_proxy.identity.oauth_client import OAuthClient, oauth_client
from idtoken_proxy.identity.redaction import redacted
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.oauth import NOUN, store_of
from idtoken_proxy.identity.sources.transport import EndpointRefused, conversation
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.identities import Identity, OauthIdentity
from idtoken_proxy.settings.model import Settings
from idtoken_proxy.settings.route_token import USUAL_SCOPES

CONNECTIONS: Final = "https://myaccount.google.com/connections"
_LONGEST: Final = 8 * 1024  # octets of pasted text


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login under way. `redirect_uri`: where the browser comes back to."""

    client: OAuthClient
    scopes: tuple[str, ...]
    redirect_uri: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(64), repr=False)

    @property
    def url(self) -> str:
        """The page to open in a browser. Its secrets are good for this attempt only."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.client.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": " ".join(dict.fromkeys((*USUAL_SCOPES, *self.scopes))),
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "state": self.state,
            "access_type": "offline",
            "prompt": "consent",  # without it a second login gets no refresh token
        }
        return f"{self.client.auth_uri}?{urlencode(query)}"

    def code_of(self, target: str) -> str:
        """The code in the URL that the browser came back to; a URL without scheme and host will do. Raises ValueError
        if the URL answers another login, TokenError if the person or the organisation refused.
        """
        answer = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if not hmac.compare_digest(answer.get("state", "").encode(), self.state.encode()):
            raise ValueError("this is no answer to the login that is under way")
        if "error" in answer or not answer.get("code"):
            raise TokenError(
                f"the login was refused ({redacted(answer.get('error', 'no code'))})",
                cause="login_refused",
                fault=Fault.OPERATOR,
                remedy=f"{COMMAND}; or see in the console whether the client may be used",
            )
        return answer["code"]

    def exchange(self, code: str) -> tuple[Login, tuple[str, ...]]:
        """Returns (the login, the scopes that were not granted). Blocks. Raises TokenError."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": self.verifier,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client.client_id,
            "client_secret": self.client.client_secret,
        }
        try:
            answer = _posted(self.client.token_uri, form)
            refresh_token, id_token = answer["refresh_token"], answer.get("id_token")
            granted = tuple(str(answer.get("scope", "")).split()) or self.scopes
            if not isinstance(refresh_token, str) or not refresh_token:
                raise TypeError  # noqa: TRY301 -- one more way to hold none
        except EndpointRefused as refused:
            raise TokenError(
                f"the token endpoint refused the login {refused.said}",
                cause="login_refused",
                fault=Fault.OPERATOR,
                remedy=COMMAND,
            ) from None
        except (KeyError, TypeError):
            raise TokenError(
                "the token endpoint's answer holds no refresh token",
                cause="login_refused",
                fault=Fault.GOOGLE,
                remedy=f"See that the client is of the type Desktop app, then {COMMAND}",
            ) from None
        email = (
            IdToken.parse(id_token, origin="the token endpoint").email if isinstance(id_token, str) else None
        )
        missing = tuple(scope for scope in self.scopes if scope not in granted)
        return Login(refresh_token, email, granted), missing


def _posted(url: str, form: Mapping[str, str]) -> dict[str, Any]:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with conversation("the token endpoint") as transport:
        answer = json.loads(transport(url, "POST", urlencode(form).encode(), headers).data)
        if not isinstance(answer, dict):
            raise TypeError
        return answer


def identity_of(settings: Settings, route: str | None) -> OauthIdentity:
    """The identity to log in for: the named route's, or the one all routes share. Its ValueError says what must be
    named.
    """
    found: dict[OauthIdentity, str] = {}
    for one in settings.routes:
        identity = _oauth_in(one.identity)
        if identity is not None and route in (None, one.name):
            found.setdefault(identity, one.name)
    if not found:
        where = f'route "{route}" has' if route else "no route has"
        raise ValueError(
            f"{where} an identity of type oauth; write identity: {{type: oauth, client_file: client.json}}"
            if route in {None, *(one.name for one in settings.routes)}
            else f"there is no such route; there are: {', '.join(one.name for one in settings.routes)}"
        )
    if len(found) > 1:
        raise ValueError(
            f"there are several logins; name one of their routes with --route: {', '.join(found.values())}"
        )
    return next(iter(found))


def _oauth_in(identity: Identity) -> OauthIdentity | None:
    """The identity itself, or the one it acts through."""
    if isinstance(identity, OauthIdentity):
        return identity
    source = getattr(identity, "source", None)
    return _oauth_in(source) if isinstance(source, Identity) else None


@dataclass(frozen=True, slots=True)
class Desk:
    """One login: what it is for, and where it is stored."""

    identity: OauthIdentity
    client: OAuthClient
    store: LoginStore

    @classmethod
    def of(
        cls,
        identity: OauthIdentity,
        token_endpoint: str | None,
        environ: Mapping[str, str],
        store: Callable[[str, Mapping[str, str]], LoginStore] = store_of,
    ) -> Desk:
        """Blocks. Raises TokenError if the client's file cannot be used."""
        client = oauth_client(CredentialFile(identity.client_file, noun=NOUN), token_endpoint)
        return cls(identity, client, store(client.client_id, environ))

    def log_in(
        self,
        show: Callable[[str], None],
        pasted: Callable[[], str] | None = None,
        browse: Callable[[str], object] | None = None,
    ) -> str:
        """Returns a message for the person. `show` displays the page's address. `browse` opens a loopback page that
        leads there and is good once, since all users of the machine can read a browser's command line. `pasted` reads
        the URL that a browser on another machine came back to; None waits for one on this machine. Blocks until then.
        Raises TokenError, OSError.
        """
        self.store.prepare()
        with Doorstep() as doorstep:
            attempt = Attempt(self.client, self.identity.scopes, doorstep.uri)
            if pasted is not None:
                show(attempt.url)
                try:
                    code = attempt.code_of(pasted().strip()[:_LONGEST])
                except ValueError as error:
                    raise no_answer(str(error)) from None
            else:
                page = doorstep.lead(attempt.url, attempt.code_of)
                show(attempt.url)
                if browse is not None:
                    browse(page)
                code = doorstep.wait()
        login, missing = attempt.exchange(code)
        where = self.store.save(login)
        lacking = f"; not granted: {', '.join(missing)}" if missing else ""
        return f"Logged in as {login.email or 'somebody without an email'}; kept in {where}{lacking}"

    def log_out(self) -> str:
        """Revokes and removes the login as far as possible. Returns a message for the person. Blocks. Raises TokenError
        if there is no login, or if part of it remains.
        """
        whose, revoked = "What there was of a login", ""
        try:
            login = self.store.found()
        except TokenError as error:
            if error.cause == "login_missing":
                raise
            reason = error.detail
        else:
            whose = f"The login of {login.email or 'somebody'}"
            revoked, reason = self._revoked(login)
        left = self.store.remove()
        if left is not None:
            raise TokenError(
                f"{whose} is {revoked or 'not revoked'}, and {left[0]}",
                cause="login_store",
                fault=Fault.OPERATOR,
                remedy=left[1],
            )
        match revoked:
            case "revoked":
                return f"{whose} is revoked and removed"
            case "":
                return f"{whose} is removed, and not revoked ({reason}): see {CONNECTIONS}"
        return f"{whose} is removed; it had {revoked}"

    def _revoked(self, login: Login) -> tuple[str, str]:
        """Returns (its state, or "" if it is not revoked; why not)."""
        try:
            _posted(self.client.revoke_uri, {"token": login.refresh_token})
        except EndpointRefused:
            return "ended already", ""
        except TokenError as error:
            return "", error.detail
        return "revoked", ""
