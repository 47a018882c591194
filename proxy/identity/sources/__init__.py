"""One small file for each kind of credential; `build` picks the one that an identity names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from proxy.errors import Fault, TokenError
from proxy.identity.sources.auto import AutoSource
from proxy.identity.sources.file import FileSource
from proxy.identity.sources.metadata import MetadataSource, metadata_host
from proxy.identity.sources.service_account import ServiceAccountSource
from proxy.identity.sources.source import Source, Watched
from proxy.settings.model import (
    AutoIdentity,
    CommandIdentity,
    ExternalAccountIdentity,
    FileIdentity,
    GcloudIdentity,
    GoogleEndpoints,
    Identity,
    ImpersonatedIdentity,
    MetadataIdentity,
    NoIdentity,
    ServiceAccountIdentity,
    UserIdentity,
)

__all__ = ["Source", "Watched", "build"]


def build(identity: Identity, google: GoogleEndpoints, environ: Mapping[str, str]) -> Source:
    """Reads no file and asks no server: that is for `fetch`. TokenError, at once, for a kind that this version
    does not have; ValueError for a public route's NoIdentity, for which nothing is to be fetched.
    """
    match identity:
        case AutoIdentity():
            return AutoSource(google, environ)
        case MetadataIdentity(service_account):
            return MetadataSource(service_account, metadata_host(google.metadata_host, environ))
        case ServiceAccountIdentity(key_file):
            return ServiceAccountSource(key_file, google.token_endpoint)
        case FileIdentity(path):
            return FileSource(path)
        case UserIdentity():
            raise _later("user")
        case GcloudIdentity():
            raise _later("gcloud")
        case ImpersonatedIdentity():
            raise _later("impersonated")
        case ExternalAccountIdentity():
            raise _later("external_account")
        case CommandIdentity():
            raise _later("command")
        case NoIdentity():
            raise ValueError("a public route has no source of tokens")
        case _:
            assert_never(identity)


def _later(kind: str) -> TokenError:
    return TokenError(
        f"identity type {kind} is not in this version",
        cause="unsupported_identity",
        fault=Fault.OPERATOR,
        remedy="Use auto, metadata, service_account or file",
    )
