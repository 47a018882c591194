"""The composition root: the one place that picks concrete parts, opens the listeners and takes the signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from proxy.engine.access import access_log
from proxy.engine.front import Front
from proxy.engine.gateway import Gateway
from proxy.engine.pool import Pool
from proxy.engine.sweeper import Sweeper
from proxy.engine.tls import tls_context
from proxy.errors import ConfigError, Fault, Problem, ProxyError, TokenError
from proxy.identity.cache import TokenCache, TokenSlot
from proxy.identity.sources import Source, build
from proxy.settings.model import Identity, NoIdentity, Route, Settings, TcpAddress

if TYPE_CHECKING:
    from proxy.admin.app import Admin

_WARM_UP_AT_ONCE = 16  # fetches; a thousand routes must not start a thousand threads
_BACKLOG = 1024

log = structlog.get_logger("proxy.server")


class ListenFailed(ProxyError):
    """An address that cannot be bound."""

    title = "Cannot listen"
    fault = Fault.OPERATOR


class Server:
    """A proxy in a running event loop: `start`, then `stop`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.addresses: tuple[TcpAddress, ...] = ()
        self._environ = os.environ if environ is None else environ
        self._cache = TokenCache()
        self._slots: dict[str, TokenSlot] = {}
        self._pools: dict[tuple[str, float, float], Pool] = {}
        self._servers: list[asyncio.Server] = []
        self._warm_up: asyncio.Task[None] | None = None
        self._admin: Admin | None = None
        self._front: Front
        self._sweeper: Sweeper

    async def start(self) -> None:
        """Raises ConfigError and ListenFailed. A token source that does not answer is no reason not to start."""
        settings = self.settings
        self._sweeper = Sweeper(
            Sweeper.interval_for([settings.timeouts, *(r.timeouts for r in settings.routes)])
        )
        self._slots = self._token_slots(settings)
        gateway = Gateway(settings, self._slots, self._pool_factory(settings))
        self._front = Front(gateway, self._sweeper, access_log=access_log(settings.log.access))
        try:
            await self._listen(settings)
            if settings.admin is not None:
                await self._start_admin(settings)
        except ProxyError:
            await self._close()
            raise
        self._warm_up = asyncio.ensure_future(self._fetch_first_tokens())

    @property
    def ready(self) -> bool:
        """Started, a valid token for every route, not draining; nothing about a receiver's health."""
        return (
            bool(self.addresses)
            and not self._front.draining
            and all(slot.current() is not None for slot in self._slots.values())
        )

    @property
    def front(self) -> Front:
        return self._front

    @property
    def slots(self) -> Mapping[str, TokenSlot]:
        """By route name."""
        return self._slots

    def status(self) -> dict[str, Any]:
        """What /api/status tells: no token, no header, no query."""
        return {
            "ready": self.ready,
            "draining": self._front.draining,
            "listen": [f"http://{address}" for address in self.addresses],
            "connections": self._front.busy,
            "routes": [self._route_status(route) for route in self.settings.routes],
        }

    def _route_status(self, route: Route) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": route.name,
            "host": route.host,
            "path": route.path,
            "upstream": str(route.upstream),
            "audience": route.audience,
        }
        slot = self._slots.get(route.name)
        if slot is not None:
            status = slot.status()
            told["token"] = {
                "source": status.source,
                "valid": status.valid,
                "email": status.email,
                "audience": status.token_audience,
                "expires_at": status.expires_at,
                "error": status.error
                and {
                    "cause": status.error.cause,
                    "detail": status.error.detail,
                    "remedy": status.error.remedy,
                },
            }
        return told

    async def stop(self, drain: float | None = None) -> None:
        """Takes no more connections, lets exchanges finish within `drain` seconds (timeouts.drain), then closes."""
        for server in self._servers:
            server.close()
        self._front.drain()
        limit = self.settings.timeouts.drain if drain is None else drain
        deadline = asyncio.get_running_loop().time() + limit
        while self._front.busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # once in a process's life: no event is worth a place on the data path
        if self._front.busy:
            log.warning("drain timed out", still_open=self._front.busy, seconds=limit)
        await self._close()

    # -- parts -----------------------------------------------------------------

    def _token_slots(self, settings: Settings) -> dict[str, TokenSlot]:
        sources: dict[Identity, Source] = {}
        slots = {}
        for route in settings.routes:
            if isinstance(route.identity, NoIdentity) or route.audience is None:
                continue
            if route.identity not in sources:
                try:
                    sources[route.identity] = build(route.identity, settings.google, self._environ)
                except TokenError as error:
                    message = error.detail if error.remedy is None else f"{error.detail}; {error.remedy}"
                    raise ConfigError((Problem("settings", 0, f'route "{route.name}"', message),)) from None
            slots[route.name] = self._cache.slot(route.identity, sources[route.identity], route.audience)
        return slots

    def _pool_factory(self, settings: Settings) -> Callable[[Route], Pool]:
        tls: ssl.SSLContext | None = None

        def pool_of(route: Route) -> Pool:
            nonlocal tls
            upstream = route.upstream
            if upstream.scheme == "https" and tls is None:
                try:
                    tls = tls_context(settings.ca_file)
                except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                    problem = Problem(
                        "settings", 0, "tls.ca_file", f"{settings.ca_file} cannot be read: {error}"
                    )
                    raise ConfigError((problem,)) from None
            key = (upstream.origin, route.timeouts.connect, route.timeouts.keepalive)
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = Pool(
                    upstream,
                    self._sweeper,
                    tls=tls if upstream.scheme == "https" else None,
                    connect=route.timeouts.connect,
                    keepalive=route.timeouts.keepalive,
                )
            return pool

        return pool_of

    async def _listen(self, settings: Settings) -> None:
        bound: list[TcpAddress] = []
        for address in settings.listen:
            if not isinstance(address, TcpAddress):
                raise ListenFailed(f"{address}: unix sockets are not in this version")
            bound.extend(await self._listen_on(address))
        self.addresses = tuple(bound)
        for address in bound:
            log.info("listening", address=f"http://{address}")

    async def _listen_on(self, address: TcpAddress) -> list[TcpAddress]:
        loop = asyncio.get_running_loop()
        bound: list[TcpAddress] = []
        port = address.port
        hosts = ("127.0.0.1", "::1") if address.host == "localhost" else (address.host,)
        for host in hosts:
            try:
                server = await loop.create_server(self._front, host, port, backlog=_BACKLOG)
            except OSError as error:
                # Only where there is no IPv6 at all. A port that someone else has there is an error: an app that says
                # localhost would talk to that someone.
                if bound and host == "::1" and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    log.debug("IPv6 loopback is not available", reason=error.strerror)
                    continue
                raise ListenFailed(
                    f"cannot listen on {TcpAddress(host, port)}: {os.strerror(error.errno) if error.errno else error}",
                    remedy="choose another address with listen: or --listen; port 0 takes a free one",
                ) from None
            self._servers.append(server)
            taken = server.sockets[0].getsockname()
            port = taken[1]  # with port 0, both families get the same one
            bound.append(TcpAddress(taken[0], port))
        return bound

    async def _start_admin(self, settings: Settings) -> None:
        # aiohttp costs 0.2 s to import, which the first request need not wait for.
        from proxy.admin.app import Admin  # noqa: PLC0415

        assert isinstance(settings.admin, TcpAddress)
        admin = Admin(self)
        try:
            await admin.start(settings.admin)
        except OSError as error:
            raise ListenFailed(
                f"cannot listen on {settings.admin} (admin): {os.strerror(error.errno) if error.errno else error}",
                remedy="choose another address with admin: or turn it off with admin: off",
            ) from None
        self._admin = admin

    async def _fetch_first_tokens(self) -> None:
        gate = asyncio.Semaphore(_WARM_UP_AT_ONCE)

        async def fetch(slot: TokenSlot) -> None:
            async with gate:
                with contextlib.suppress(TokenError):  # the cache has said it, and goes on trying
                    await slot.get()

        await asyncio.gather(*(fetch(slot) for slot in set(self._slots.values())))
        if self.ready:
            log.info("ready", routes=len(self.settings.routes))

    async def _close(self) -> None:
        if self._warm_up is not None:
            self._warm_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._warm_up
        for server in self._servers:
            server.close()
        self._front.abort()
        for pool in self._pools.values():
            pool.close()
        if self._admin is not None:
            await self._admin.stop()
        await self._cache.close()
        self._sweeper.close()
        await asyncio.sleep(0)  # transports that were aborted report it in the next turn of the loop


def run(settings: Settings) -> int:
    """`idtoken-proxy serve`: until SIGTERM or SIGINT, which drain; a second one ends at once. The exit code."""
    import uvloop  # noqa: PLC0415

    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    server = Server(settings)
    await server.start()
    # What is alive now stays: the collector need not look at it again (and pages shared by fork stay shared).
    gc.collect()
    gc.freeze()
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, _on_signal, signum, told)
    await told.wait()
    await server.stop()
    log.info("stopped")
    return 0


def _on_signal(signum: int, told: asyncio.Event) -> None:
    if told.is_set():
        os._exit(128 + signum)
    log.info("draining", signal=signal.Signals(signum).name)
    told.set()
