"""What `doctor` found, and how it is told: a table for a terminal, or JSON."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from idtoken_proxy import __version__
from idtoken_proxy.admin.probe import Step, StepName
from idtoken_proxy.terminal import printable


class Verdict(enum.Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_BY_WEIGHT: Final = (Verdict.FAIL, Verdict.WARN)
_COLORS: Final = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
_DIRECT: Final[tuple[StepName, ...]] = ("dns", "tcp", "tls")
_BY_CONNECT: Final[tuple[StepName, ...]] = ("dns", "tcp", "connect", "tls")
_SCOPES: Final = "https://www.googleapis.com/auth/"
_SPEAKS: Final = {True: "yes", False: "no", None: "-"}
# Beside the column that says so of each route.
_HTTP1_ALONE: Final = (
    "HTTP/2 no: speaks HTTP/1.1 alone. gRPC needs HTTP/2 all the way, on Cloud Run: "
    "gcloud run services update SERVICE --use-http2"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong. `cause`: a slug, as in the 503's body and in the log."""

    verdict: Verdict
    cause: str
    detail: str
    remedy: str


EACH_SERVICE: Final = "each service's own"  # of a route for all services of a project


@dataclass(frozen=True, slots=True)
class RouteReport:
    """`identity`: what was found, and where. `scopes`: of an access token, in place of an ID token's audience. `expires_in`: seconds. `status`: the answer's; `by_app`: the app gave
    it, not what stands before it. `egress_proxy`: HOST:PORT of the one on the way. `http2`: whether the receiver speaks it;
    None where that was not asked, or was not to be found out.
    """

    name: str
    upstream: str
    audience: str | None
    identity_type: str
    identity: str
    email: str | None = None
    token_audience: str | None = None
    expires_in: float | None = None
    steps: tuple[Step, ...] = ()
    status: int | None = None
    by_app: bool = False
    findings: tuple[Finding, ...] = ()
    egress_proxy: str | None = None
    http2: bool | None = None
    scopes: tuple[str, ...] | None = None
    subject: str | None = None

    @property
    def verdict(self) -> Verdict:
        found = {finding.verdict for finding in self.findings}
        return next((verdict for verdict in _BY_WEIGHT if verdict in found), Verdict.OK)


@dataclass(frozen=True, slots=True)
class KeysReport:
    """Of an issuer whose tokens are received. `listeners`: their addresses. `max_age`: seconds that its keys are fresh. `finding`:
    why there are none.
    """

    issuer: str
    keys_url: str
    listeners: tuple[str, ...]
    count: int
    max_age: float
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Report:
    routes: tuple[RouteReport, ...]
    keys: tuple[KeysReport, ...] = ()

    @property
    def all_ok(self) -> bool:
        return all(route.verdict is Verdict.OK for route in self.routes) and not any(
            keys.finding for keys in self.keys
        )


def as_json(report: Report) -> str:
    told = {
        "version": __version__,
        "ok": report.all_ok,
        "routes": [_route_members(route) for route in report.routes],
        "issuers": [
            {
                "name": keys.issuer,
                "keys_url": keys.keys_url,
                "listeners": keys.listeners,
                "keys": keys.count,
                "max_age": round(keys.max_age),
                "findings": [] if keys.finding is None else [_finding_members(keys.finding)],
            }
            for keys in report.keys
        ],
    }
    return json.dumps(told, indent=2)


def _route_members(route: RouteReport) -> dict[str, Any]:
    return {
        "name": route.name,
        "verdict": route.verdict.value,
        "upstream": route.upstream,
        "audience": route.audience,
        "scopes": route.scopes,
        "identity": {
            "type": route.identity_type,
            "found": route.identity,
            "email": route.email,
            "subject": route.subject,
        },
        "token": None
        if route.expires_in is None
        else {"audience": route.token_audience, "expires_in": round(route.expires_in)},
        "receiver": {
            "steps": [
                {"name": step.name, "ms": round(step.seconds * 1000, 1), "error": step.error}
                for step in route.steps
            ],
            "egress_proxy": route.egress_proxy,
            "http2": route.http2,
            "status": route.status,
            "by_app": route.by_app,
        },
        "findings": [_finding_members(finding) for finding in route.findings],
    }


def _finding_members(finding: Finding) -> dict[str, str]:
    return {
        "verdict": finding.verdict.value,
        "cause": finding.cause,
        "detail": finding.detail,
        "remedy": finding.remedy,
    }


def as_text(report: Report, *, colors: bool) -> Iterator[str]:
    """Lines: a table of all routes, under the identities that they use; what is wrong; a count."""
    steps = _BY_CONNECT if any(route.egress_proxy for route in report.routes) else _DIRECT
    asked_for = "AUDIENCE OR SCOPES" if any(route.scopes for route in report.routes) else "AUDIENCE"
    headings = ("  ROUTE", "VERDICT", "TOKEN", *map(str.upper, steps), "HTTP/2", "ANSWER", asked_for)
    rows = [headings, *(_cells(route, steps) for route in report.routes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]

    def line(cells: tuple[str, ...], verdict: Verdict | None = None) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        if verdict is not None:
            padded[1] = _styled(padded[1], verdict, colors=colors)
        return "  ".join(padded).rstrip()

    if report.routes:
        yield line(headings)
    by_bearer: dict[str, list[RouteReport]] = {}
    for route in report.routes:
        by_bearer.setdefault(_bearer(route), []).append(route)
    for bearer, routes in by_bearer.items():
        yield printable(bearer)
        for route in routes:
            yield line(_cells(route, steps), route.verdict)
    # Where it had to be HTTP/2, a finding says so.
    if any(route.http2 is False and route.verdict is not Verdict.FAIL for route in report.routes):
        yield _HTTP1_ALONE
    for keys in report.keys:
        yield printable(_keys_line(keys))
    for route in report.routes:
        for finding in route.findings:
            yield ""
            yield from _told(route, finding, colors=colors)
    for keys in report.keys:
        if keys.finding is not None:
            yield ""
            yield from _told_of_keys(keys, keys.finding, colors=colors)
    yield ""
    yield _count(report)


def _bearer(route: RouteReport) -> str:
    bearer = route.email or route.subject  # an agent has no email
    known = not bearer or bearer in route.identity.replace(",", " ").split()
    return route.identity if known else f"{route.identity} ({bearer})"


def _cells(route: RouteReport, steps: tuple[StepName, ...]) -> tuple[str, ...]:
    taken = {step.name: step for step in route.steps}
    left = "-" if route.expires_in is None else _left(route.expires_in)
    answer = _step(taken.get("answer"))
    if route.status is not None:
        answer = f"{route.status}{' of the app' if route.by_app and route.status >= 400 else ''}, {answer}"
    reached = (_step(taken.get(name)) for name in steps)
    cells = (
        f"  {route.name}",
        route.verdict.value,
        left,
        *reached,
        _SPEAKS[route.http2],
        answer,
        _short(route),
    )
    return tuple(map(printable, cells))


def _short(route: RouteReport) -> str:
    if "*" in route.upstream:
        return EACH_SERVICE
    if route.scopes is None:
        return route.audience or "-"
    return " ".join(scope.removeprefix(_SCOPES) for scope in route.scopes)


def _step(step: Step | None) -> str:
    if step is None:
        return "-"
    return "failed" if step.error is not None else f"{step.seconds * 1000:.0f} ms"


def _left(seconds: float) -> str:
    return f"{seconds / 60:.0f} min left" if seconds >= 120 else f"{seconds:.0f} s left"


def _told(route: RouteReport, finding: Finding, *, colors: bool) -> Iterator[str]:
    verdict = _styled(finding.verdict.value, finding.verdict, colors=colors)
    yield f"{verdict}: {printable(route.name)}: {finding.cause}"
    through = f", through the egress proxy {route.egress_proxy}" if route.egress_proxy else ""
    for line in (
        f"  {finding.detail}",
        f"  identity: {_bearer(route)}",
        f"  audience: {EACH_SERVICE if '*' in route.upstream else route.audience or 'none'}"
        if route.scopes is None
        else f"  scopes:   {' '.join(route.scopes)}",
        f"  receiver: {route.upstream}{through}",
        f"  to mend:  {finding.remedy}",
    ):
        yield printable(line)


def _keys_line(keys: KeysReport) -> str:
    where = ", ".join(keys.listeners)
    if keys.finding is not None:
        return f"ISSUER {keys.issuer}: no keys, so that its tokens are refused (receive: {where})"
    return (
        f"ISSUER {keys.issuer}: {keys.count} keys, fresh for {keys.max_age / 60:.0f} min (receive: {where})"
    )


def _told_of_keys(keys: KeysReport, finding: Finding, *, colors: bool) -> Iterator[str]:
    yield f"{_styled(finding.verdict.value, finding.verdict, colors=colors)}: {printable(keys.issuer)}: {finding.cause}"
    for line in (
        f"  {finding.detail}",
        f"  keys:     {keys.keys_url}",
        f"  received: {', '.join(keys.listeners)}",
        f"  to mend:  {finding.remedy}",
    ):
        yield printable(line)


def _count(report: Report) -> str:
    count = len(report.routes)
    routes = "1 route" if count == 1 else f"{count} routes"
    if report.keys:
        routes += f", {len(report.keys)} issuer{'' if len(report.keys) == 1 else 's'}"
    if report.all_ok:
        return f"OK: {routes}"
    bad = sum(route.verdict is not Verdict.OK for route in report.routes)
    bad += sum(keys.finding is not None for keys in report.keys)
    return f"{bad} of {routes} {'needs' if bad == 1 else 'need'} mending"


def _styled(text: str, verdict: Verdict, *, colors: bool) -> str:
    return click.style(text, fg=_COLORS[verdict], bold=verdict is Verdict.FAIL) if colors else text
