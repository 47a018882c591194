"""Credential files as Google's libraries find and know them: where they are, and what source each type makes.

https://cloud.google.com/docs/authentication/application-default-credentials
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from time import time

from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources.credential_file import (
    CredentialFile,
    CredentialPart,
    Document,
    Variable,
    kind_of,
    untyped,
)
from idtoken_proxy.identity.sources.external_account import ExternalAccountSource, impersonation
from idtoken_proxy.identity.sources.iam_credentials import IamCredentials, iam_endpoint
from idtoken_proxy.identity.sources.impersonated import ImpersonatedSource
from idtoken_proxy.identity.sources.refreshed import quota_project_of
from idtoken_proxy.identity.sources.service_account import ServiceAccountSource
from idtoken_proxy.identity.sources.source import Credential
from idtoken_proxy.identity.sources.user import UserSource
from idtoken_proxy.identity.sources.workforce import WorkforceSource
from idtoken_proxy.settings.model import GoogleEndpoints
from idtoken_proxy.settings.variables import QUOTA_PROJECT

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"


def named_file(environ: Mapping[str, str]) -> CredentialFile | None:
    """The one that GOOGLE_APPLICATION_CREDENTIALS names, whether it exists or not."""
    path = environ.get(VARIABLE)
    if not path:
        return None
    same = os.path.normpath(path) == os.path.normpath(gcloud_file(environ).path)
    return CredentialFile(path, named_by=VARIABLE, variable=Variable(VARIABLE, path, masks_login=not same))


def gcloud_file(environ: Mapping[str, str]) -> CredentialFile:
    """The one that `gcloud auth application-default login` writes."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 -- may not raise
    said = environ.get("CLOUDSDK_CONFIG")
    config = said or str(Path(home, ".config", "gcloud"))
    return CredentialFile(
        str(Path(config, "application_default_credentials.json")),
        named_by="gcloud's file",
        variable=Variable("CLOUDSDK_CONFIG", said) if said else Variable("HOME", home),
    )


def source_of(
    document: Document, google: GoogleEndpoints, environ: Mapping[str, str], wall: Wall = time
) -> Credential:
    """By the document's type. TokenError where it is missing, broken, or of a type that can have no ID token."""
    kind = kind_of(document.read())
    match kind:
        case "service_account":
            return ServiceAccountSource(
                document, google.token_endpoint, google.iam_endpoint, google.universe_domain, wall
            )
        case "authorized_user":
            return UserSource(document, google.token_endpoint, wall)
        case "external_account_authorized_user":
            return WorkforceSource(document, google.sts_endpoint, wall)
        case "external_account":
            return ExternalAccountSource(document, google, environ, wall=wall)
        case "impersonated_service_account":
            return _impersonated(document, google, environ, wall)
    if kind is None:
        raise untyped(document, document.read())
    raise document.invalid(f"holds a credential of type {kind!r}, from which no ID token can be had")


def _impersonated(
    document: Document, google: GoogleEndpoints, environ: Mapping[str, str], wall: Wall
) -> Credential:
    """`gcloud auth application-default login --impersonate-service-account=EMAIL`."""
    info = document.read()
    base, service_account = impersonation(document, info.get("service_account_impersonation_url"))
    delegates = info.get("delegates") or []
    if not isinstance(delegates, list) or not all(isinstance(name, str) for name in delegates):
        raise document.invalid("has delegates that are no list of accounts")
    caller = source_of(CredentialPart(document, "source_credentials"), google, environ, wall)
    return ImpersonatedSource(
        IamCredentials(
            iam_endpoint(google.iam_endpoint or base, google.universe_domain),
            caller,
            environ.get(QUOTA_PROJECT),
            wall,
        ),
        service_account,
        tuple(name.rpartition("/")[2] for name in delegates),
        quota_project_of(info, document),
    )
