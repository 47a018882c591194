"""One small file for each kind of credential; `build` picks the one that an identity names, and imports no other: all
of them are a tenth of the start.

source.py               what a source is, and what else it may be: Watched, Particular, AccessTokenSource
application_default.py  where Google's credential files are, and which source each type of them makes
auto.py                 the environment variable, gcloud's file, the metadata server
metadata.py  service_account.py  user.py  workforce.py  external_account.py (over federation.py)  impersonated.py
gcloud.py  command.py (over process.py)  file.py  signed_jwt.py
executable.py           a credential file's executable (executable_answer.py: what it prints)
aws.py                  AWS: aws_web_identity.py (EKS), aws_container.py (ECS, EKS), aws_instance.py (EC2), aws_credentials.py
iam_credentials.py      IAM's three methods, and what its refusals mean
credential_file.py      reading a credential file        transport.py  HTTP for google-auth
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_never

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.source import AccessTokenSource, Particular, Source, Watched
from idtoken_proxy.settings.model import (
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
    SignedJwtIdentity,
    UserIdentity,
)

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources.iam_credentials import IamCredentials
    from idtoken_proxy.identity.sources.service_account import ServiceAccountSource

__all__ = ["AccessTokenSource", "Particular", "Source", "Watched", "build"]


def build(identity: Identity, google: GoogleEndpoints, environ: Mapping[str, str]) -> Source:
    """Reads no file and asks no server: that is for `fetch`. TokenError, at once, for an impersonation by an identity
    that cannot impersonate; ValueError for a public route's NoIdentity, for which nothing is to be fetched.
    """
    match identity:
        case AutoIdentity():
            from idtoken_proxy.identity.sources.auto import AutoSource

            return AutoSource(google, environ)
        case MetadataIdentity(service_account):
            from idtoken_proxy.identity.sources.metadata import (
                MetadataSource,
                metadata_host,
                metadata_variable,
            )

            return MetadataSource(
                service_account,
                metadata_host(google.metadata_host, environ),
                first=metadata_variable(google.metadata_host, environ),
            )
        case ServiceAccountIdentity(key_file):
            return _key(key_file, google)
        case UserIdentity():
            from idtoken_proxy.identity.sources.application_default import gcloud_file, named_file
            from idtoken_proxy.identity.sources.user import UserSource

            return UserSource(named_file(environ) or gcloud_file(environ), google.token_endpoint)
        case GcloudIdentity(account):
            from idtoken_proxy.identity.sources.gcloud import GcloudSource

            return GcloudSource(account, environ)
        case ImpersonatedIdentity(service_account, delegates, source):
            from idtoken_proxy.identity.sources.impersonated import ImpersonatedSource

            return ImpersonatedSource(_iam(identity, source, google, environ), service_account, delegates)
        case ExternalAccountIdentity(config_file, service_account):
            from idtoken_proxy.identity.sources.credential_file import CredentialFile
            from idtoken_proxy.identity.sources.external_account import ExternalAccountSource

            return ExternalAccountSource(CredentialFile(config_file), google, environ, service_account)
        case SignedJwtIdentity(service_account, key_file, source):
            from idtoken_proxy.identity.sources.signed_jwt import ByIam, ByKey, SignedJwtSource

            if key_file is not None:
                return SignedJwtSource(service_account, ByKey(_key(key_file, google)))
            return SignedJwtSource(service_account, ByIam(_iam(identity, source, google, environ)))
        case FileIdentity(path):
            from idtoken_proxy.identity.sources.file import FileSource

            return FileSource(path)
        case CommandIdentity(argv):
            from idtoken_proxy.identity.sources.command import CommandSource

            return CommandSource(argv, environ)
        case NoIdentity():
            raise ValueError("a public route has no source of tokens")
        case _:
            assert_never(identity)


def _key(key_file: str, google: GoogleEndpoints) -> ServiceAccountSource:
    from idtoken_proxy.identity.sources.credential_file import CredentialFile
    from idtoken_proxy.identity.sources.service_account import ServiceAccountSource

    return ServiceAccountSource(CredentialFile(key_file, noun="the key file"), google.token_endpoint)


def _iam(
    identity: Identity, source: Identity, google: GoogleEndpoints, environ: Mapping[str, str]
) -> IamCredentials:
    from idtoken_proxy.identity.sources.iam_credentials import QUOTA_VARIABLE, IamCredentials, iam_endpoint

    if not isinstance(source, NoIdentity):
        caller = build(source, google, environ)
        if isinstance(caller, AccessTokenSource):
            # As google.auth.default has it for every credential that it finds; gcloud has properties of its own.
            quota = None if isinstance(source, GcloudIdentity) else environ.get(QUOTA_VARIABLE)
            return IamCredentials(iam_endpoint(google.iam_endpoint, google.universe_domain), caller, quota)
    raise TokenError(
        f"identity type {identity.type}: a source of type {source.type} cannot ask for another's tokens",
        cause="source_without_access_token",
        fault=Fault.OPERATOR,
        remedy="Use auto, metadata, service_account, user, gcloud, external_account or impersonated as its source",
    )
