"""What one configuration's `receive:` makes: for each listener a router of entries that check tokens."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from idtoken_proxy.engine.accept import entry_for
from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.route_entry import RouteEntry
from idtoken_proxy.engine.router import Router
from idtoken_proxy.engine.services import Services
from idtoken_proxy.engine.stats import RouteCounts, Stats
from idtoken_proxy.errors import MalformedRequest
from idtoken_proxy.policy.headers import TokenLines
from idtoken_proxy.policy.open_guard import OpenGuard
from idtoken_proxy.policy.request import Request
from idtoken_proxy.policy.routes import RouteTable
from idtoken_proxy.receive.admission import Admission
from idtoken_proxy.receive.issuer_keys import IssuerKeys
from idtoken_proxy.receive.issuers import Issuer, issuer_of
from idtoken_proxy.receive.judge import Judge
from idtoken_proxy.receive.key_set import KeySet
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import GuardSettings, Inbound, Route, ServerTls, Settings, TokenHeader
from idtoken_proxy.turns import at_once

_ALPN: Final = ("h2", "http/1.1")


@dataclass(frozen=True, slots=True)
class Reception:
    """A listener of one generation. `tls`: None for plain text. `key_sets`: of its issuers, in their order."""

    inbound: Inbound
    router: Router
    tls: ssl.SSLContext | None
    judge: Judge
    issuers: tuple[Issuer, ...]
    key_sets: tuple[KeySet, ...]


def issuers_of(inbound: Inbound, settings: Settings) -> list[Issuer]:
    """`google.keys_endpoint` stands for Google's own, and for IAP's too. None, where nobody is asked who it is."""
    if all(rule.invokers is None for rule in inbound.rules):
        return []
    instead = settings.google.keys_endpoint
    return [issuer_of(name, instead, instead) for name in inbound.issuers]


def reception_of(
    inbound: Inbound,
    settings: Settings,
    keys: IssuerKeys,
    pool_of: Callable[[Route], Pool],
    stats: Stats,
    tls: ssl.SSLContext | None,
) -> Reception:
    """Asks nobody and reads nothing."""
    guard = settings.guard
    # Names, pages and secrets are the forward path's; who ends TLS in front of it, and whose sockets are open to whom, is both's.
    mine = replace(
        settings,
        routes=(),
        guard=GuardSettings(allowed_uids=guard.allowed_uids, trusted_proxies=guard.trusted_proxies),
        wait_for_login=0.0,
        # An Origin that became the app's own would hide from it whose page asks.
        rewrite=replace(settings.rewrite, origin=False),
    )
    issuers = tuple(issuers_of(inbound, settings))
    key_sets = tuple(map(keys.of, issuers))
    judge = Judge(
        zip(issuers, key_sets, strict=True),
        inbound.audiences,
        keys.clock,
        keep_signature=inbound.keep_signature,
    )
    counts = stats.routes.get(inbound.name) or RouteCounts()
    entries: list[RouteEntry] = []
    for rule in inbound.rules:
        route = route_of(inbound, rule.path)
        admission = Admission(judge, rule.invokers, stats.receipts(inbound.name))
        entries.append(
            RouteEntry(
                *(route, None, pool_of(route), counts, mine.rewrite),
                shared=len(inbound.rules) > 1,
                admission=admission,
            )
        )
    router = Router(
        mine,
        None,
        stats.bodies,
        tuple(entries),
        OpenGuard(tls=tls is not None),
        at_once(RouteTable.filled((None, entry.route.path, entry) for entry in entries)),
        at_once(RouteTable.filled(())),
        Services(_nowhere, _nothing, 1),
    )
    return Reception(inbound, router, tls, judge, issuers, key_sets)


async def lines_today(reception: Reception, request: Request) -> TokenLines:
    """What goes on of a request that came before `reception` was in force, and has not gone on yet. Raises ProxyError."""
    if reception.judge.today is not None:
        return await reception.judge.today(request)
    router, path = reception.router, request.target.partition(b"?")[0]
    caller = router.guard.admit(request)
    entry = entry_for(caller, path, router)
    if entry.shared and router.table.ambiguous_with_other_route(caller.name, path, entry):
        raise MalformedRequest("the path may be read as that of another rule")
    assert entry.admission is not None
    found = entry.admission.lines_for(request)
    return found if isinstance(found, TokenLines) else await found


def route_of(inbound: Inbound, path: str = "/") -> Route:
    """The way to the app, for what is under `path`."""
    return Route(
        name=inbound.name,
        upstream=inbound.upstream,
        audience=None,
        identity=NoIdentity(),
        path=path,
        token_header=TokenHeader.AUTHORIZATION,
        timeouts=inbound.timeouts,
        protocol=inbound.protocol,
        receives=True,
    )


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """Reads files. OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(_ALPN))
    # An encrypted key would have OpenSSL ask for its password on the terminal.
    context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: b"")
    return context


def all_issuers(settings: Settings) -> Iterable[Issuer]:
    return (issuer for inbound in settings.receive for issuer in issuers_of(inbound, settings))


def _nowhere(_service: object) -> RouteEntry:
    raise AssertionError("no service is named on the receiving side (open_guard.py)")


def _nothing(_entry: RouteEntry) -> None: ...
