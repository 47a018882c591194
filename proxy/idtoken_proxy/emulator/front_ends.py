"""What stands before a container and checks the caller's token and role: Cloud Run's front end, or a 1st-generation
function's. IAP's is in iap.py.

Sources: https://cloud.google.com/run/docs/authenticating/service-to-service (which header, audience and role),
https://cloud.google.com/run/docs/configuring/custom-audiences,
https://cloud.google.com/run/docs/troubleshooting#unauthorized-client (what it answers),
https://cloud.google.com/functions/1stgendocs/securing/authenticating (a function's audience is its whole URL).

No length where one is due: 411. No credential: 403. A credential that does not verify: 401 with WWW-Authenticate. A caller who is no invoker: 403.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import HttpVersion, web
from google.auth import exceptions, jwt
from google.oauth2 import id_token

from idtoken_proxy.emulator.container import Headers
from idtoken_proxy.emulator.key_files import GCLOUD_CLIENTS
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.token_endpoint import ANY_TIME
from idtoken_proxy.emulator.tokens import AGENTS, Clock
from idtoken_proxy.emulator.world import Service, World
from idtoken_proxy.settings.audience import untagged

NEEDS_LENGTH = frozenset({"POST", "PUT", "PATCH"})
TOKEN_HEADERS = ("X-Serverless-Authorization", "Authorization")  # the first that is there is the one checked
SIGNATURE = "SIGNATURE_REMOVED_BY_GOOGLE"
CHALLENGE = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
SKEW = 60  # seconds that the clocks may differ
PAGE = """<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>{title}</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: {title}</h1>
<h2>{sentence}</h2>
</body></html>
"""
# Of Google's web servers themselves, before any service.
ROBOT_PAGE = """<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <meta name=viewport content="initial-scale=1, minimum-scale=1, width=device-width">
  <title>Error {status} ({reason})!!1</title>
  <a href=//www.google.com/><span id=logo aria-label=Google></span></a>
  <p><b>{status}.</b> <ins>That\N{RIGHT SINGLE QUOTATION MARK}s an error.</ins>
  <p>{sentence}  <ins>That\N{RIGHT SINGLE QUOTATION MARK}s all we know.</ins>
"""


@dataclass(frozen=True, slots=True)
class Admitted:
    """`headers`: as the container is to see them; `claims`: the verified token's."""

    headers: Headers
    claims: Mapping[str, Any]


class FrontEnd(Protocol):
    def admit(self, request: web.BaseRequest, headers: Headers, origins: tuple[str, ...]) -> Admitted:
        """`origins`: the service's own. web.HTTPException is the refusal."""

    def invalid_token(self, request: web.BaseRequest) -> web.HTTPException:
        """The refusal of a token that does not verify."""

    def no_invoker(self, request: web.BaseRequest) -> web.HTTPException:
        """The refusal of a caller without the role."""


class CloudRun:
    def __init__(self, service: Service, world: World, keys: Keys, clock: Clock) -> None:
        self._service = service
        self._world = world
        self._keys = keys
        self._clock = clock

    def admit(self, request: web.BaseRequest, headers: Headers, origins: tuple[str, ...]) -> Admitted:
        names = TOKEN_HEADERS[1:] if self._service.is_function else TOKEN_HEADERS
        header = next((name for name in names if name in request.headers), None)
        if header is None:
            raise self.no_invoker(request)
        claims = self._verified(request.headers[header], origins)
        if claims is None:
            raise self.invalid_token(request)
        if not self._may_invoke(claims):
            raise self.no_invoker(request)
        return Admitted(_without_signature(headers, header), claims)

    def invalid_token(self, request: web.BaseRequest) -> web.HTTPException:
        sentence = "Your client does not have permission to the requested URL {}."
        return refusal(web.HTTPUnauthorized(headers={"WWW-Authenticate": CHALLENGE}), sentence, request)

    def no_invoker(self, request: web.BaseRequest) -> web.HTTPException:
        sentence = "Your client does not have permission to get URL {} from this server."
        return refusal(web.HTTPForbidden(), sentence, request)

    def _verified(self, credential: str, origins: tuple[str, ...]) -> Mapping[str, Any] | None:
        """The claims of a token that is Google's, for this service and valid now."""
        token = bearer(credential)
        if token is None:
            return None
        if not self._service.is_function:
            origins = tuple(map(_untagged, origins))
        others = () if self._service.is_function else (*self._service.audiences, *GCLOUD_CLIENTS)
        accepted = [*(origin + self._service.path for origin in origins), *others]
        agent = self._of_agent(token, accepted)
        if agent is not None:
            return agent
        try:
            claims: Mapping[str, Any] = id_token.verify_oauth2_token(  # type: ignore[no-untyped-call]
                token,
                self._published_keys,
                audience=accepted,
                clock_skew_in_seconds=ANY_TIME,
            )
        except (ValueError, TypeError, KeyError, exceptions.GoogleAuthError):
            return None
        if not claims["iat"] - SKEW <= self._clock() <= claims["exp"]:
            return None
        if _untagged(claims["aud"]) != claims["aud"]:
            return None  # a traffic tag's URL is a name of the service's, and never an audience
        if claims["aud"] in GCLOUD_CLIENTS and claims.get("azp") != claims["aud"]:
            return None  # gcloud's audience is a user's alone
        return claims

    def _of_agent(self, token: str, accepted: list[str]) -> Mapping[str, Any] | None:
        """A JWT-SVID, whose `aud` is a list of which one is for this service."""
        try:
            claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                token, self._keys.certificates(), clock_skew_in_seconds=ANY_TIME
            )
        except (ValueError, TypeError, KeyError, exceptions.GoogleAuthError):
            return None
        audiences = claims.get("aud")
        good = (
            claims.get("iss") == AGENTS
            and isinstance(audiences, list)
            and not set(audiences).isdisjoint(accepted)
            and claims["iat"] - SKEW <= self._clock() <= claims["exp"]
        )
        return claims if good else None

    def _may_invoke(self, claims: Mapping[str, Any]) -> bool:
        account = self._world.account_of_subject(claims["sub"])
        return account is not None and account.is_among(self._service.invokers)

    def _published_keys(self, _url: str, **_: Any) -> PublishedKeys:
        """A google.auth.transport.Request that answers at once: nothing here may block the loop."""
        return PublishedKeys(json.dumps(self._keys.certificates()).encode())


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """A google.auth.transport.Response."""

    data: bytes
    status: int = 200


def _untagged(url: str) -> str:
    """`https://TAG---SERVICE-...run.app` -> `https://SERVICE-...run.app`; a URL without a tag as it is."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    try:
        return scheme + separator + untagged(host) + slash + path
    except ValueError:
        return ""  # which no token is for


def bearer(credential: str) -> str | None:
    scheme, _, token = credential.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def refusal(
    refused: web.HTTPException, sentence: str, request: web.BaseRequest | None = None
) -> web.HTTPException:
    """Google's front end's page."""
    where = f"<code>{html.escape(request.path)}</code>" if request else ""
    refused.text = PAGE.format(title=f"{refused.status} {refused.reason}", sentence=sentence.format(where))
    refused.content_type = "text/html"
    refused.charset = "utf-8"
    refused.headers["Server"] = "Google Frontend"
    return refused


def length_required(request: web.BaseRequest) -> web.HTTPException | None:
    """The refusal of a request that tells neither a length nor a coding where its method expects content: of an empty
    one too, and before anybody asks whose it is. None: it tells.
    """
    if request.method not in NEEDS_LENGTH or request.version >= HttpVersion(
        2, 0
    ):  # a stream tells its end itself
        return None
    if "Content-Length" in request.headers or "Transfer-Encoding" in request.headers:
        return None
    refused = web.HTTPLengthRequired(headers={"Referrer-Policy": "no-referrer"})
    refused.text = ROBOT_PAGE.format(
        status=refused.status,
        reason=refused.reason,
        sentence=f"{request.method} requests require a <code>Content-length</code> header.",
    )
    refused.content_type = "text/html"
    refused.charset = "utf-8"
    return refused


def _without_signature(headers: Headers, header: str) -> Headers:
    """The container learns who calls, and cannot call on with the same token."""
    return tuple(
        (name, f"{value.rpartition('.')[0]}.{SIGNATURE}" if name.lower() == header.lower() else value)
        for name, value in headers
    )
