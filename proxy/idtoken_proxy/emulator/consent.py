"""A person's consent: the page that asks for it, the code for its answer, refresh tokens, and their end.

Sources: https://developers.google.com/identity/protocols/oauth2/native-app (an installed app: loopback redirect, PKCE, revocation),
RFC 7636 section 4.6 (the challenge), RFC 8252 section 7.3 (any port of loopback). Whoever clicks is whom the button names.
"""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from idtoken_proxy.emulator.refusals import OAuthRefusal
from idtoken_proxy.emulator.world import Account, World
from idtoken_proxy.settings.addresses import is_loopback

PATH: Final = "/o/oauth2/v2/auth"
REVOKE: Final = "/revoke"
CLIENT_FILE: Final = "/emulator/client.json"
CLIENT: Final = "123456789012-emulated.apps.googleusercontent.com"
SECRET: Final = "GOCSPX-emulated"  # noqa: S105 -- of nobody
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Sign in - the local Google</title><link rel="icon" href="data:,">
<h1>Who are you?</h1><p>{client} asks for: {scopes}</p>
{buttons}
<form method="post"><button id="no" name="account" value="">Nobody: cancel</button></form></html>
"""
_BUTTON: Final = (
    '<form method="post"><button class="account" name="account" value="{email}">{email}</button></form>'
)


@dataclass(frozen=True, slots=True)
class Consented:
    """`challenge`: what the code's bearer must know the origin of."""

    account: Account
    scopes: frozenset[str]
    redirect_uri: str = ""
    challenge: str = ""


class Consent:
    def __init__(self, world: World) -> None:
        self._world = world
        self._codes: dict[str, Consented] = {}
        self._logins: dict[str, Consented] = {}

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(PATH, self._ask)
        app.router.add_post(PATH, self._answered)
        app.router.add_post(REVOKE, self._revoke)
        app.router.add_get(CLIENT_FILE, self._client_file)

    def exchange(self, form: Mapping[str, str]) -> tuple[str, Consented]:
        """(refresh token, whose it is) for a code, which is good once. Raises OAuthRefusal."""
        self._check_client(form)
        consented = self._codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if (
            consented is None
            or consented.redirect_uri != form.get("redirect_uri")
            or consented.challenge != challenge
        ):
            raise OAuthRefusal("invalid_grant", "Malformed auth code.")
        token = f"1//consented-{secrets.token_urlsafe(24)}"
        self._logins[token] = consented
        return token, consented

    def refreshed(self, form: Mapping[str, str]) -> Consented:
        self._check_client(form)
        consented = self._logins.get(form.get("refresh_token", ""))
        if consented is None:
            raise OAuthRefusal("invalid_grant", "Token has been expired or revoked.")
        return consented

    @staticmethod
    def _check_client(form: Mapping[str, str]) -> None:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            raise OAuthRefusal("invalid_client", "The OAuth client was not found.", status=401)

    async def _ask(self, request: web.Request) -> web.Response:
        query = request.query
        _check(query)
        people = [account.email for account in self._world.accounts if not account.is_service_account]
        buttons = "\n".join(_BUTTON.format(email=html.escape(email)) for email in people)
        page = _PAGE.format(client=CLIENT, scopes=html.escape(query["scope"]), buttons=buttons)
        return web.Response(text=page, content_type="text/html")

    async def _answered(self, request: web.Request) -> web.Response:
        query = request.query
        _check(query)
        account = self._world.account(str((await request.post()).get("account", "")))
        answer = {"state": query["state"]}
        if account is None:
            answer["error"] = "access_denied"
        else:
            code = f"4/{secrets.token_urlsafe(24)}"
            scopes = frozenset(query["scope"].split())
            self._codes[code] = Consented(account, scopes, query["redirect_uri"], query["code_challenge"])
            answer["code"] = code
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode(answer)}")

    async def _revoke(self, request: web.Request) -> web.Response:
        token = str((await request.post()).get("token", ""))
        if self._logins.pop(token, None) is None:
            return OAuthRefusal("invalid_token", "Token expired or revoked").response()
        return web.json_response({})

    async def _client_file(self, request: web.Request) -> web.Response:
        return web.json_response(client_file(f"http://{request.host}"))


def client_file(url: str) -> dict[str, object]:
    """As the console gives it out for a desktop app."""
    client = {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "auth_uri": url + PATH,
        "token_uri": f"{url}/token",
        "redirect_uris": ["http://localhost"],
    }
    return {"installed": client}


def _check(query: Mapping[str, str]) -> None:
    """Raises web.HTTPBadRequest, whose page leads nowhere: an answer goes to loopback alone."""
    redirect = urlsplit(query.get("redirect_uri", ""))
    good = (
        query.get("client_id") == CLIENT
        and redirect.scheme == "http"
        and is_loopback(redirect.hostname or "")
        and query.get("response_type") == "code"
        and query.get("code_challenge_method") == "S256"
        and query.get("code_challenge")
        and query.get("state")
        and query.get("scope")
    )
    if not good:
        raise web.HTTPBadRequest(text="Error 400: invalid_request\n")
