"""The composition root: opens the listeners, takes the signals, and exchanges one generation of settings for the next."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import ipaddress
import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from proxy.engine.access import access_log
from proxy.engine.explain import explain_once
from proxy.engine.front import Front
from proxy.engine.listeners import Listeners, ListenFailed
from proxy.engine.sweeper import Sweeper
from proxy.engine.tally import Tally
from proxy.errors import ProxyError, TokenError
from proxy.generation import Generation, compose, object_to
from proxy.identity.cache import TokenCache, TokenSlot
from proxy.identity.events import FetchEvent, log_event
from proxy.reload import ConfigFile, keep_reloading
from proxy.settings.model import Address, Route, Settings, TcpAddress, UnixAddress

if TYPE_CHECKING:
    from proxy.admin.app import Admin

__all__ = ["ListenFailed", "Server", "run"]

_WARM_UP_AT_ONCE = 16  # fetches; a thousand routes must not start a thousand threads

log = structlog.get_logger("proxy.server")


class Server:
    """A proxy in a running event loop: `start`, then `stop`; `reload` between."""

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self._first_settings = settings
        self._environ = os.environ if environ is None else environ
        self._tally = Tally()
        self._cache = TokenCache(on_event=self._on_fetch)
        self._warm_ups: set[asyncio.Task[None]] = set()
        self._admin: Admin | None = None
        self._generation: Generation
        self._listeners: Listeners
        self._front: Front
        self._sweeper: Sweeper

    async def start(self) -> None:
        """Raises ConfigError and ListenFailed. A token source that does not answer is no reason not to start."""
        settings = self._first_settings
        self._sweeper = Sweeper(_sweep_interval(settings))
        self._generation = self._compose(settings)
        await asyncio.to_thread(object_to, self._generation)
        self._front = Front(
            self._generation.gateway,
            self._sweeper,
            access_log=explain_once(access_log(settings.log.access)),
            tally=self._tally,
        )
        self._listeners = Listeners(self._front)
        try:
            await self._listeners.listen(settings.listen)
            await self._listeners.share(shared=settings.guard.allowed_uids is not None)
            self._tell_of_new(())
            self._warm_up()
            self._admin = await self._open_admin(settings.admin)
        except ProxyError:
            await self._close()
            raise

    async def reload(self, settings: Settings) -> None:
        """Takes `settings` over whole, or, with ConfigError or ListenFailed, not at all. Exchanges that are under way
        end under the ones they began with.
        """
        generation = self._compose(settings)
        await asyncio.to_thread(object_to, generation)
        await self._listen_anew(settings)
        shared = settings.guard.allowed_uids is not None
        if not shared:  # before the check of who calls goes; where it comes, after it
            await self._listeners.share(shared=False)
        before, self._generation = self._generation, generation
        self._sweeper.interval = _sweep_interval(settings)
        self._front.access_log = explain_once(access_log(settings.log.access))
        self._front.adopt(generation.gateway)
        self._cache.retain(generation.slots.values())
        self._tally.retain(
            {route.name for route in settings.routes},
            {route.upstream.origin for route in settings.routes},
            {route.audience for route in settings.routes},
        )
        if shared:
            await self._listeners.share(shared=True)
        before.retire()
        self._warm_up()

    def reloaded(self, error: ProxyError | None) -> None:
        """What became of an attempt to reload, for metrics and the status page."""
        self._tally.reloaded(error)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._generation.settings

    @property
    def addresses(self) -> tuple[TcpAddress, ...]:
        """The TCP ports that were bound."""
        return tuple(address for address in self._listeners.bound if isinstance(address, TcpAddress))

    @property
    def ready(self) -> bool:
        """Started, a valid token for every route, not draining; nothing about a receiver's health."""
        return (
            bool(self._listeners.bound)
            and not self._front.draining
            and all(slot.current() is not None for slot in self._generation.slots.values())
        )

    @property
    def front(self) -> Front:
        return self._front

    @property
    def slots(self) -> Mapping[str, TokenSlot]:
        """By route name."""
        return self._generation.slots

    def status(self) -> dict[str, Any]:
        """What /api/status tells: no token, no header, no query."""
        return {
            "ready": self.ready,
            "draining": self._front.draining,
            "listen": [shown(address) for address in self._listeners.bound],
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
        slot = self._generation.slots.get(route.name)
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
        await self._listeners.close()
        self._front.drain()
        loop = asyncio.get_running_loop()
        limit = self.settings.timeouts.drain if drain is None else drain
        deadline = loop.time() + limit
        # Once in a process's life: no event is worth a place on the data path.
        while self._front.busy and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if self._front.busy:
            log.warning("drain timed out", still_open=self._front.busy, seconds=limit)
        await self._close()

    # -- parts -----------------------------------------------------------------

    def _compose(self, settings: Settings) -> Generation:
        return compose(
            settings, cache=self._cache, sweeper=self._sweeper, environ=self._environ, tally=self._tally
        )

    def _on_fetch(self, event: FetchEvent) -> None:
        self._tally.fetched(event)
        log_event(event)

    async def _listen_anew(self, settings: Settings) -> None:
        before = self._listeners.bound
        admin, admin_before = self._admin, self._admin
        if admin is None or admin.address != settings.admin:
            admin = await self._open_admin(settings.admin)
        try:
            await self._listeners.listen(settings.listen)
        except ListenFailed:
            if admin is not None and admin is not admin_before:
                await admin.stop()
            raise
        if admin_before is not None and admin_before is not admin:
            await admin_before.stop()
        self._admin = admin
        self._tell_of_new(before)

    def _tell_of_new(self, before: tuple[Address, ...]) -> None:
        for address in self._listeners.bound:
            if address not in before:
                log.info("listening", address=shown(address))
                if is_remote(address) and self._generation.settings.guard.caller_token_file is None:
                    log.warning(
                        "whoever reaches this address acts as this proxy's identity",
                        address=shown(address),
                        remedy="ask callers for a secret: guard: {caller_token_file: ...}; or listen on loopback",
                    )

    async def _open_admin(self, address: Address | None) -> Admin | None:
        if address is None:
            return None
        # aiohttp takes 0.2 s to import, for which the first request shall not wait.
        app = await asyncio.to_thread(importlib.import_module, "proxy.admin.app")
        admin: Admin = app.Admin(self, address)
        await admin.start()
        return admin

    def _warm_up(self) -> None:
        task = asyncio.ensure_future(self._fetch_first_tokens(self._generation))
        self._warm_ups.add(task)
        task.add_done_callback(self._warm_ups.discard)

    async def _fetch_first_tokens(self, generation: Generation) -> None:
        gate = asyncio.Semaphore(_WARM_UP_AT_ONCE)

        async def fetch(slot: TokenSlot) -> None:
            async with gate:
                with contextlib.suppress(TokenError):  # the cache has said it, and goes on trying
                    await slot.get()

        await asyncio.gather(*(fetch(slot) for slot in set(generation.slots.values())))
        if self.ready:
            log.info("ready", routes=len(generation.settings.routes))

    async def _close(self) -> None:
        for task in tuple(self._warm_ups):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._listeners.close()
        self._front.abort()
        self._generation.retire()
        if self._admin is not None:
            await self._admin.stop()
        await self._cache.close()
        self._sweeper.close()
        await asyncio.sleep(0)  # transports that were aborted report it in the next turn of the loop


def shown(address: Address) -> str:
    return str(address) if isinstance(address, UnixAddress) else f"http://{address}"


def is_remote(address: Address) -> bool:
    """Whether other machines may reach it."""
    return isinstance(address, TcpAddress) and not ipaddress.ip_address(address.host).is_loopback


def _sweep_interval(settings: Settings) -> float:
    return Sweeper.interval_for([settings.timeouts, *(route.timeouts for route in settings.routes)])


def run(settings: Settings, source: ConfigFile | None = None) -> int:
    """`idtoken-proxy serve`: until SIGTERM or SIGINT, which drain; a second one ends at once. The exit code.

    `source`: where the settings came from; SIGHUP and a change of the file load them again.
    """
    import uvloop  # noqa: PLC0415

    return uvloop.run(_serve(settings, source))


async def _serve(settings: Settings, source: ConfigFile | None) -> int:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, _on_signal, signum, told)
    server = Server(settings)
    await server.start()
    reloading = asyncio.ensure_future(keep_reloading(server, source)) if source is not None else None
    # What is alive now stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    await told.wait()
    if reloading is not None:
        reloading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reloading
    await server.stop()
    log.info("stopped")
    return 0


def _on_signal(signum: int, told: asyncio.Event) -> None:
    if told.is_set():
        os._exit(128 + signum)
    log.info("draining", signal=signal.Signals(signum).name)
    told.set()
