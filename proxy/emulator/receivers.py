"""A private service's front end: checks the caller's token and role as Cloud Run does, before its container runs.

Sources: https://cloud.google.com/run/docs/authenticating/service-to-service (which header, audience and role),
https://cloud.google.com/run/docs/configuring/custom-audiences,
https://cloud.google.com/run/docs/troubleshooting#unauthorized-client (what it answers).

No credential: 403. A credential that does not verify: 401 with WWW-Authenticate. A caller who is no invoker: 403.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import web
from google.auth import exceptions
from google.oauth2 import id_token

from proxy.emulator import container
from proxy.emulator.key_files import GCLOUD_CLIENTS
from proxy.emulator.keys import Keys
from proxy.emulator.token_endpoint import ANY_TIME
from proxy.emulator.tokens import Clock
from proxy.emulator.world import Service, World

TOKEN_HEADERS = ("X-Serverless-Authorization", "Authorization")  # the first that is there is the one checked
SIGNATURE = "SIGNATURE_REMOVED_BY_GOOGLE"
CHALLENGE = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - read here, not bound
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


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came in, tokens included, and the status it was answered with by the front end
    (None: it went to the container).
    """

    service: str
    method: str
    target: str
    headers: container.Headers
    refused: int | None


OnRequest: TypeAlias = Callable[[Seen], None]


class Receiver:
    def __init__(
        self, service: Service, world: World, keys: Keys, clock: Clock, on_request: OnRequest
    ) -> None:
        self._service = service
        self._world = world
        self._keys = keys
        self._clock = clock
        self._on_request = on_request
        self._authorities: frozenset[str] | None = None  # None: it answers to any

    def bound_to(self, host: str, port: int) -> None:
        """What it is bound to makes its own URLs; on every address at once, any name will do."""
        if host not in WILDCARDS:
            names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
            self._authorities = frozenset(f"{name}:{port}" for name in names)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        try:
            delivered = self._admit(request, headers)
        except web.HTTPException as refusal:
            self._saw(request, headers, refusal.status)
            raise
        self._saw(request, headers, None)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the head is not begun yet
        return await container.answer(delivered)

    def _saw(self, request: web.BaseRequest, headers: container.Headers, refused: int | None) -> None:
        self._on_request(Seen(self._service.name, request.method, request.raw_path, headers, refused))

    def _admit(self, request: web.BaseRequest, headers: container.Headers) -> container.Delivered:
        """What Google's front end does before a container runs; web.HTTPException is its refusal."""
        if request.method in ("CONNECT", "TRACE"):
            raise _refusal(web.HTTPMethodNotAllowed(request.method, ()), "The method is not allowed.")
        if self._authorities is not None and request.host.lower() not in self._authorities:
            raise _refusal(web.HTTPNotFound(), "No service answers to this host.")
        if self._service.is_public:
            return container.Delivered(self._service.name, request, headers)
        denied = "Your client does not have permission to get URL {} from this server."
        header = next((name for name in TOKEN_HEADERS if name in request.headers), None)
        if header is None:
            raise _refusal(web.HTTPForbidden(), denied, request)
        claims = self._verified(request.headers[header], request.host)
        if claims is None:
            unauthorized = web.HTTPUnauthorized(headers={"WWW-Authenticate": CHALLENGE})
            raise _refusal(
                unauthorized, "Your client does not have permission to the requested URL {}.", request
            )
        if not self._may_invoke(claims):
            raise _refusal(web.HTTPForbidden(), denied, request)
        return container.Delivered(
            service=self._service.name,
            request=request,
            headers=_without_signature(headers, header),
            claims=claims,
            expires_in=claims["exp"] - self._clock(),
        )

    def _verified(self, credential: str, authority: str) -> Mapping[str, Any] | None:
        """The claims of a token that is Google's, for this service and valid now."""
        scheme, _, token = credential.partition(" ")
        if scheme.lower() != "bearer":
            return None
        accepted = [f"http://{name}" for name in self._authorities or {authority}]
        try:
            claims: Mapping[str, Any] = id_token.verify_oauth2_token(  # type: ignore[no-untyped-call]
                token.strip(),
                self._published_keys,
                audience=[*accepted, *self._service.audiences, *GCLOUD_CLIENTS],
                clock_skew_in_seconds=ANY_TIME,
            )
        except (ValueError, TypeError, KeyError, exceptions.GoogleAuthError):
            return None
        if not claims["iat"] - SKEW <= self._clock() <= claims["exp"]:
            return None
        if claims["aud"] in GCLOUD_CLIENTS and claims.get("azp") != claims["aud"]:
            return None  # gcloud's audience is a user's alone
        return claims

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


def _without_signature(headers: container.Headers, header: str) -> container.Headers:
    """The container learns who calls, and cannot call on with the same token."""
    return tuple(
        (name, f"{value.rpartition('.')[0]}.{SIGNATURE}" if name.lower() == header.lower() else value)
        for name, value in headers
    )


def _refusal(
    refusal: web.HTTPException, sentence: str, request: web.BaseRequest | None = None
) -> web.HTTPException:
    """Google's front end's page."""
    where = f"<code>{html.escape(request.path)}</code>" if request else ""
    refusal.text = PAGE.format(title=f"{refusal.status} {refusal.reason}", sentence=sentence.format(where))
    refusal.content_type = "text/html"
    refusal.charset = "utf-8"
    refusal.headers["Server"] = "Google Frontend"
    return refusal
