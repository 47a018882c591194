"""A private service: its front end checks the caller, then its container runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from idtoken_proxy.emulator import container, edge
from idtoken_proxy.emulator.breaks import Broken
from idtoken_proxy.emulator.front_ends import CloudRun, FrontEnd, length_required, refusal
from idtoken_proxy.emulator.google_api import GoogleApi
from idtoken_proxy.emulator.http2_request import HTTP2
from idtoken_proxy.emulator.http2_writer import Http2Writer
from idtoken_proxy.emulator.iap import IapFrontEnd
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.tokens import Mint
from idtoken_proxy.emulator.world import Service, World

WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - read here, not bound


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


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A request over HTTP/2 that its sender has reset before its end; `code` is of RFC 9113 section 7."""

    service: str
    method: str
    target: str
    code: int


OnRequest: TypeAlias = Callable[[Seen], None]
OnCancel: TypeAlias = Callable[[Cancelled], None]
App: TypeAlias = Callable[[container.Delivered], Awaitable[web.StreamResponse]]


class Receiver:
    def __init__(
        self,
        service: Service,
        world: World,
        keys: Keys,
        mint: Mint,
        on_request: OnRequest,
        broken: Broken,
        app: App = container.answer,
        on_cancel: OnCancel = lambda _cancelled: None,
    ) -> None:
        self._mint, self._clock = mint, mint.clock
        self._on_cancel = on_cancel
        self._on_request = on_request
        self._broken = broken
        self._app = app
        self._world = world
        self._keys = keys
        self._service, self._front_end = service, self._front_end_of(service)
        self._scheme = "http"
        self._authorities: frozenset[str] | None = None  # None: it answers to any

    def let_in(self, member: str) -> None:
        """From the next request on."""
        self._serve(replace(self._service, invokers=self._service.invokers | {member}))

    def shut_out(self, member: str) -> None:
        self._serve(replace(self._service, invokers=self._service.invokers - {member}))

    def _serve(self, service: Service) -> None:
        self._service, self._front_end = service, self._front_end_of(service)

    def _front_end_of(self, service: Service) -> FrontEnd:
        if service.api:
            return GoogleApi(service, self._world, self._mint)
        if service.iap:
            return IapFrontEnd(service, service.iap, self._world, self._keys, self._clock)
        return CloudRun(service, self._world, self._keys, self._clock)

    def bound_to(self, host: str, port: int, scheme: str = "http") -> None:
        """What it is bound to makes its own URLs; on every address at once, any name will do."""
        self._scheme = scheme
        if host not in WILDCARDS:
            names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
            self._authorities = frozenset(f"{name}:{port}" for name in names)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        try:
            delivered = self._admit(request, headers)
        except web.HTTPException as refused:
            self._saw(request, headers, refused.status)
            raise
        self._saw(request, headers, None)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await _go_on(request.writer)
        return await self._app(delivered)

    def cancelled(self, method: str, target: str, code: int) -> None:
        self._on_cancel(Cancelled(self._service.name, method, target, code))

    def _saw(self, request: web.BaseRequest, headers: container.Headers, refused: int | None) -> None:
        self._on_request(Seen(self._service.name, request.method, request.raw_path, headers, refused))

    def _admit(self, request: web.BaseRequest, headers: container.Headers) -> container.Delivered:
        """What Google's front end does before a container runs; web.HTTPException is its refusal."""
        service = self._service
        whole_way = (
            request.version >= HTTP2 and not service.backend
        )  # an app of one's own is spoken to in HTTP/1.1
        kept_back = edge.kept_back(request, is_function=service.is_function, is_limited=not whole_way)
        if kept_back is not None:
            raise kept_back
        if request.method in ("CONNECT", "TRACE"):
            raise refusal(web.HTTPMethodNotAllowed(request.method, ()), "The method is not allowed.")
        no_length = length_required(request)
        if no_length is not None:
            raise no_length
        if self._authorities is not None and request.host.lower() not in self._authorities:
            raise refusal(web.HTTPNotFound(), "No service answers to this host.")
        if not f"{request.path}/".startswith(f"{service.path}/"):
            raise refusal(web.HTTPNotFound(), "No function answers to this path.")
        if service.is_public:
            return container.Delivered(service.name, request, headers, prefix=service.path)
        origins = tuple(f"{self._scheme}://{name}" for name in self._authorities or {request.host})
        admitted = self._front_end.admit(request, headers, origins)
        if self._broken.now.receiver == "invalid_token":
            raise self._front_end.invalid_token(request)
        if self._broken.now.receiver == "no_invoker":
            raise self._front_end.no_invoker(request)
        if self._broken.now.receiver == "no_instance":
            raise edge.no_instance()
        if self._broken.now.receiver == "request_timeout":
            raise edge.request_timeout()
        return container.Delivered(
            service=service.name,
            request=request,
            headers=admitted.headers,
            claims=admitted.claims,
            expires_in=admitted.claims["exp"] - self._clock(),
            prefix=service.path,
        )


async def _go_on(writer: AbstractStreamWriter) -> None:
    if isinstance(writer, Http2Writer):
        writer.go_on()
        return
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.output_size = 0  # the head is not begun yet
