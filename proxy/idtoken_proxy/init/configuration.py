"""Receivers -> the text of a configuration, with comments: what each is, and what could not be known."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from idtoken_proxy.init.caller import Caller
from idtoken_proxy.init.receivers import Door, Receiver
from idtoken_proxy.settings.audience import signed_jwt_audience
from idtoken_proxy.settings.identities import GcloudIdentity, ImpersonatedIdentity
from idtoken_proxy.settings.names import url_variable
from idtoken_proxy.settings.urls import upstream
from idtoken_proxy.settings.yaml_lines import plain_value
from idtoken_proxy.terminal import printable

_LONGEST_NAME: Final = 63  # of a route, and of a label in DNS
_PLAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/@+-]|:(?=[^ ]))*")
_TAKEN: Final = "IDTOKEN_PROXY_URL"  # of `run`, beside the routes' own
_NO_ACCOUNT: Final = "IAP takes JWTs of a service account alone: begin anew with --service-account EMAIL, or put it in here and take the # away"

_SIGNS: Final = "IAM signs its JWTs: whoever asks, {account} itself included, needs roles/iam.serviceAccountTokenCreator on {account}"


@dataclass(frozen=True, slots=True)
class Planned:
    """A route to be. `host`: None where it is the only one, which takes every request. `lacking`: why it stays a comment.
    `needs`: what the caller needs besides the right to call it.
    """

    name: str
    receiver: Receiver
    host: str | None
    identity: str | None
    lacking: str | None
    needs: str | None = None

    @property
    def url(self) -> str:
        """Where an app finds it."""
        return f"http://{self.host or 'localhost'}:8080/"


def planned(receivers: Iterable[Receiver], caller: Caller) -> list[Planned]:
    """Names and hosts that are unique, and identities where the caller's own will not do."""
    taken = {_TAKEN}
    routes = []
    for receiver in receivers:
        name = _free_name(receiver, taken)
        taken.add(url_variable(name))
        identity, lacking = _identity(receiver, caller)
        host = f"{name.lower().replace('_', '-').strip('-')}.localhost"
        needs = None
        if receiver.door is Door.IAP and caller.service_account is not None:
            needs = _SIGNS.format(account=caller.service_account)
        routes.append(Planned(name, receiver, host, identity, receiver.lacking or lacking, needs))
    live = [one for one in routes if one.lacking is None]
    if len(live) == 1:
        routes = [replace(one, host=None) if one.lacking is None else one for one in routes]
    return routes


def _free_name(receiver: Receiver, taken: set[str]) -> str:
    placed = [] if receiver.region is None else [f"-{receiver.region}"]
    suffixes = itertools.chain([""], placed, (f"-{number}" for number in itertools.count(2)))
    names = (receiver.name[: _LONGEST_NAME - len(suffix)].rstrip("-_") + suffix for suffix in suffixes)
    return next(name for name in names if url_variable(name) not in taken)


def _identity(receiver: Receiver, caller: Caller) -> tuple[str | None, str | None]:
    """(what the route says of its identity, why it cannot be a route yet)"""
    if receiver.url is None or receiver.door is Door.PUBLIC:
        return ("none" if receiver.door is Door.PUBLIC else None), None
    receiver_at = upstream(receiver.url)
    if receiver.door is Door.IAP:
        account = caller.service_account
        said = f"{{type: signed_jwt, service_account: {scalar(account or 'EMAIL')}}}"
        return said, None if account is not None else _NO_ACCOUNT
    objection = caller.objection(receiver.audience or "", receiver_at.host)
    if objection is None:
        return None, None
    return None, f"{objection.detail}; begin anew with --service-account EMAIL"


def as_text(routes: Iterable[Planned], caller: Caller, sources: Iterable[str]) -> str:
    """`sources`: where it is from, in words."""
    return "\n".join(_lines(list(routes), caller, list(sources))) + "\n"


def _lines(routes: list[Planned], caller: Caller, sources: list[str]) -> Iterator[str]:
    yield comment(f"Written by idtoken-proxy init, from {', '.join(sources)}.")
    yield "# Every key: idtoken-proxy schema. What no list tells is whether the identity may call a service: idtoken-proxy doctor does."
    yield ""
    if caller.error is None:
        yield comment(f"Found: {caller.described}" + (f", as {caller.email}" if caller.email else ""))
    else:
        yield comment(f"No token yet: {caller.error.detail}")
        yield from (comment(caller.error.remedy) for _ in (1,) if caller.error.remedy)
    yield f"identity: {_of_caller(caller)}"
    yield ""
    yield "routes:"
    for number, route in enumerate(routes):
        if number:
            yield ""
        yield from _route(route)


def _of_caller(caller: Caller) -> str:
    match caller.identity:
        case ImpersonatedIdentity(service_account):
            return f"{{type: impersonated, service_account: {scalar(service_account)}}}"
        case GcloudIdentity():
            return "gcloud"
        case _:
            return "auto"


def _route(route: Planned) -> Iterator[str]:
    receiver = route.receiver
    yield f"  {comment(receiver.what)}"
    yield from (f"  {comment(note)}" for note in receiver.notes)
    if route.needs is not None:
        yield f"  {comment(route.needs)}"
    yield from (f"  {comment(f'Not known: {one}')}" for one in receiver.unknown)
    if route.lacking is not None:
        yield f"  {comment(f'Not a route yet: {route.lacking}')}"
    before = "  " if route.lacking is None else "  # "
    yield f"{before}- name: {scalar(route.name)}"
    if route.host is not None:
        yield f"{before}  match: {{host: {scalar(route.host)}}}   # {route.url}"
    yield f"{before}  upstream: {scalar(receiver.url) if receiver.url is not None else 'https://...'}"
    if receiver.audience is not None:
        yield f"{before}  audience: {scalar(receiver.audience)}"
    elif receiver.door is Door.IAP and receiver.url is not None:
        yield f"{before}  audience: {scalar(signed_jwt_audience(upstream(receiver.url)))}"
    if route.identity is not None:
        yield f"{before}  identity: {route.identity}"


def comment(text: str) -> str:
    """On one line, whatever it holds."""
    return f"# {printable(text)}"


def scalar(text: str) -> str:
    """A string in YAML, and no variable of the configuration's."""
    if _PLAIN.fullmatch(text) and isinstance(plain_value(text), str):
        return text
    quoted = text.replace("'", "''").replace("${", "$${")
    return f"'{quoted}'"
