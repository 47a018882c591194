"""The local Google: one port for all of Google's own endpoints, and one for each private service, since each Cloud
Run service has a host of its own.

    async with Emulator(DEMO) as emulator:
        emulator.metadata_host          # "127.0.0.1:PORT", for GCE_METADATA_HOST
        emulator.urls["user-profiles"]  # "http://127.0.0.1:PORT"
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from email.utils import format_datetime
from ssl import SSLContext
from time import time
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.typedefs import Handler

from idtoken_proxy.emulator import invokers, public_keys, token_endpoint
from idtoken_proxy.emulator.backend import Backend
from idtoken_proxy.emulator.breaks import KINDS, WHOLE, Broken
from idtoken_proxy.emulator.consent import Consent, client_file
from idtoken_proxy.emulator.doors import SHUTDOWN, Doors
from idtoken_proxy.emulator.federation import Provider
from idtoken_proxy.emulator.google_apps import app_of
from idtoken_proxy.emulator.http2_front import Http2Front
from idtoken_proxy.emulator.iam_credentials import IamCredentials
from idtoken_proxy.emulator.invokers import Invokers
from idtoken_proxy.emulator.key_files import key_file
from idtoken_proxy.emulator.keys import GOOGLE, Keys
from idtoken_proxy.emulator.mcp_server import McpServer
from idtoken_proxy.emulator.metadata import MetadataServer
from idtoken_proxy.emulator.public_keys import PublicKeys
from idtoken_proxy.emulator.rebinding import refuse_rebound
from idtoken_proxy.emulator.receivers import WILDCARDS, OnCancel, OnRequest, Receiver
from idtoken_proxy.emulator.sts import TokenExchange
from idtoken_proxy.emulator.token_endpoint import TokenEndpoint
from idtoken_proxy.emulator.tokens import LIFETIME, Clock, Mint
from idtoken_proxy.emulator.workloads import Kind, Workloads
from idtoken_proxy.emulator.world import DEMO, Account, Service, World
from idtoken_proxy.settings.model import CLOUD_PLATFORM

KEY_FILES = "/emulator/keys/{account}.json"
_RUNNER: dict[str, Any] = {"access_log": None, "shutdown_timeout": SHUTDOWN, "handler_cancellation": True}

Trouble: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class Emulator:
    """`clock`: Unix seconds, for every issue and check. `token_lifetime`: seconds. `keys`: to share with another
    emulator. `on_request` is called with each request that a private service gets, `on_cancel` with each that is reset.
    `tls`: of the private services, whose URLs are https then. `http2`: whether they speak it.

    `trouble`, while it is set, sees every request to Google's own endpoints first; what it answers, if not None,
    is the answer: an outage, a slow day, a 429.
    """

    def __init__(
        self,
        world: World = DEMO,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock = time,
        token_lifetime: float = LIFETIME,
        keys: Keys | None = None,
        on_request: OnRequest = lambda _seen: None,
        on_cancel: OnCancel = lambda _cancelled: None,
        tls: SSLContext | None = None,
        http2: bool = True,
    ) -> None:
        self.world = world
        self.keys = keys or Keys()
        self.trouble: Trouble | None = None
        self.urls: dict[str, str] = {}
        self._host = host
        self._port = port
        self._broken = Broken()
        self._clock: Clock = lambda: clock() + self._broken.now.ahead
        self._on_request = on_request
        self._on_cancel = on_cancel
        self._tls = tls
        self._http2 = http2
        if tls is not None:
            tls.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        self._mint = Mint(self.keys, self._clock, token_lifetime, self._broken.claims, self.world.account)
        self._metadata = MetadataServer(self.world, self._mint)
        self._workloads = Workloads(self.world, self.keys, clock)
        self.counts = self._mint.counts
        self._receivers: dict[str, Receiver] = {}
        self._doors: dict[str, Doors] = {}
        self._mcp_servers: dict[str, McpServer] = {}
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            await asyncio.to_thread(self.keys.of, GOOGLE)
            self._port = await self._listen(starting, web.AppRunner(self._google(), **_RUNNER), self._port)
            for service in self.world.services:
                app = app_of(service.api)
                if not service.api:
                    server = self._mcp_servers[service.name] = McpServer(app)
                    starting.callback(server.forget)
                    app = server.answer
                if service.backend:
                    app = (await starting.enter_async_context(Backend(service.backend))).answer
                receiver = Receiver(
                    service,
                    self.world,
                    self.keys,
                    self._mint,
                    self._on_request,
                    self._broken,
                    app,
                    self._on_cancel,
                )
                self._receivers[service.name] = receiver
                port = await self._open(starting, service, receiver)
                scheme = "http" if self._tls is None else "https"
                receiver.bound_to(self._host, port, scheme)
                self.urls[service.name] = f"{scheme}://{self._authority(port)}{service.path}"
            self._running = starting.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._running.aclose()

    @property
    def metadata_host(self) -> str:
        """For GCE_METADATA_HOST."""
        return self._authority(self._port)

    @property
    def url(self) -> str:
        """Of Google's own endpoints; as it stands, the base of IAM Credentials."""
        return f"http://{self._authority(self._port)}"

    @property
    def iam_endpoint(self) -> str:
        return self.url

    @property
    def token_endpoint(self) -> str:
        return self.url + token_endpoint.PATH

    @property
    def sts_endpoint(self) -> str:
        """The base of its token exchange."""
        return self.url

    @property
    def certs_url(self) -> str:
        """X.509 certificates by key ID, as google.oauth2.id_token.verify_token takes them."""
        return self.url + public_keys.CERTS

    @property
    def jwks_url(self) -> str:
        return self.url + public_keys.JWKS

    def key_file(self, account: str) -> dict[str, str]:
        """A credential file's content for an account's name or email. KeyError where there is no such account."""
        return key_file(self._account(account), self.world, self.keys, self.token_endpoint)

    @property
    def client_file(self) -> dict[str, object]:
        """Of the OAuth client with which `idtoken-proxy login` logs in here."""
        return client_file(self.url)

    def let_in_url(self, service: str, account: str) -> str:
        """To POST to, so that the account may invoke the service; to DELETE, so that it may not."""
        return self.url + invokers.PATH.format(service=service, member=account)

    def mint(self, account: str, audience: str) -> str:
        """An ID token that nobody asked for over the network, for a test that needs one."""
        return self._mint.id_token(self._account(account), audience, by="mint")

    def access_token(self, account: str, scopes: Iterable[str] = (CLOUD_PLATFORM,)) -> str:
        """Likewise, an access token."""
        return self._mint.access_token(self._account(account), scopes)

    def revoke_access_tokens(self) -> None:
        """All that were handed out: whoever has one has to ask for another."""
        self._mint.forget_access_tokens()

    def subject_token(self, provider: str, **claims: object) -> str:
        """An ID token of the issuer that a provider trusts, for a workload outside; `claims` replace those it has, and
        None takes one away. KeyError where there is no such provider, or its issuer's key is elsewhere.
        """
        return self._workloads.subject_token(self._provider(provider), **claims)

    def external_account(
        self, provider: str, kind: Kind, *, at: str = "", impersonate: str | None = None
    ) -> dict[str, object]:
        """A credential file's content (`type: external_account`) for a workload outside. `at`: for "file", the path of
        the subject token's file; for "executable", the command. `impersonate`: the account for its
        service_account_impersonation_url. KeyError.
        """
        account = self._account(impersonate).email if impersonate else None
        return self._workloads.external_account(self._provider(provider), kind, self.url, at, account)

    def break_with(self, kind: str) -> None:
        """From now on it fails so; `kind` is of BREAKS, or KeyError."""
        self._broken.now = KINDS[kind]
        self._metadata.forget()

    def mend(self) -> None:
        self._broken.now = WHOLE
        self._metadata.forget()

    def go_away(self, service: str) -> None:
        """The receiver's connections that speak HTTP/2 are told GOAWAY, in two steps: first with an id that takes all that
        is under way, then with the real one. What is open comes to its end. KeyError where there is no such service.
        """
        self._doors[service].go_away()

    def forget_mcp_sessions(self, service: str) -> None:
        """As a new revision does, of a server that keeps them in memory. KeyError."""
        self._mcp_servers[service].forget()

    def _account(self, name_or_email: str) -> Account:
        known = self.world.account(name_or_email)
        if known is None:
            raise KeyError(name_or_email)
        return known

    def _provider(self, name: str) -> Provider:
        for provider in self.world.providers:
            if provider.name == name:
                return provider
        raise KeyError(name)

    def _google(self) -> web.Application:
        app = web.Application(middlewares=[self._troubled])
        app.on_response_prepare.append(_unnamed)
        self._metadata.add_to(app)
        consent = Consent(self.world)
        consent.add_to(app)
        TokenEndpoint(self.world, self.keys, self._mint, consent).add_to(app)
        TokenExchange(self.world, self.keys, self._mint).add_to(app)
        IamCredentials(self.world, self.keys, self._mint).add_to(app)
        PublicKeys(self.keys).add_to(app)
        self._workloads.add_to(app)
        Invokers(self.world, self._receivers).add_to(app)
        app.router.add_get(KEY_FILES, self._key_file)
        return app

    async def _key_file(self, request: web.Request) -> web.Response:
        try:
            content = await asyncio.to_thread(self.key_file, request.match_info["account"])
        except KeyError:
            raise web.HTTPNotFound(text="no such account\n") from None
        return web.json_response(content, dumps=lambda document: json.dumps(document, indent=2) + "\n")

    @web.middleware
    async def _troubled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refuse_rebound(request)
        answer = await self.trouble(request) if self.trouble else None
        if answer is None:
            answer = await self._broken.answer(request, self.world)
        if answer is None:
            answer = await handler(request)
        now = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        answer.headers["Date"] = format_datetime(now, usegmt=True)
        return answer

    async def _open(self, starting: AsyncExitStack, service: Service, receiver: Receiver) -> int:
        handle = _guarded(receiver.handle)
        http2 = (lambda: Http2Front(handle, receiver.cancelled, self._broken)) if self._http2 else None
        doors = Doors(handle, http2)
        bound = await doors.open(self._host, service.port, self._tls)
        starting.push_async_callback(doors.close)
        self._doors[service.name] = doors
        return bound

    async def _listen(self, starting: AsyncExitStack, runner: web.BaseRunner, port: int) -> int:
        """The port that it is bound to. OSError where it is taken."""
        await runner.setup()
        starting.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self._host, port).start()
        bound: int = runner.addresses[0][1]
        return bound

    def _authority(self, port: int) -> str:
        host = "127.0.0.1" if self._host in WILDCARDS else self._host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _unnamed(_request: web.Request, answer: web.StreamResponse) -> None:
    """It is nobody's affair which library answers in Google's place."""
    if answer.headers.get("Server") == SERVER_SOFTWARE:
        del answer.headers["Server"]


def _guarded(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        refuse_rebound(request)
        return await handle(request)

    return guarded
