"""`idtoken-proxy doctor`: each route tried as the proxy would use it, before the first request is lost.

Everything is bounded: a token fetch by the cache's deadline, a connection by timeouts.connect, an answer by the probe's
patience, and all of it by LIMIT, at which what is still under way is given up and said to be so.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import time
from typing import Final

from idtoken_proxy.admin.doctor_keys import examine_keys
from idtoken_proxy.admin.probe import Http2Trust, Probe, probe, speaks_http2
from idtoken_proxy.admin.report import Finding, Report, RouteReport, Verdict
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.engine.way_there import way_there
from idtoken_proxy.errors import BrokenOff, MalformedResponse, Problem, TlsFailed, TokenError, UpstreamError
from idtoken_proxy.identity.answer import SKEW, Speaker
from idtoken_proxy.identity.cache import FetchEvent, TokenCache, TokenSlot
from idtoken_proxy.identity.diagnosis import Diagnosis, diagnose, wrong_clock
from idtoken_proxy.identity.error_causes import REMEDIES, TRANSIENT, remedy_of
from idtoken_proxy.identity.sources import RestrictedAudience, Source, build
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.identity.token import IdToken, Token
from idtoken_proxy.settings.doubts import audience_doubt
from idtoken_proxy.settings.exposure import exposed
from idtoken_proxy.settings.identities import Identity, NoIdentity
from idtoken_proxy.settings.model import Route, Scopes, Settings, Upstream, UpstreamProtocol
from idtoken_proxy.settings.names import is_iap_client
from idtoken_proxy.settings.services import service_route
from idtoken_proxy.tls_trust import trust, trust_for_http2

LIMIT: Final = 30.0  # seconds for all routes together
AT_ONCE: Final = 16  # routes
_OBJECTING: Final = 5.0  # seconds; gcloud is asked who is logged in
_SHORT: Final = 60.0  # seconds that a token should have left


async def exposed_files(settings: Settings) -> tuple[Problem, ...]:
    """What others may read, change or replace; none where a disk hangs."""
    try:
        return await Threads("files").run(functools.partial(exposed, settings.files), _OBJECTING)
    except TimeoutError:
        return ()


async def examine(
    settings: Settings, environ: Mapping[str, str], *, limit: float = LIMIT, at_once: int = AT_ONCE
) -> Report:
    """ConfigError where the settings name what cannot be read."""
    tls = trust(settings)
    cache = TokenCache(on_event=_nobody)
    sweeper = Sweeper(Sweeper.interval_for([settings.timeouts]))
    practice = _Practice(settings, environ, cache, sweeper, tls, trust_for_http2(tls))
    gate = asyncio.Semaphore(at_once)
    cases = [_Case(route) for route in settings.routes]
    cases += [_Case(route, token_alone=True) for route in _handed_out(settings)]

    async def one(case: _Case) -> None:
        async with gate:
            await practice.examine(case)

    issuers = asyncio.ensure_future(examine_keys(settings))
    tasks = [asyncio.ensure_future(one(case)) for case in cases]
    try:
        keys = await issuers
        if not tasks:
            return Report((), keys)
        _, late = await asyncio.wait(tasks, timeout=limit)
        for case, task in zip(cases, tasks, strict=True):
            if task in late and not case.judged:
                case.fail(
                    "timeout",
                    f"not examined to its end within {limit:g} s",
                    "Mend what is slow first, then run doctor again: --upstream URL examines one receiver alone",
                )
        for task in late:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome
    finally:
        await cache.close()
        sweeper.close()
    return Report(tuple(case.report() for case in cases), keys)


def _handed_out(settings: Settings) -> Iterator[Route]:
    """What the metadata server's face hands out and no route shows already, as if the server's usual name were a receiver."""
    metadata = settings.metadata
    if metadata is None:
        return
    shown = {(route.identity, route.wanted) for route in settings.routes}
    face = Upstream("http", "metadata.google.internal", 80)
    for wanted in (*metadata.audiences, *(() if metadata.scopes is None else (metadata.scopes,))):
        if (metadata.identity, wanted) not in shown:
            audience, scopes = (None, wanted) if isinstance(wanted, Scopes) else (wanted, None)
            yield Route("(metadata)", face, audience, metadata.identity, scopes=scopes)


def _nobody(_event: FetchEvent) -> None:
    """What the cache has to tell, the report tells."""


@dataclass(slots=True)
class _Case:
    """What is known of a route so far. `token_alone`: there is no receiver to be asked. `judged`: what is still to come is no more than an information. `http2`: whether the
    receiver speaks it.
    """

    route: Route
    token_alone: bool = False
    slot: TokenSlot | None = None
    token: Token | None = None
    probe: Probe | None = None
    http2: bool | None = None
    judged: bool = False
    expires_in: float | None = None
    findings: list[Finding] = field(default_factory=list)

    def fail(self, cause: str, detail: str, remedy: str) -> None:
        self.findings.append(Finding(Verdict.FAIL, cause, detail, remedy))

    def warn(self, found: Diagnosis) -> None:
        self.findings.append(Finding(Verdict.WARN, found.cause, found.detail, found.remedy))

    def report(self) -> RouteReport:
        route, token, probed = self.route, self.token, self.probe
        answer = probed.answer if probed else None
        if self.slot is not None:
            identity = self.slot.status().source
        else:
            identity = (
                "none, a public route" if isinstance(route.identity, NoIdentity) else route.identity.type
            )
        return RouteReport(
            name=route.name,
            upstream=str(route.upstream),
            audience=route.audience,
            identity_type=route.identity.type,
            identity=identity,
            email=token.email if token else None,
            subject=token.subject if token else None,
            scopes=None if route.scopes is None else route.scopes.names,
            token_audience=token.audiences if isinstance(token, IdToken) else None,
            expires_in=self.expires_in,
            steps=probed.steps if probed else (),
            status=answer.status if answer else None,
            by_app=answer is not None and answer.speaker is Speaker.APP,
            http2=self.http2,
            findings=tuple(self.findings),
            egress_proxy=None if route.egress_proxy is None else str(route.egress_proxy),
        )


class _Practice:
    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        cache: TokenCache,
        sweeper: Sweeper,
        tls: ssl.SSLContext | None,
        http2_tls: Http2Trust,
    ) -> None:
        self._google = settings.google
        self._environ = environ
        self._cache = cache
        self._sweeper = sweeper
        self._tls = tls
        self._http2_tls = http2_tls
        self._sources: dict[Identity, Source] = {}
        self._threads = Threads("doctor")

    async def examine(self, case: _Case) -> None:
        route = case.route
        if route.is_pattern:
            # There is nobody there of that name: the identity is what can be tried.
            case.route = service_route(route, "service")
        try:
            await self._token(case)
        except TokenError as missing:
            remedy = remedy_of(missing) or TRANSIENT
            case.fail(missing.cause, missing.detail, remedy)
        if route.is_pattern or case.token_alone:
            case.route, case.judged = route, True
            return
        # Without the token that belongs to it, a request would find out nothing.
        ask = case.token is not None or isinstance(route.identity, NoIdentity)
        case.probe = probed = await probe(
            route, case.token, self._sweeper, self._tls, http2_tls=self._http2_tls, ask=ask
        )
        case.http2 = probed.http2
        error = probed.error
        if error is not None:
            case.fail(error.proxy_status, error.detail, error.remedy or way_there(error.proxy_status, route))
        found = tuple(_of_answer(case, probed))
        case.findings.extend(found)
        if not any(finding.verdict is Verdict.FAIL for finding in found):
            _doubt(case)
        case.judged = True
        await self._http2(case, error)

    async def _http2(self, case: _Case, error: UpstreamError | None) -> None:
        """Of a route of `protocol: http2` the probe has found it out; what is `http1` never hears of HTTP/2. `error`: what
        became of HTTP/1.1.
        """
        route = case.route
        if route.protocol is not UpstreamProtocol.AUTO or not _is_there(error):
            return
        case.http2 = await speaks_http2(route, self._sweeper, self._tls, self._http2_tls)
        if case.http2 and error is not None:
            case.findings = [one for one in case.findings if one.detail != error.detail]
            case.warn(
                Diagnosis(
                    "http2_alone",
                    f"{route.upstream} speaks HTTP/2 and no HTTP/1.1: {error.detail}",
                    f"In route {route.name}, say protocol: http2, and apps of HTTP/1.1 reach it too; gRPC does already",
                )
            )

    async def _token(self, case: _Case) -> None:
        route = case.route
        if isinstance(route.identity, NoIdentity) or route.wanted is None:
            return
        source = self._source(route.identity)
        case.slot = slot = self._cache.slot(route.identity, source, route.wanted)
        if isinstance(source, RestrictedAudience) and route.audience is not None:
            objection = await self._objection(source, route.audience, route.upstream.host)
            if objection is not None:
                raise objection
        case.token = token = await slot.get()
        now = time()
        case.expires_in = token.expires_at - now
        if token.issued_at is not None and token.issued_at - now > SKEW:
            case.warn(wrong_clock(now - token.issued_at, whose="Google's"))
        if case.expires_in < _SHORT:
            case.warn(
                Diagnosis(
                    "short_lived",
                    f"the token has only {case.expires_in:.0f} s left",
                    REMEDIES["short_lived"],
                )
            )

    def _source(self, identity: Identity) -> Source:
        if identity not in self._sources:
            self._sources[identity] = build(identity, self._google, self._environ)
        return self._sources[identity]

    async def _objection(self, source: RestrictedAudience, audience: str, host: str) -> TokenError | None:
        try:
            return await self._threads.run(lambda: source.objection(audience, host), _OBJECTING)
        except TimeoutError:
            return None  # the fetch will say so


def _is_there(error: UpstreamError | None) -> bool:
    """What breaks off HTTP/1.1, or has another protocol in TLS, may speak HTTP/2."""
    if isinstance(error, TlsFailed):
        return error.proxy_status == "tls_protocol_error"
    return error is None or isinstance(error, BrokenOff | MalformedResponse)


def _doubt(case: _Case) -> None:
    """Of what the receiver's answer has not settled."""
    doubt = audience_doubt(case.route)
    if doubt is not None:
        detail, _, remedy = doubt.rpartition("; ")
        case.warn(Diagnosis("audience_doubtful", detail, f"In route {case.route.name}: {remedy}"))


def _of_answer(case: _Case, probed: Probe) -> Iterator[Finding]:
    answer, route, token = probed.answer, case.route, case.token
    if answer is None:
        return
    found = diagnose(route, token, answer, probed.at, route.upstream.base_path or "/")
    if found is not None:
        passing = answer.status == 429 or answer.status >= 500
        verdict = Verdict.WARN if passing else Verdict.FAIL
        yield Finding(verdict, found.cause, found.detail, found.remedy)
        return
    if answer.status >= 500:
        yield Finding(
            Verdict.WARN,
            "receiver_error",
            f"the app at {route.upstream} answered {answer.status} to a GET of its first page",
            "See the receiver's log",
        )
    if isinstance(token, IdToken) and not token.is_for(route.audience) and not is_iap_client(token.audience):
        yield Finding(
            Verdict.WARN,
            "token_audience",
            f"the token is for {token.audiences!a}, not for route {route.name}'s audience; the receiver takes it",
            f"In route {route.name}, name the audience that the token is for, or have it made for {route.audience}",
        )
    ahead = answer.clock_skew(probed.at)
    if ahead is not None:
        clock = wrong_clock(ahead)
        yield Finding(Verdict.WARN, clock.cause, clock.detail, clock.remedy)
