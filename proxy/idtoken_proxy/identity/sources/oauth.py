"""A person's own login with an OAuth client of their organisation, as `idtoken-proxy login` leaves it.

The token's audience is that client, which is how developers get through IAP as themselves: the client is one that IAP's
settings list for programmatic access (https://cloud.google.com/iap/docs/sharing-oauth-clients).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any, Final

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.login_store import COMMAND, LoginStore, system_keyring
from idtoken_proxy.identity.oauth_client import oauth_client
from idtoken_proxy.identity.sources.credential_file import CredentialFile, Document
from idtoken_proxy.identity.sources.user import UserSource
from idtoken_proxy.settings.identities import OauthIdentity
from idtoken_proxy.settings.model import Scopes

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

NOUN: Final = "the OAuth client's file"


class OauthSource(UserSource):
    name = "oauth"
    command = COMMAND

    def __init__(self, stored: StoredLogin, token_endpoint: str | None = None, wall: Wall = time) -> None:
        super().__init__(stored, token_endpoint, wall)
        self._stored = stored

    def client_id(self) -> str:
        """Known before anybody has logged in."""
        return self._stored.client_id()

    def command_for(self, scopes: Scopes) -> str:  # noqa: ARG002 -- the identity's scopes are what is asked for
        return COMMAND

    def remedy_for(self, scopes: Scopes) -> str:
        return f"Add them to the identity's scopes ({scopes}), then {COMMAND}"


class StoredLogin:
    """A Document: the client's file and the store, as one of gcloud's files would say it."""

    masks_login: str | None = None

    def __init__(
        self,
        client: Document,
        environ: Mapping[str, str],
        store_of: Callable[[str, Mapping[str, str]], LoginStore],
    ) -> None:
        self._client = client
        self._environ = environ
        self._store_of = store_of
        self._store: LoginStore | None = None
        self._loaded: tuple[object, Mapping[str, Any]] | None = None

    @property
    def path(self) -> str:
        return self._client.path if self._store is None else self._store.path

    @property
    def label(self) -> str:
        return f"the login of {self._client.label}"

    def client_id(self) -> str:
        """TokenError where the client's file is none."""
        return oauth_client(self._client).client_id

    def version(self) -> object:
        return (self._client.version(), None if self._store is None else self._store.version())

    def read(self) -> Mapping[str, Any]:
        client = oauth_client(self._client)
        self._store = store = self._store_of(client.client_id, self._environ)
        version = self.version()
        if self._loaded is None or self._loaded[0] != version:
            login = store.load()
            info = {
                "type": "authorized_user",
                "client_id": client.client_id,
                "client_secret": client.client_secret,
                "token_uri": client.token_uri,
                "refresh_token": login.refresh_token,
                "account": login.email,
            }
            self._loaded = (version, info)
        return self._loaded[1]

    def invalid(self, what: str, *, remedy: str | None = None, log_detail: str | None = None) -> TokenError:
        return self._client.invalid(what, remedy=remedy, log_detail=log_detail)


def store_of(client_id: str, environ: Mapping[str, str]) -> LoginStore:
    return LoginStore(client_id, environ, system_keyring())


def build(identity: OauthIdentity, by: Builder) -> OauthSource:
    client = CredentialFile(identity.client_file, noun=NOUN)
    return OauthSource(StoredLogin(client, by.environ, store_of), by.google.token_endpoint, by.wall)
