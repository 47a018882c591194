"""A workload of AWS, Azure, GitHub or any OIDC or SAML provider: its own token, exchanged for Google's at STS.

https://cloud.google.com/iam/docs/workload-identity-federation, https://google.aip.dev/auth/4117. What comes out is
an access token of a federated principal, which has no ID tokens: see external_account.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.google_error import UNKNOWN
from idtoken_proxy.identity.reasons import why
from idtoken_proxy.identity.sources.credential_file import Document, read_as
from idtoken_proxy.identity.sources.refreshed import access_token_of, quota_project_of
from idtoken_proxy.identity.sources.source import CLOUD
from idtoken_proxy.identity.sources.transport import EndpointRefused, Transport, conversation, host_of
from idtoken_proxy.identity.token import AccessToken
from idtoken_proxy.settings.model import Scopes
from idtoken_proxy.settings.plausible import shown_path

AWS: Final = "urn:ietf:params:aws:token-type:aws4_request"
ALLOW_EXECUTABLES = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES"
_SOURCES: Final = frozenset({"file", "url", "executable", "certificate"})
_PATH = "/v1/token"
_POOL = re.compile(
    r"//iam\.googleapis\.com/((?:projects/[^/]+/)?locations/[^/]+/work(?:load|force)\w+/[^/]+)/.+"
)


# Causes that transport.py has for whatever it asks, and that tell of the subject token here.
_OF_AN_ENDPOINT: Final = frozenset(
    {
        "garbage", "endpoint_unavailable", "endpoint_timeout", "endpoint_unreachable", "endpoint_dns", "endpoint_tls",
        "endpoint_misconfigured", "quota_exceeded", "egress_proxy_failed",
    }
)  # fmt: skip


class _Supplied:
    """A subject token that is there already, as google-auth wants it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_subject_token(self, _context: object, _request: object) -> str:
        return self._token


class Federation:
    def __init__(
        self, document: Document, sts_endpoint: str | None, environ: Mapping[str, str], wall: Wall = time
    ) -> None:
        self._wall = wall
        self._document = document
        self._sts_endpoint = sts_endpoint
        self._environ = environ
        self._audience: str | None = None

    def describe(self) -> str:
        return f"workload identity federation by {self._document.path}"

    def read(self) -> Mapping[str, Any]:
        info = read_as(
            self._document,
            "external_account",
            "a workload identity federation's configuration",
            ("audience", "subject_token_type", "token_url"),
        )
        source = info.get("credential_source")
        if not isinstance(source, dict):
            raise self._document.invalid("lacks credential_source")
        for key in ("file", "url"):
            # google-auth would take a number for an open file's, and close it.
            if not isinstance(source.get(key, ""), str):
                raise self._document.invalid(f"has a credential_source whose {key} is no text")
        if info["subject_token_type"] != AWS and not _SOURCES & source.keys():
            hint = f"; an AWS source wants subject_token_type {AWS}" if "environment_id" in source else ""
            raise self._document.invalid(
                f"has a credential_source that names no {', '.join(sorted(_SOURCES))}{hint}"
            )
        self._audience = info["audience"]
        return info

    def member(self) -> str | None:
        return pool_member(self._audience)

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        info = self.read()
        self._check(info["credential_source"])
        sts = sts_url(self._sts_endpoint, _PATH) if self._sts_endpoint else info["token_url"]
        origin = _origin(info)
        asked: str | None = None
        try:
            with conversation("STS", self._wall) as transport:
                try:
                    credentials = self._credentials({**info, "token_url": sts}, transport, scopes)
                    credentials.refresh(transport)
                finally:
                    asked = transport.last_url
        except EndpointRefused as refused:
            if refused.url == sts:
                raise self._sts_refusal(refused, info) from None
            raise _no_subject_token(
                origin, f"{host_of(refused.url)} answered {refused.status}", None
            ) from None
        except TokenError as error:
            if asked == sts or error.cause not in _OF_AN_ENDPOINT:
                raise
            # Of whoever gives the subject token: neither Google's fault nor for Google's status page.
            why = "it is missing or malformed" if error.cause == "garbage" else error.detail
            raise _no_subject_token(origin, why, error.log_detail) from None
        return access_token_of(
            credentials,
            transport,
            origin="STS",
            subject=self.member(),
            quota_project=quota_project_of(info, self._document),
        )

    def _credentials(self, info: dict[str, Any], transport: Transport, scopes: Scopes) -> Any:
        """As google.auth.default chooses, but it would ask the Resource Manager too, which needs a right of its own."""
        from google.auth import identity_pool  # noqa: PLC0415

        source = info["credential_source"]
        token: str | None = None
        if info["subject_token_type"] == AWS:
            from idtoken_proxy.identity.sources.aws import AwsWorkload  # noqa: PLC0415 -- most need neither

            token = AwsWorkload.of(self._document, info, self._environ).subject_token(transport)
        elif "executable" in source:
            from idtoken_proxy.identity.sources.executable import Executable  # noqa: PLC0415

            account = _impersonated(info.get("service_account_impersonation_url"))
            token = Executable(self._document, info, self._environ, account=account).subject_token()
        # Without impersonation: that is for external_account.py, which needs no access token in between.
        info |= {"service_account_impersonation_url": None, "service_account_impersonation": None}
        if token is not None:
            info |= {"credential_source": None, "subject_token_supplier": _Supplied(token)}
        new: Any = identity_pool.Credentials  # untyped in google-auth
        return new.from_info(info, scopes=list(scopes.names))

    def _check(self, source: Mapping[str, Any]) -> None:
        """What can be told before: google-auth's words for it are lost, since they may quote a token."""
        if "executable" in source and self._environ.get(ALLOW_EXECUTABLES) != "1":
            raise TokenError(
                f"{self._document.label} names an executable, and those are not allowed",
                cause="executables_not_allowed",
                fault=Fault.OPERATOR,
                remedy=f"If you trust {self._document.path}: {ALLOW_EXECUTABLES}=1",
            )
        file: str | None = source.get("file")
        if file is not None and not Path(file).is_file():
            raise _no_subject_token(f"the file {shown_path(file)}", "it does not exist", None)

    def _sts_refusal(self, refused: EndpointRefused, info: Mapping[str, Any]) -> TokenError:
        about = f"STS refused the subject token from {_origin(info)} {refused.said}"
        found = why(
            refused.error,
            caller=f"the subject from {_origin(info)}",
            member=self.member(),
            project=_project(info["audience"]),
        )
        if found is not None:
            about, cause, remedy = f"{about}: {found.detail}", found.cause, found.remedy
        else:
            cause, remedy = "sts_refused", _with_pool(self._sts_remedy(refused, info), info["audience"])
        return TokenError(
            about, cause=cause, fault=Fault.OPERATOR, remedy=remedy, log_detail=f"status {refused.status}"
        )

    def _sts_remedy(self, refused: EndpointRefused, info: Mapping[str, Any]) -> str:
        if refused.code == UNKNOWN:
            return f"That is no answer of STS; see what answers in its place: curl -sv {refused.url}"
        project = _project(info["audience"])
        of_pool = f"PROVIDER --location=global --workload-identity-pool=POOL{f' --project={project}' if project else ''}"
        providers = "gcloud iam workload-identity-pools providers"
        if refused.code == "invalid_target":
            # https://cloud.google.com/iam/docs/manage-workload-identity-pools-providers: both live on for 30 days.
            return (
                f"The pool or provider {info['audience']} is missing, disabled or deleted. See: {providers} describe "
                f"{of_pool}; deleted within 30 days: {providers} undelete {of_pool}; disabled: {providers} update-oidc "
                f"{of_pool} --no-disabled"
            )
        return (
            f"Compare the token of {_origin(info)} with the provider's issuer, allowed audiences and attribute "
            f"condition: {providers} describe {of_pool}; and check this machine's clock (date -u)"
        )


def _impersonated(url: object) -> str | None:
    """The account's email of a service_account_impersonation_url, of which external_account.py says whether it is one."""
    found = (
        re.search(r"/serviceAccounts/([^/:]+):generateAccessToken$", url) if isinstance(url, str) else None
    )
    return unquote(found[1]) if found else None


def _project(audience: str) -> str | None:
    """The pool's, by its number; a workforce pool has none."""
    found = re.match(r"//iam\.googleapis\.com/projects/([a-z0-9-]+)/", audience)
    return found[1] if found else None


def _with_pool(command: str, audience: str) -> str:
    """The names that the audience holds, in place of POOL and PROVIDER."""
    parts = audience.split("/")
    for name, key in (("POOL", "workloadIdentityPools"), ("PROVIDER", "providers")):
        if key in parts[:-1]:
            command = re.sub(rf"\b{name}\b", parts[parts.index(key) + 1], command)
    return command


def _origin(info: Mapping[str, Any]) -> str:
    """Where the subject token comes from, for people: no argument and no query, which may hold secrets."""
    source = info["credential_source"]
    if info["subject_token_type"] == AWS:
        return "AWS"
    if isinstance(source.get("executable"), dict):
        return f"the executable {shown_path(str(source['executable'].get('command', '')).partition(' ')[0])}"
    if "url" in source:
        return host_of(source["url"])
    if "certificate" in source:
        return "the client certificate"
    return f"the file {shown_path(str(source.get('file')))}"


def _no_subject_token(origin: str, why: str, log_detail: str | None) -> TokenError:
    return TokenError(
        f"no subject token could be had from {origin}: {why}",
        cause="subject_token",
        fault=Fault.OPERATOR,
        remedy=f"See that {origin} gives this workload a token",
        log_detail=log_detail,
    )


def sts_url(endpoint: str, path: str) -> str:
    """The configured one may be the bare origin, as for IAM Credentials."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + path


def pool_member(audience: str | None) -> str | None:
    """The whole pool: which of its subjects somebody is, the provider's attribute mapping decides."""
    pool = _POOL.fullmatch(audience or "")
    return f"principalSet://iam.googleapis.com/{pool[1]}/*" if pool else None
