"""One small file for each kind of credential. An identity's source is `build` of the module that has its type's name
(settings/identities.py), and no other is imported: all of them are a tenth of the start.

source.py               what a source is, and what else it may be: Watched, Versioned, RestrictedAudience, AccessTokenSource
application_default.py  where Google's credential files are, and which source each type of them makes
auto.py                 the environment variable, gcloud's file, the metadata server
metadata.py (metadata_refusal.py: why it gives none)  service_account.py  user.py  workforce.py  external_account.py (over federation.py)  impersonated.py
oauth.py  gcloud.py  command.py (over process.py)  file.py  signed_jwt.py
refreshed.py            google-auth's credentials as an access token    printed_token.py  one in a file, or of a command
executable.py           a credential file's executable (executable_answer.py: what it prints)
aws.py                  AWS: aws_web_identity.py (EKS), aws_container.py (ECS, EKS), aws_instance.py (EC2), aws_credentials.py
iam_credentials.py      IAM's three methods, and what its refusals mean
credential_file.py      reading a credential file (malformed.py: one that is none)        transport.py  HTTP for google-auth
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from time import time
from typing import TYPE_CHECKING

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources.source import AccessTokenSource, RestrictedAudience, Source, Watched
from idtoken_proxy.settings.identities import GcloudIdentity, Identity, NoIdentity, sources
from idtoken_proxy.settings.model import GoogleEndpoints
from idtoken_proxy.settings.variables import QUOTA_PROJECT

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources.iam_credentials import IamCredentials

__all__ = ["AccessTokenSource", "Builder", "RestrictedAudience", "Source", "Watched", "build"]


def build(
    identity: Identity, google: GoogleEndpoints, environ: Mapping[str, str], wall: Wall = time
) -> Source:
    """Reads no file and asks no server: that is for `fetch`. `wall`: the clock that tokens are judged by. TokenError, at once, for an impersonation by an identity
    that cannot impersonate; ValueError for a public route's NoIdentity, for which nothing is to be fetched.
    """
    return Builder(google, environ, wall).source(identity)


@dataclass(frozen=True, slots=True)
class Builder:
    """What a source is made with besides its identity; each module's `build` takes it."""

    google: GoogleEndpoints
    environ: Mapping[str, str]
    wall: Wall

    def source(self, identity: Identity) -> Source:
        if isinstance(identity, NoIdentity):
            raise ValueError("a public route has no source of tokens")  # noqa: TRY004 -- a value of the right type
        built: Source = import_module(f"{__name__}.{identity.type}").build(identity, self)
        return built

    def iam(self, identity: Identity, source: Identity) -> IamCredentials:
        """IAM Credentials, asked by `source` on behalf of `identity`. TokenError where it cannot ask."""
        from idtoken_proxy.identity.sources.iam_credentials import (
            IamCredentials,
            iam_endpoint,
        )

        if not isinstance(source, NoIdentity):
            caller = self.source(source)
            if isinstance(caller, AccessTokenSource):
                # As google.auth.default has it for every credential that it finds; gcloud has properties of its own.
                quota = None if isinstance(source, GcloudIdentity) else self.environ.get(QUOTA_PROJECT)
                google = self.google
                return IamCredentials(
                    iam_endpoint(google.iam_endpoint, google.universe_domain), caller, quota, self.wall
                )
        raise TokenError(
            f"identity type {identity.type}: a source of type {source.type} cannot ask for another's tokens",
            cause="source_without_access_token",
            fault=Fault.OPERATOR,
            remedy=f"Use one of these as its source: {', '.join(sources())}",
        )
