"""The composition root: opens the listeners, and replaces one generation of settings by the next."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from idtoken_proxy.composer import Composer
from idtoken_proxy.draining import accepted_all, drained
from idtoken_proxy.engine.access import access_log
from idtoken_proxy.engine.downstream import Downstream
from idtoken_proxy.engine.listeners import Listeners, ListenFailed, Prepared
from idtoken_proxy.engine.refusal_log import explain_once
from idtoken_proxy.engine.server_context import ServerContext
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import Problem, ProxyError
from idtoken_proxy.generation import Generation, release
from idtoken_proxy.identity.cache import TokenCache, TokenSlot
from idtoken_proxy.identity.clock import Clock
from idtoken_proxy.identity.events import FetchEvent, log_event
from idtoken_proxy.lifecycle import DRAIN, DRAINING, END, SERVING, STARTING, Lifecycle
from idtoken_proxy.metadata_server.counts import Counts
from idtoken_proxy.metadata_server.handed_out import HandedOut
from idtoken_proxy.readiness import Readiness
from idtoken_proxy.settings.addresses import base_url, is_remote
from idtoken_proxy.settings.model import Address, Settings, TcpAddress, asked_for
from idtoken_proxy.side_listeners import admin_listener, metadata_listener
from idtoken_proxy.span_export import SpanExport
from idtoken_proxy.tls_trust import Trust
from idtoken_proxy.turns import in_turns, whole

if TYPE_CHECKING:
    from idtoken_proxy.admin.status import KeysObserved
    from idtoken_proxy.receive.inbound_listeners import InboundListeners, PreparedInbound

__all__ = ["ListenFailed", "Server"]

log = structlog.get_logger("idtoken_proxy.server")


class Server:
    """A proxy in a running event loop: `start`, then `stop`; `reload` between."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str] | None = None,
        trusted: Callable[[], Trust] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`trusted`: from trust_ahead, if it was called for these settings. `clock`: for tokens and deadlines."""
        self._first_settings = settings
        self._trusted = trusted
        self._environ = os.environ if environ is None else environ
        self._readiness = Readiness(self._environ)
        self._stats = Stats()
        self._clock = clock
        self._cache = TokenCache(clock=clock, on_event=self._on_fetch)
        self._admin = admin_listener(self)
        self._metadata = metadata_listener(self, self._environ)
        self._spans = SpanExport()
        self._inbound: InboundListeners | None = None  # imported only if one is configured
        self.metadata_counts = Counts()
        self._composer: Composer
        self._generation: Generation
        self._listeners: Listeners
        self._context: ServerContext
        self._sweeper: Sweeper

    async def start(self) -> None:
        """Raises ConfigError and ListenFailed. A token source that does not answer does not stop the start."""
        settings = self._first_settings
        boot = None if self._clock is None else self._clock.boot
        self._sweeper = Sweeper(Sweeper.interval_for([settings.timeouts]), boot)
        self._composer = Composer(self._environ, self._cache, self._sweeper, self._stats, self._clock)
        self._generation = await self._composer.compose(settings, self._trusted)
        self._count_for(self._generation)
        self._readiness.adopt(self._generation)
        exposed_files = await self._composer.check_files(self._generation)
        self._context = ServerContext(
            self._generation.router,
            self._sweeper,
            access_log=explain_once(access_log(settings.log.access), self._stats),
            stats=self._stats,
        )
        await self._spans.prepare(settings)
        self._spans.adopt(self._contexts)
        self._listeners = Listeners(functools.partial(Downstream, self._context))
        try:
            for side in (self._admin, self._metadata):
                await side.bind(settings)
            await self._listeners.listen(settings.listen, reuse_port=settings.reuse_port)
            await self._listeners.share(shared=settings.guard.allowed_uids is not None)
            await self._open_inbound(await self._prepare_inbound(self._generation))
            self._log_listening((), exposed_files)
            self._readiness.warm_up()
            for side in (self._admin, self._metadata):
                await side.open(settings)
                await side.adopt()
            await self._share_metadata(shared=settings.guard.allowed_uids is not None)
        except ProxyError:
            await self._close()
            raise
        self._readiness.opened()

    async def reload(self, settings: Settings) -> None:
        """Takes `settings` over whole, or, raising ConfigError or ListenFailed, not at all; so too if cancelled.
        Exchanges under way end under the settings they began with.
        """
        held: list[object] = []
        try:
            generation = await self._composer.compose(settings, before=self._generation)
            exposed_files = await self._composer.check_files(generation)
            await self._spans.prepare(settings)
            held = self._generation.held()
            await whole(self._exchange(generation, exposed_files))
        finally:
            self._cache.retain(slot for _, slot in self._generation.named_slots())
        del generation
        await in_turns(release(held))

    async def _exchange(self, generation: Generation, exposed_files: tuple[Problem, ...]) -> None:
        settings = generation.settings
        prepared: Prepared | None = None
        inbound: PreparedInbound | None = None
        try:
            inbound = await self._prepare_inbound(generation)
            prepared = await self._listeners.prepare(settings.listen, reuse_port=settings.reuse_port)
            for side in (self._admin, self._metadata):
                await side.bind(settings)
                await side.open(settings)
        except BaseException:
            for made in (prepared, inbound, self._admin, self._metadata, self._spans):
                if made is not None:
                    await made.discard()
            raise
        # From here on nothing is refused. The guard changes before any listener: a new listener must admit nobody whom
        # the new settings would not, and a socket is open to other users only while callers' user IDs are checked.
        shared = settings.guard.allowed_uids is not None
        if not shared:
            await self._listeners.share(shared=False)
            await self._share_metadata(shared=False)
        bound = self._all_bound()
        self._take_over(generation)
        self._spans.adopt(self._contexts)
        await self._listeners.adopt(prepared)
        self._context.part()
        await self._open_inbound(inbound)
        if shared:
            await self._listeners.share(shared=True)
            await self._share_metadata(shared=True)
        for side in (self._admin, self._metadata):
            await side.adopt()
        await self._spans.retire()
        self._log_listening(bound, exposed_files)
        self._readiness.warm_up()
        self._readiness.check_started()

    async def _share_metadata(self, *, shared: bool) -> None:
        for listener in self._metadata.all:
            await listener.share(shared=shared)

    def _take_over(self, generation: Generation) -> None:
        settings = generation.settings
        before, self._generation = self._generation, generation
        self._readiness.adopt(generation)
        self._context.access_log = explain_once(access_log(settings.log.access), self._stats)
        self._context.adopt(generation.router)
        for name, slot in generation.named_slots():
            slot.use(generation.sources[name])
        self._count_for(generation)
        before.retire()

    def _count_for(self, generation: Generation) -> None:
        self._sweeper.interval = generation.sweep
        routes = generation.counted()
        self._stats.take(routes, generation.upstreams)
        self._stats.retain(
            routes,
            generation.upstreams,
            {
                route.upstream.origin if route.is_pattern else asked_for(route.wanted)
                for route in generation.settings.routes
            },
        )

    def reloading(self) -> None:
        """An attempt to reload begins."""
        self._readiness.reloading()

    def reloaded(self, error: ProxyError | None) -> None:
        """Records the outcome of an attempt to reload for metrics, the status page and the service manager."""
        self._stats.reloaded(error)
        self._readiness.reloaded()

    @property
    def lifecycle(self) -> Lifecycle:
        return self._readiness.lifecycle

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._generation.settings

    @property
    def addresses(self) -> tuple[TcpAddress, ...]:
        """The TCP ports bound."""
        return tuple(address for address in self._listeners.bound if isinstance(address, TcpAddress))

    @property
    def bound(self) -> tuple[Address, ...]:
        """All addresses bound for apps."""
        return self._listeners.bound

    @property
    def admin(self) -> tuple[Address, ...]:
        """The addresses bound for the operator."""
        return self._admin.addresses

    @property
    def metadata(self) -> tuple[Address, ...]:
        """The addresses bound for Google's libraries."""
        return self._metadata.addresses

    @property
    def handed_out(self) -> HandedOut | None:
        """What the metadata server serves under the settings in force."""
        return self._generation.handed_out

    @property
    def environ(self) -> Mapping[str, str]:
        return self._environ

    @property
    def started(self) -> bool:
        """The listeners are open and every route has had a token. Stays true to the end."""
        return self._readiness.started

    @property
    def ready(self) -> bool:
        """Started, not draining, a valid token for every route. A receiver's health does not count."""
        return self._readiness.ready

    def quit(self, **why: str) -> None:
        """Ends readiness at once; whoever runs this server stops it now. A second call changes nothing. It may be
        called before the start has opened anything.
        """
        if self._readiness.is_open and self.lifecycle.state in (STARTING, SERVING):
            limit = f"{self.settings.timeouts.drain:g} s"
            log.info("draining", open=self._busy, at_most=limit, again="ends at once", **why)
        self.lifecycle.on(DRAIN)

    @property
    def context(self) -> ServerContext:
        return self._context

    @property
    def slots(self) -> Mapping[str, TokenSlot]:
        """By route name."""
        return self._generation.slots

    @property
    def cache(self) -> TokenCache:
        """All tokens. The same cache outlasts reloads."""
        return self._cache

    def metadata_requests(self) -> Mapping[tuple[str, str], int]:
        """(what was asked for, outcome) to the number of requests."""
        return self.metadata_counts.by_kind()

    def status(self) -> dict[str, Any]:
        """What /api/status says, except the routes. It holds no token, header or query."""
        handed_out = self._generation.handed_out
        metadata = {} if handed_out is None else handed_out.status()
        if metadata:
            metadata["listen"] = [base_url(address) for address in self.metadata]
            metadata["requests"] = self.metadata_counts.by_outcome()
        return {
            "state": self.lifecycle.state,
            "ready": self.ready,
            "draining": self.lifecycle.state is DRAINING,
            "listen": [base_url(address) for address in self._listeners.bound],
            "connections": self._busy,
            "receive": [] if self._inbound is None else [one.status() for one in self._inbound],
            **({"metadata": metadata} if metadata else {}),
        }

    def key_sets(self) -> Iterable[KeysObserved]:
        keys = self._generation.issuer_keys
        return () if keys is None else keys

    @property
    def inbound(self) -> tuple[Address, ...]:
        """The addresses bound before apps."""
        return () if self._inbound is None else tuple(a for one in self._inbound for a in one.bound)

    @property
    def _contexts(self) -> tuple[ServerContext, ...]:
        return (self._context, *self._context.beside)

    @property
    def _busy(self) -> int:
        return sum(context.busy for context in self._contexts)

    def _all_bound(self) -> tuple[Address, ...]:
        return (*self._listeners.bound, *self.inbound)

    def route_statuses(self) -> Iterator[dict[str, Any]]:
        """One by one, of the generation in force at the call: a reload may come in between."""
        return self._generation.statuses()

    async def stop(self, drain: float | None = None) -> None:
        """Fails readiness, accepts no more connections, lets exchanges finish within `drain` seconds (timeouts.drain),
        then closes.
        """
        self.lifecycle.on(DRAIN)
        await accepted_all(self._stats)
        await self._listeners.close()
        if self._inbound is not None:
            await self._inbound.close()
        await drained(lambda: self._contexts, self.settings.timeouts.drain if drain is None else drain)
        await self._close()

    # -- parts -----------------------------------------------------------------

    async def _prepare_inbound(self, generation: Generation) -> PreparedInbound | None:
        if self._inbound is None:
            if not generation.receptions:
                return None
            from idtoken_proxy.receive.inbound_listeners import InboundListeners  # noqa: PLC0415 -- for who has it

            access = access_log(generation.settings.log.access)
            self._inbound = InboundListeners(self._sweeper, self._stats, access)
        reuse = generation.settings.reuse_port
        return await self._inbound.prepare(generation.receptions, reuse_port=reuse)

    async def _open_inbound(self, prepared: PreparedInbound | None) -> None:
        if self._inbound is None or prepared is None:
            return
        settings = self._generation.settings
        shared = settings.guard.allowed_uids is not None
        await self._inbound.adopt(prepared, access_log(settings.log.access), shared=shared)
        self._context.beside = self._inbound.fronts
        self._spans.follow(self._contexts)
        keys = self._generation.issuer_keys
        if keys is not None:
            keys.on_fetched = self._readiness.check_started
            keys.retain(one for reception in self._generation.receptions for one in reception.issuers)
            keys.warm_up()

    def _on_fetch(self, event: FetchEvent) -> None:
        self._stats.fetched(event)
        log_event(event)
        self._spans.fetched(event)
        if event.error is None:
            self._readiness.fetched(event.slot)
        self._readiness.check_started()

    def _log_listening(self, before: tuple[Address, ...], exposed_files: tuple[Problem, ...]) -> None:
        for doubt in (*self._generation.settings.warnings, *exposed_files):
            log.warning(
                "doubtful setting", key=doubt.key, file=doubt.file, line=doubt.line, detail=doubt.message
            )
        for address in self.inbound:
            if address not in before:
                log.info("listening before an app", address=str(address))
        for address in self._listeners.bound:
            if address not in before:
                log.info("listening", address=base_url(address))
                if is_remote(address) and self._generation.settings.guard.caller_token_file is None:
                    log.warning(
                        "whoever reaches this address acts as this proxy's identity",
                        address=base_url(address),
                        remedy="ask callers for a secret: guard: {caller_token_file: ...}; or listen on loopback",
                    )

    async def _close(self) -> None:
        await self._readiness.close()
        await self._listeners.close()
        for context in self._contexts:
            context.abort()
        if self._inbound is not None:
            await self._inbound.close()
        keys = self._generation.issuer_keys
        if keys is not None:
            await keys.close()
        self._generation.retire()
        for side in (self._admin, self._metadata):
            await side.close()
        await self._cache.close()
        await self._spans.close()
        self._sweeper.close()
        self.lifecycle.on(END)
        await asyncio.sleep(0)  # aborted transports report it in the loop's next turn
