"""A checked Document -> Settings: defaults filled in, timeouts merged, audiences derived, paths made ones of the file system."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import assert_never

from proxy.settings import identities, model
from proxy.settings.audience import derived_audience
from proxy.settings.document import Document, Google, RouteEntry


def resolve(document: Document, file_path: Callable[[str], str]) -> model.Settings:
    """`file_path` makes a path of the configuration one of the file system."""
    timeouts = model.Timeouts(**document.timeouts.model_dump())
    identity = document.identity or identities.Auto(type="auto")
    ca_file = document.tls.ca_file
    return model.Settings(
        routes=tuple(_route(route, timeouts, identity, file_path) for route in document.routes),
        listen=tuple(document.listen),
        admin=document.admin,
        allow_remote=document.allow_remote,
        timeouts=timeouts,
        limits=model.Limits(**document.limits.model_dump()),
        guard=model.GuardSettings(tuple(document.guard.allowed_hosts), tuple(document.guard.allowed_origins)),
        ca_file=None if ca_file is None else file_path(ca_file),
        rewrite=model.Rewrite(**document.rewrite.model_dump()),
        google=_google(document.google),
        egress_proxy=document.egress_proxy,
        log=model.LogSettings(**document.log.model_dump()),
    )


def _route(
    route: RouteEntry, timeouts: model.Timeouts, default: identities.Identity, file_path: Callable[[str], str]
) -> model.Route:
    identity = route.identity or default
    public = isinstance(identity, identities.Nobody)
    return model.Route(
        name=route.name,
        upstream=route.upstream,
        audience=None if public else route.audience or derived_audience(route.upstream),
        identity=_identity(identity, file_path),
        host=route.match.host,
        path=route.match.path,
        strip_prefix=route.strip_prefix,
        token_header=model.TokenHeader(route.token_header),
        methods=None if route.methods is None else frozenset(route.methods),
        timeouts=dataclasses.replace(timeouts, **route.timeouts.model_dump(exclude_unset=True)),
    )


def _google(google: Google) -> model.GoogleEndpoints:
    return model.GoogleEndpoints(**google.model_dump(exclude_none=True))


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
        case _:
            assert_never(identity)
