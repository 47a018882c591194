"""Services that check who calls by Google's own library, each in the way of one of Google's samples, behind a route, a listener
before an app, and Google's issuer. docs/receive.md says which of them hold unchanged, and this does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import google.auth.transport.requests
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import id_token

from idtoken_proxy.emulator import Emulator
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import GoogleEndpoints, Inbound, PathRule, Route, TcpAddress, Upstream
from tests.cases import for_each
from tests.end_to_end.conftest import CALLER, Serve, settings_for
from tests.receive.forged import IAP
from tests.receive.inbound import inbound, now
from tests.receive.signing import AUDIENCE, claims_of, dumped

ORDERS = "https://orders.example.com"
OTHER = "https://search.example.com"
GOOGLE_CERTS = "https://www.googleapis.com/oauth2/v1/certs"
IAP_CERTS = "https://www.gstatic.com/iap/verify/public_key"

Headers = Mapping[str, str]
Asking = google.auth.transport.Request


class AskedInstead(google.auth.transport.Request):
    """Google's certificates from where they are here."""

    def __init__(self, instead: str) -> None:
        self._instead = instead
        self._asking = google.auth.transport.requests.Request()

    def __call__(self, url: str, *said: Any, **more: Any) -> Any:
        assert url == GOOGLE_CERTS
        return self._asking(self._instead, *said, **more)


def authorization(headers: Headers) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    assert scheme.lower() == "bearer"
    return token


# The samples, by what they do: a caller's email, or GoogleAuthError or ValueError.


def verifies(headers: Headers, asking: Asking) -> str:
    """run/service-auth: any audience."""
    return str(id_token.verify_token(authorization(headers), asking)["email"])


def verifies_a_push(headers: Headers, asking: Asking) -> str:
    """appengine/pubsub: issuer, audience, and the two claims of which its comment says that they are to be checked."""
    claims = id_token.verify_oauth2_token(authorization(headers), asking, audience=ORDERS)  # type: ignore[no-untyped-call]
    if claims["email"] != CALLER or claims["email_verified"] is not True:
        raise ValueError("another account's")
    return CALLER


def decodes(headers: Headers, asking: Asking) -> str:
    """Behind Cloud Run with IAM, whose front end has checked it."""
    return str(jwt.decode(authorization(headers), verify=False)["email"])  # type: ignore[no-untyped-call]


def is_told(headers: Headers, asking: Asking) -> str:
    """iap: the headers that are not signed."""
    return headers["X-Goog-Authenticated-User-Email"].removeprefix("accounts.google.com:")


def asks_nobody(headers: Headers, asking: Asking) -> str:
    """functions, Cloud Tasks' and Cloud Scheduler's handlers: IAM is before them, and their headers say what it is about."""
    return CALLER if headers["X-CloudTasks-QueueName"] == "orders" else "nobody"


@dataclass
class App:
    """Its answers: the caller's email, or 400."""

    certs_url: str
    check: Callable[[Headers, Asking], str]

    async def answer(self, request: web.BaseRequest) -> web.Response:
        try:
            email = await asyncio.to_thread(self.check, request.headers, AskedInstead(self.certs_url))
        except (GoogleAuthError, ValueError) as error:
            return web.Response(status=400, text=type(error).__name__)
        return web.Response(text=email)


@asynccontextmanager
async def listening(app: App) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(app.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


Call = Callable[..., Any]


@pytest.fixture
def call(emulator: Emulator, serve: Serve, client: aiohttp.ClientSession) -> Call:
    """(status, text) of such a service, by way of a route whose token is for `audience`."""

    async def call(
        check: Callable[[Headers, Asking], str], *, audience: str = ORDERS, keep_signature: bool = False
    ) -> tuple[int, str]:
        async with listening(App(emulator.certs_url, check)) as port:
            before = Inbound(
                name="receive orders",
                listen=TcpAddress("127.0.0.1", 0),
                upstream=Upstream("http", "127.0.0.1", port),
                audiences=(ORDERS,),
                rules=(PathRule("/", frozenset({f"serviceAccount:{CALLER}"})),),
                keep_signature=keep_signature,
            )
            keys = GoogleEndpoints(keys_endpoint=emulator.jwks_url)
            receiving = await serve(settings_for(metadata_host="", listen=(), receive=(before,), google=keys))
            (inner,) = receiving.inbound
            assert isinstance(inner, TcpAddress)
            upstream = Upstream("http", "127.0.0.1", inner.port)
            route = Route("orders", upstream, audience, MetadataIdentity())
            proxy = await serve(settings_for(route, metadata_host=emulator.metadata_host))
            headers = {"X-CloudTasks-QueueName": "orders"}
            async with client.get(f"http://{proxy.addresses[0]}/7", headers=headers) as answer:
                return answer.status, await answer.text()

    return call


@for_each("check", [decodes, is_told, asks_nobody])
async def test_these_hold_unchanged(call: Call, check: Callable[[Headers, Asking], str]) -> None:
    assert await call(check) == (200, CALLER)
    status, text = await call(check, audience=OTHER)
    assert (status, CALLER in text) == (401, False)


@for_each("check", [verifies, verifies_a_push])
async def test_these_hold_where_the_signature_is_kept(
    call: Call, check: Callable[[Headers, Asking], str]
) -> None:
    assert await call(check, keep_signature=True) == (200, CALLER)
    assert (await call(check, audience=OTHER, keep_signature=True))[0] == 401
    # And otherwise fail as behind Cloud Run, closed.
    assert await call(check) == (400, "MalformedError")


async def test_iap_s_sample_holds_unchanged() -> None:
    """iap/validate_jwt: of what IAP's header is when it comes to the app."""
    pem = IAP.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    class Certs:
        status = 200
        data = dumped({IAP.kid: pem.decode()})

    class AskedHere(google.auth.transport.Request):
        def __call__(self, url: str, *_: Any, **__: Any) -> Any:
            assert url == IAP_CERTS
            return Certs()

    assertion = IAP.token(
        claims_of(now(), iss="https://cloud.google.com/iap", sub="accounts.google.com:7", email_verified=None)
    )
    async with inbound() as running:
        assert (await running.ask(f"X-Goog-IAP-JWT-Assertion: {assertion.decode()}")).status == 200
        (request,) = running.sent_on
    came = request.one("x-goog-iap-jwt-assertion")
    assert came is not None
    told = id_token.verify_token(came, AskedHere(), audience=AUDIENCE, certs_url=IAP_CERTS)
    assert (told["sub"], told["email"]) == ("accounts.google.com:7", claims_of()["email"])
