"""IAM Credentials: a service account's tokens and signatures, for those who may impersonate it.

https://cloud.google.com/iam/docs/reference/credentials/rest. One POST each; google-auth's impersonated ID tokens
ignore an endpoint override and open a session of their own, hence not it.
"""

from __future__ import annotations

import datetime as dt
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from urllib.parse import quote

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.google_error import UNKNOWN
from idtoken_proxy.identity.reasons import lacks_a_right, project_of, why
from idtoken_proxy.identity.sources.source import AccessTokenSource
from idtoken_proxy.identity.sources.transport import EndpointRefused, conversation
from idtoken_proxy.identity.token import AccessToken
from idtoken_proxy.settings.plausible import project_objection
from idtoken_proxy.settings.variables import QUOTA_PROJECT

_TOKEN_CREATOR = "roles/iam.serviceAccountTokenCreator"  # noqa: S105 -- a role's name
_OPEN_ID_TOKEN_CREATOR = "roles/iam.serviceAccountOpenIdTokenCreator"  # noqa: S105
_FEDERATED = "roles/iam.workloadIdentityUser"


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    answers: str  # the field of its answer
    role: str  # that the caller needs on the target


@dataclass(frozen=True, slots=True)
class Answered:
    """`asked_at`: Unix seconds, when it was asked. `life`: seconds, where the answer says when the value ends."""

    value: str = field(repr=False)
    asked_at: float
    life: float | None


ID_TOKEN = Method("generateIdToken", "token", _OPEN_ID_TOKEN_CREATOR)
ACCESS_TOKEN = Method("generateAccessToken", "accessToken", _TOKEN_CREATOR)
SIGN_JWT = Method("signJwt", "signedJwt", _TOKEN_CREATOR)


def iam_endpoint(configured: str | None, universe_domain: str) -> str:
    """Without a slash at its end."""
    return (configured or f"https://iamcredentials.{universe_domain}").rstrip("/")


@dataclass(frozen=True, slots=True)
class IamCredentials:
    """`endpoint`: its base, as `iam_endpoint` gives it. `caller`: who asks. `quota_project`: in place of the one
    that its credential names, as QUOTA_PROJECT says; TokenError at `ask` where it is no project.
    """

    endpoint: str
    caller: AccessTokenSource
    quota_project: str | None = None
    wall: Wall = time

    def ask(
        self, method: Method, service_account: str, delegates: tuple[str, ...], body: Mapping[str, Any]
    ) -> str:
        """The one value that the method answers with. `delegates`: the chain of accounts between caller and
        `service_account`. Raises TokenError.
        """
        return self.answer(method, service_account, delegates, body).value

    def answer(
        self, method: Method, service_account: str, delegates: tuple[str, ...], body: Mapping[str, Any]
    ) -> Answered:
        """Likewise, with what stands beside the value."""
        _check_project(self.quota_project)
        token = self.caller.access_token()
        if self.quota_project:
            token = replace(token, quota_project=self.quota_project)
        if delegates:
            body = {**body, "delegates": [f"projects/-/serviceAccounts/{email}" for email in delegates]}
        url = (
            f"{self.endpoint}/v1/projects/-/serviceAccounts/{quote(service_account, safe='@')}:{method.name}"
        )
        try:
            with conversation("IAM Credentials", self.wall) as transport:
                answer = transport(url, "POST", json.dumps(body).encode(), _headers(token))
                members = json.loads(answer.data)
                value = members[method.answers]
                if not isinstance(value, str):
                    raise TypeError
                life = _life(members.get("expireTime"), answer.headers.get("Date"))
                return Answered(value, transport.asked_at, life)
        except EndpointRefused as refused:
            raise self._refusal(refused, method, service_account, delegates) from None

    def _refusal(
        self, refused: EndpointRefused, method: Method, service_account: str, delegates: tuple[str, ...]
    ) -> TokenError:
        caller, member = self.caller.describe(), self.caller.member()
        about = f"IAM refused {method.name} for {service_account} to {caller} {refused.said}"
        who = caller if member is None or member.startswith("principal") else member.partition(":")[2]
        found = why(refused.error, caller=who, member=member, project=project_of(service_account))
        if found is not None:
            about = f"{about}: {found.detail}"
            cause, remedy = found.cause, found.remedy
        elif lacks_a_right(refused.error):
            cause, remedy = "iam_permission_denied", _grants(method, member, service_account, delegates)
        elif refused.status == 404:
            cause = "iam_no_such_account"
            remedy = (
                "Correct the name; these exist: gcloud iam service-accounts list "
                f"--project={project_of(service_account) or 'PROJECT'}"
            )
        elif refused.status == 401:
            cause = "iam_unauthenticated"
            remedy = f"The access token of {caller} is not valid: log in anew, and check this machine's clock (date -u)"
        elif refused.code == UNKNOWN:
            cause = "iam_refused"
            remedy = (
                f"That is no answer of Google's API; see what answers in its place: curl -sv {self.endpoint}/"
            )
        elif refused.status == 403:
            cause, remedy = "iam_refused", "Google's own sentence says why; no role is known that mends it"
        else:
            cause = "iam_refused"
            remedy = f"Check the account: gcloud iam service-accounts describe {service_account}"
        return TokenError(
            about, cause=cause, fault=Fault.OPERATOR, remedy=remedy, log_detail=f"status {refused.status}"
        )


def _life(end: object, date: str | None) -> float | None:
    """By Google's clock alone, which this machine's need not agree with."""
    try:
        return dt.datetime.fromisoformat(str(end)).timestamp() - parsedate_to_datetime(str(date)).timestamp()
    except (ValueError, TypeError):
        return None


def _check_project(project: str | None) -> None:
    refused = project_objection(project) if project else None
    if refused is not None:
        raise TokenError(
            f"{QUOTA_PROJECT} {refused}",
            cause="quota_project_invalid",
            fault=Fault.OPERATOR,
            remedy=f"Set {QUOTA_PROJECT} to a project's ID, such as my-project-123, or unset it",
        )


def _headers(token: AccessToken) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token.value}", "Content-Type": "application/json"}
    if token.quota_project is not None:
        headers["x-goog-user-project"] = token.quota_project
    return headers


def _grants(method: Method, member: str | None, service_account: str, delegates: tuple[str, ...]) -> str:
    """The commands for each link of the chain: Google does not say which one is missing."""
    members = [member or "MEMBER", *(f"serviceAccount:{email}" for email in delegates)]
    targets = [*delegates, service_account]
    role = _TOKEN_CREATOR if delegates else method.role
    commands = [
        f"gcloud iam service-accounts add-iam-policy-binding {target} --member={_quoted(link)} "
        f"--role={_FEDERATED if link.startswith('principal') else role}"
        for link, target in zip(members, targets, strict=True)
    ]
    return "; ".join(commands)


def _quoted(member: str) -> str:
    return shlex.quote(member)
