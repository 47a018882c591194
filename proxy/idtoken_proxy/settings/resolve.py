"""A checked Document -> Settings: fills in defaults, merges timeouts, derives audiences, resolves paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from idtoken_proxy.settings import model
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.audience import derived_audience, signed_jwt_audience
from idtoken_proxy.settings.document import Document, Google, Guard, InboundSection, Metadata, RouteSection
from idtoken_proxy.settings.identities import (
    ENTRIES,
    AutoIdentity,
    Identity,
    NoIdentity,
    SignedJwtIdentity,
    identity_of,
)
from idtoken_proxy.settings.invokers import who
from idtoken_proxy.settings.route_token import is_access, universe
from idtoken_proxy.settings.schema_dsl import Entry
from idtoken_proxy.settings.services import STAR


def resolve(
    document: Document, file_path: Callable[[str], str], quota_project: str | None = None
) -> model.Settings:
    """`file_path`: resolves a path of the configuration. `quota_project`: charged for calls with access tokens if the
    route names none.
    """
    timeouts = model.Timeouts(**vars(document.timeouts))
    identity = document.identity or ENTRIES[AutoIdentity.type]()
    default = identity, identity_of(identity, file_path)
    ca_file = document.tls.ca_file
    routes = tuple(
        _route(document, route, timeouts, default, file_path, quota_project) for route in document.routes
    )
    return model.Settings(
        routes=routes,
        # Without a route the listeners would have nothing to serve.
        listen=tuple(_address(address, file_path) for address in document.listen) if document.routes else (),
        admin=None if document.admin is None else _address(document.admin, file_path),
        metadata=_metadata(document.metadata, default[1], routes, file_path),
        allow_remote=document.allow_remote,
        reuse_port=document.reuse_port,
        forward_proxy=document.forward_proxy,
        timeouts=timeouts,
        wait_for_login=document.wait_for_login,
        limits=model.Limits(**vars(document.limits)),
        guard=_guard(document.guard, file_path),
        ca_file=None if ca_file is None else file_path(ca_file),
        rewrite=model.Rewrite(**vars(document.rewrite)),
        google=_google(document.google),
        log=model.LogSettings(**vars(document.log)),
        receive=tuple(_inbound(inbound, timeouts, file_path) for inbound in document.receive),
    )


def _inbound(
    inbound: InboundSection, timeouts: model.Timeouts, file_path: Callable[[str], str]
) -> model.Inbound:
    address = _address(inbound.listen, file_path)
    tls = inbound.tls
    return model.Inbound(
        name=f"receive {inbound.listen}",
        listen=address,
        upstream=inbound.upstream,
        audiences=tuple(dict.fromkeys(inbound.audiences)),
        rules=(
            model.PathRule("/", who(inbound.invokers)),
            *(model.PathRule(path, invokers) for path, invokers in inbound.paths.items()),
        ),
        issuers=tuple(dict.fromkeys(inbound.issuers)),
        tls=None if tls is None else model.ServerTls(file_path(tls.cert_file), file_path(tls.key_file)),
        timeouts=dataclasses.replace(timeouts, **own) if (own := vars(inbound.timeouts)) else timeouts,
        protocol=model.UpstreamProtocol(inbound.protocol),
        keep_signature=inbound.keep_signature,
    )


def _route(
    document: Document,
    route: RouteSection,
    timeouts: model.Timeouts,
    default: tuple[Entry, Identity],
    file_path: Callable[[str], str],
    quota_project: str | None,
) -> model.Route:
    """`timeouts` and `default`, the identity as written and as resolved, are for routes that set none."""
    identity = route.identity or default[0]
    access = is_access(route, identity.tag, document.google)
    return model.Route(
        name=route.name,
        upstream=route.upstream,
        audience=None if access else _audience(route, identity, universe(document.google)),
        identity=default[1] if route.identity is None else identity_of(identity, file_path),
        host=route.match.host,
        path=route.match.path,
        strip_prefix=route.strip_prefix,
        token_header=model.TokenHeader(route.token_header),
        protocol=model.UpstreamProtocol(route.protocol),
        methods=None if route.methods is None else frozenset(route.methods),
        timeouts=dataclasses.replace(timeouts, **own) if (own := vars(route.timeouts)) else timeouts,
        # An egress proxy's loopback is another machine's.
        egress_proxy=None if is_loopback(route.upstream.host) else document.egress_proxy,
        scopes=_scopes(route) if access else None,
        quota_project=(route.quota_project or quota_project) if access else None,
    )


def _scopes(entry: RouteSection | Metadata) -> model.Scopes:
    return model.Scopes() if entry.scopes is None else model.Scopes(tuple(dict.fromkeys(entry.scopes)))


def _metadata(
    section: Metadata | None,
    default: Identity,
    routes: tuple[model.Route, ...],
    file_path: Callable[[str], str],
) -> model.MetadataSettings | None:
    """`default`: the identity if the section names none."""
    if section is None:
        return None
    identity = default if section.identity is None else identity_of(section.identity, file_path)
    # A route with another identity has its audience for that identity alone.
    audiences = section.audiences
    if audiences is None:
        audiences = [
            route.audience for route in routes if route.audience is not None and route.identity == identity
        ]
    return model.MetadataSettings(
        listen=_address(section.listen, file_path),
        identity=identity,
        audiences=tuple(dict.fromkeys(audiences)),
        scopes=_scopes(section) if section.access_tokens else None,
        project_id=section.project_id,
        allow_remote=section.allow_remote,
    )


def _audience(route: RouteSection, identity: Entry, universe_domain: str) -> str | None:
    if route.upstream.host.startswith(STAR):
        return None  # each of its services has one
    if identity.tag == NoIdentity.type:
        return None
    if identity.tag == SignedJwtIdentity.type:
        return route.audience or signed_jwt_audience(route.upstream)
    return route.audience or derived_audience(route.upstream, universe_domain)


def _address(address: model.Address, file_path: Callable[[str], str]) -> model.Address:
    return model.UnixAddress(file_path(address.path)) if isinstance(address, model.UnixAddress) else address


def _google(google: Google) -> model.GoogleEndpoints:
    endpoints = vars(google)
    return model.GoogleEndpoints(**{**endpoints, "access_token_hosts": tuple(google.access_token_hosts)})


def _guard(guard: Guard, file_path: Callable[[str], str]) -> model.GuardSettings:
    secret = guard.caller_token_file
    return model.GuardSettings(
        tuple(guard.allowed_hosts),
        tuple(guard.allowed_origins),
        None if guard.allowed_uids is None else frozenset(guard.allowed_uids),
        None if secret is None else file_path(secret),
        guard.caller_token_header,
        "allow" if guard.unverified_pages == "allow" else "refuse",
        tuple(guard.trusted_proxies),
    )
