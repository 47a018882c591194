"""A checked Document -> Settings: defaults filled in, timeouts merged, audiences derived, paths made ones of the file system."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import assert_never

from idtoken_proxy.settings import identities, model
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.audience import derived_audience, signed_jwt_audience
from idtoken_proxy.settings.document import Document, Guard, RouteEntry


def resolve(document: Document, file_path: Callable[[str], str]) -> model.Settings:
    """`file_path` makes a path of the configuration one of the file system."""
    timeouts = model.Timeouts(**vars(document.timeouts))
    identity = document.identity or identities.Auto()
    default = identity, _identity(identity, file_path)
    ca_file = document.tls.ca_file
    return model.Settings(
        routes=tuple(
            _route(route, timeouts, default, file_path, document.egress_proxy) for route in document.routes
        ),
        listen=tuple(_address(address, file_path) for address in document.listen),
        admin=None if document.admin is None else _address(document.admin, file_path),
        allow_remote=document.allow_remote,
        forward_proxy=document.forward_proxy,
        timeouts=timeouts,
        limits=model.Limits(**vars(document.limits)),
        guard=_guard(document.guard, file_path),
        ca_file=None if ca_file is None else file_path(ca_file),
        rewrite=model.Rewrite(**vars(document.rewrite)),
        google=model.GoogleEndpoints(**vars(document.google)),
        log=model.LogSettings(**vars(document.log)),
    )


def _route(
    route: RouteEntry,
    timeouts: model.Timeouts,
    default: tuple[identities.Identity, model.Identity],
    file_path: Callable[[str], str],
    egress_proxy: model.EgressProxy | None,
) -> model.Route:
    """`timeouts` and `default`, the identity as it is said and as it is meant: of routes that say nothing else."""
    identity = route.identity or default[0]
    return model.Route(
        name=route.name,
        upstream=route.upstream,
        audience=_audience(route, identity),
        identity=default[1] if route.identity is None else _identity(identity, file_path),
        host=route.match.host,
        path=route.match.path,
        strip_prefix=route.strip_prefix,
        token_header=model.TokenHeader(route.token_header),
        protocol=model.UpstreamProtocol(route.protocol),
        methods=None if route.methods is None else frozenset(route.methods),
        timeouts=dataclasses.replace(timeouts, **own) if (own := vars(route.timeouts)) else timeouts,
        # From elsewhere, this machine's loopback is another one.
        egress_proxy=None if is_loopback(route.upstream.host) else egress_proxy,
    )


def _audience(route: RouteEntry, identity: identities.Identity) -> str | None:
    match identity:
        case identities.Nobody():
            return None
        case identities.SignedJwt():
            return route.audience or signed_jwt_audience(route.upstream)
        case _:
            return route.audience or derived_audience(route.upstream)


def _address(address: model.Address, file_path: Callable[[str], str]) -> model.Address:
    return model.UnixAddress(file_path(address.path)) if isinstance(address, model.UnixAddress) else address


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


def _identity(identity: identities.Identity, file_path: Callable[[str], str]) -> model.Identity:
    match identity:
        case identities.Auto():
            return model.AutoIdentity()
        case identities.Nobody():
            return model.NoIdentity()
        case identities.Metadata():
            return model.MetadataIdentity(identity.service_account)
        case identities.ServiceAccount():
            return model.ServiceAccountIdentity(file_path(identity.key_file))
        case identities.File():
            return model.FileIdentity(file_path(identity.path))
        case identities.User():
            return model.UserIdentity()
        case identities.Gcloud():
            return model.GcloudIdentity(identity.account)
        case identities.Impersonated():
            source = _identity(identity.source, file_path)
            return model.ImpersonatedIdentity(identity.service_account, tuple(identity.delegates), source)
        case identities.ExternalAccount():
            return model.ExternalAccountIdentity(file_path(identity.config_file), identity.service_account)
        case identities.Command():
            return model.CommandIdentity(tuple(identity.argv))
        case identities.SignedJwt():
            key_file = None if identity.key_file is None else file_path(identity.key_file)
            source = _identity(identity.source, file_path)
            return model.SignedJwtIdentity(identity.service_account, key_file, source)
        case _:
            assert_never(identity)
