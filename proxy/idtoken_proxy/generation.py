"""One generation of settings, composed: sources, token slots, pools and the router over them.

It is composed whole before any of it is used, so that a reload takes over whole or not at all.
"""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import time
from typing import TYPE_CHECKING, Any, Final

from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.router import Router, ServiceParts
from idtoken_proxy.engine.stats import RouteCounts, Stats, UpstreamCounts
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.identity.cache import TokenCache, TokenSlot
from idtoken_proxy.identity.clock import Clock, Wall
from idtoken_proxy.identity.sources import Source, build
from idtoken_proxy.identity.sources.source import RestrictedAudience
from idtoken_proxy.metadata_server.handed_out import HandedOut
from idtoken_proxy.plain_file import check_plain, read_plain
from idtoken_proxy.settings.exposure import exposed
from idtoken_proxy.settings.identities import Identity, NoIdentity
from idtoken_proxy.settings.model import NamedFile, Route, Settings
from idtoken_proxy.settings.plausible import shown_path
from idtoken_proxy.tls_trust import Trust, trust, trust_for_http2
from idtoken_proxy.turns import Pieces

if TYPE_CHECKING:
    from idtoken_proxy.receive.composition import Reception
    from idtoken_proxy.receive.issuer_keys import IssuerKeys

METADATA: Final = "metadata server"  # stands for a route's name; no clash, as those have no space
_AT_A_TIME: Final = 64  # routes, before the loop is yielded
_SHORTEST_SECRET: Final = 16  # octets
_LONGEST_SECRET: Final = 8 * 1024
_VISIBLE: Final = bytes(range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class Generation:
    """`sources` and `slots`: by route name; a public route has none. `handed_out`: what the metadata server serves.
    `upstreams`: counters by origin. `sweep`: seconds between two checks of the deadlines.
    """

    settings: Settings
    sources: Mapping[str, Source]
    slots: Mapping[str, TokenSlot]
    pools: tuple[Pool, ...]
    router: Router
    upstreams: dict[str, UpstreamCounts]
    sweep: float
    handed_out: HandedOut | None = None
    receptions: tuple[Reception, ...] = ()
    issuer_keys: IssuerKeys | None = None  # the same ones after a reload

    def retire(self) -> None:
        """Closes idle upstream connections. One in use closes with its exchange."""
        for pool in self.pools:
            pool.close()
        self.router.services.close()

    def named_slots(self) -> Iterator[tuple[str, TokenSlot]]:
        """(route's name, its slot). A pattern has one slot for each service in use."""
        yield from self.slots.items()
        if self.handed_out is not None:
            for slot in self.handed_out.slots:
                yield METADATA, slot
        for service, entry in self.router.services:
            if entry.slot is not None:
                yield service.pattern, entry.slot

    def status_of(self, route: Route) -> dict[str, Any]:
        """One route's part of /api/status. It holds no token."""
        described: dict[str, Any] = {
            "name": route.name,
            "host": route.host,
            "path": route.path,
            "upstream": str(route.upstream),
            "audience": route.audience,
            "scopes": None if route.scopes is None else route.scopes.names,
        }
        if route.is_pattern and not isinstance(route.identity, NoIdentity):
            described["services"] = [
                one.label for one, _ in self.router.services if one.pattern == route.name
            ]
        slot = self.slots.get(route.name)
        if slot is not None:
            status = slot.status()
            described["token"] = {
                "source": status.source,
                "valid": status.valid,
                "email": status.email,
                "subject": status.subject,
                "audience": status.token_audience,
                "expires_at": status.expires_at,
                "error": status.error
                and {
                    "cause": status.error.cause,
                    "detail": status.error.detail,
                    "remedy": status.error.remedy,
                    "login": status.error.login,
                },
            }
        return described

    def statuses(self) -> Iterator[dict[str, Any]]:
        """Of the routes, then of the listeners before apps, as routes to these."""
        yield from map(self.status_of, self.settings.routes)
        for inbound in self.settings.receive:
            yield {
                "name": inbound.name,
                "host": None,
                "path": "/",
                "upstream": str(inbound.upstream),
                "audience": ", ".join(inbound.audiences),
                "scopes": None,
                "receives": True,
            }

    def held(self) -> list[object]:
        """Everything that comes in large numbers. Whoever drops the last reference to a generation drops these with
        release.
        """
        return [*self.pools, *self.router.entries, *self.settings.routes, *self.slots.values()]

    def counted(self) -> dict[str, RouteCounts]:
        """By name of route or of listener before an app."""
        routers = (self.router, *(one.router for one in self.receptions))
        return {entry.route.name: entry.counts for router in routers for entry in router.entries}


def release(held: list[object]) -> Pieces[None]:
    """Drops a few references at a time: ten thousand routes at once would block the loop for 50 ms."""
    while held:
        del held[-_AT_A_TIME:]
        yield


@dataclass(frozen=True, slots=True)
class Loaded:
    """What takes 20 to 100 ms to load, or for ever from a disk that hangs. `sources`: by identity. `trust`: in
    receivers. Also guard.caller_token_file's content. `tls`: of listeners before apps, by name.
    """

    sources: Mapping[Identity, Source]
    trust: Trust
    http2_trust: Callable[[], ssl.SSLContext] | None
    caller_token: bytes | None
    tls: Mapping[str, ssl.SSLContext]


def load(
    settings: Settings,
    environ: Mapping[str, str],
    trusted: Callable[[], Trust] | None = None,
    wall: Wall = time,
) -> Loaded:
    """Reads files and imports the kinds of credentials; runs in any thread. `trusted`: from trust_ahead. `wall`: the
    cache's. Raises ConfigError, TokenError.
    """
    _look_for(settings.files)
    identities = {route.identity for route in settings.routes if not isinstance(route.identity, NoIdentity)}
    if settings.metadata is not None:
        identities.add(settings.metadata.identity)
    sources: dict[Identity, Source] = {one: build(one, settings.google, environ, wall) for one in identities}
    of_receivers = trusted() if trusted is not None else trust(settings)
    return Loaded(
        sources, of_receivers, trust_for_http2(of_receivers), _caller_token(settings), _server_tls(settings)
    )


def compose(
    settings: Settings,
    loaded: Loaded,
    *,
    cache: TokenCache,
    sweeper: Sweeper,
    stats: Stats,
    before: Generation | None = None,
    clock: Clock | None = None,
) -> Pieces[Generation]:
    """In pieces, while the generation in force, `before`, goes on serving. Sends nothing and reads no file."""
    sources = loaded.sources
    slots: dict[str, TokenSlot] = {}
    by_name: dict[str, Source] = {}
    timeouts = {settings.timeouts, *(inbound.timeouts for inbound in settings.receive)}
    for number, route in enumerate(settings.routes):
        if number % _AT_A_TIME == 0:
            yield
        timeouts.add(route.timeouts)
        source = sources.get(route.identity)
        if source is None:
            continue
        if route.wanted is not None:
            slots[route.name] = cache.slot(route.identity, source, route.wanted)
        by_name[route.name] = source
    pools: dict[tuple[object, ...], Pool] = {}
    upstreams: dict[str, UpstreamCounts] = {}

    def new_pool(route: Route, counted_as: str) -> Pool:
        upstream, timeouts = route.upstream, route.timeouts
        return Pool(
            upstream,
            sweeper,
            tls=loaded.trust if upstream.scheme == "https" else None,
            connect=timeouts.connect,
            keepalive=timeouts.keepalive,
            egress=route.egress_proxy,
            http2_tls=loaded.http2_trust,
            counts=upstreams.setdefault(counted_as, stats.upstreams.get(counted_as) or UpstreamCounts()),
        )

    def pool_of(route: Route) -> Pool:
        origin, timeouts = route.upstream.origin, route.timeouts
        key = (origin, timeouts.connect, timeouts.keepalive, route.egress_proxy)
        pool = pools.get(key)
        if pool is None:
            pool = pools[key] = new_pool(route, origin)
        return pool

    # A name that a request chose must not become a metric's label, so it is counted under its pattern.
    patterns = {route.name: route.upstream.origin for route in settings.routes if route.is_pattern}

    def service_slot(route: Route) -> TokenSlot | None:
        source = sources.get(route.identity)
        if source is None or route.audience is None:
            return None
        return cache.slot(route.identity, source, route.audience, patterns[route.name])

    def forget(route: Route, slot: TokenSlot) -> None:
        if slot not in listed:
            cache.forget(route.identity, slot)

    handed_out: HandedOut | None = None
    if settings.metadata is not None:
        source = by_name[METADATA] = sources[settings.metadata.identity]
        handed_out = HandedOut(settings.metadata, source, cache)
    listed = {*slots.values(), *(() if handed_out is None else handed_out.slots)}
    parts = ServiceParts(
        service_slot,
        lambda route: new_pool(route, patterns[route.name]),
        forget,
        () if before is None else (service for service, _ in before.router.services),
    )
    router = yield from Router.made(settings, slots, pool_of, loaded.caller_token, stats, parts)
    sweep = Sweeper.interval_for(list(timeouts))
    keys = None if before is None else before.issuer_keys
    receptions: tuple[Reception, ...] = ()
    if settings.receive:
        # Importing it takes a second and only some need it. `load` has imported it, in its thread.
        from idtoken_proxy.receive.composition import reception_of  # noqa: PLC0415
        from idtoken_proxy.receive.issuer_keys import IssuerKeys  # noqa: PLC0415

        keys = keys or IssuerKeys(clock)
        receptions = tuple(
            reception_of(inbound, settings, keys, pool_of, stats, loaded.tls.get(inbound.name))
            for inbound in settings.receive
        )
    return Generation(
        *(
            settings,
            by_name,
            slots,
            tuple(pools.values()),
            router,
            upstreams,
            sweep,
            handed_out,
            receptions,
            keys,
        )
    )


def rehearse(settings: Settings, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """For `check`: refuses whatever a start would refuse, and returns the files that deserve a warning. Reads files,
    sends nothing. Raises ConfigError, TokenError.
    """
    sources = load(settings, environ).sources
    check_audiences(
        settings, {one.name: sources[one.identity] for one in settings.routes if one.identity in sources}
    )
    return exposed(settings.files)


def check_audiences(settings: Settings, sources: Mapping[str, Source]) -> None:
    """`sources`: by route name. Raises ConfigError for routes whose receiver cannot take their identity's tokens: a
    user's tokens have their login's client ID as audience, which IAP and 1st-generation functions refuse. Reads files;
    may block for a second.
    """
    problems: list[Problem] = []
    nowhere = itertools.repeat(Problem("settings", 0, "", ""), len(settings.routes))
    for route, place in zip(settings.routes, settings.identities_at or nowhere, strict=True):
        source: object = sources.get(route.name)
        if isinstance(source, RestrictedAudience) and route.audience is not None:
            objection = source.objection(route.audience, route.upstream.host)
            if objection is not None:
                remedy = "" if objection.remedy is None else f". {objection.remedy}"
                message = f'route "{route.name}": {objection.detail}{remedy}'
                problems.append(replace(place, message=message))
    if problems:
        raise ConfigError(tuple(problems))


def _look_for(files: Iterable[NamedFile]) -> None:
    """Raises ConfigError for each file that should be there and cannot be read."""
    problems = []
    for named in files:
        try:
            if not named.awaited:
                check_plain(named.path)
        except OSError as error:
            message = f"{shown_path(named.path)} cannot be read: {error.strerror}"
            problems.append(Problem(named.file, named.line, named.key, message))
    if problems:
        raise ConfigError(tuple(problems))


def _caller_token(settings: Settings) -> bytes | None:
    path = settings.guard.caller_token_file
    if path is None:
        return None
    try:
        secret = read_plain(path, _LONGEST_SECRET).content.strip()
    except OSError as error:
        raise _refused(settings, path, f"{shown_path(path)} cannot be read: {error.strerror}") from None
    if not _SHORTEST_SECRET <= len(secret) <= _LONGEST_SECRET or secret.translate(None, _VISIBLE):
        raise _refused(
            settings,
            path,
            f"{shown_path(path)} must hold one line of at least {_SHORTEST_SECRET} visible ASCII characters"
            + (f", and at most {_LONGEST_SECRET}" if len(secret) > _LONGEST_SECRET else ""),
        )
    return secret


def _server_tls(settings: Settings) -> dict[str, ssl.SSLContext]:
    if not settings.receive:
        return {}
    from idtoken_proxy.receive.composition import server_context  # noqa: PLC0415 -- brings cryptography along

    made: dict[str, ssl.SSLContext] = {}
    problems = []
    for index, inbound in enumerate(settings.receive):
        if inbound.tls is None:
            continue
        try:
            made[inbound.name] = server_context(inbound.tls)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            message = f"{shown_path(inbound.tls.cert_file)} and its key cannot be read: {error}"
            problems.append(Problem("settings", 0, f"receive[{index}].tls", message))
    if problems:
        raise ConfigError(tuple(problems))
    return made


def _refused(settings: Settings, path: str, message: str) -> ConfigError:
    place = next((named for named in settings.files if named.path == path and not named.reread), None)
    if place is None:
        return ConfigError((Problem("settings", 0, "guard.caller_token_file", message),))
    return ConfigError((Problem(place.file, place.line, place.key, message),))
