"""Every `cause` that a TokenError of this part may have, and what it means: one sentence a slug, for `doctor`,
docs/operating.md and whoever meets the slug in a log or a metric. What to do about it is in the error's own `remedy`, with the
names filled in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from idtoken_proxy.errors import Fault, TokenError

CAUSES: Mapping[str, str] = MappingProxyType(
    {
        # any source
        "garbage": "What was handed out is no token.",
        "wrong_audience": "The token is for another audience than the one asked for.",
        "expired": "The token has expired already: a clock is wrong, or nobody renews it.",
        "short_lived": "The token has too little life left to be sent.",
        "timeout": "No token came within the time allowed.",
        "internal": "The proxy itself failed; its log has the details.",
        "closed": "The proxy is shutting down.",
        "audience_unsupported": "This receiver does not take the only kind of token that this identity has.",
        "source_without_access_token": "This identity has no access tokens, to impersonate with or to send.",
        "scopes_unsupported": "This identity's access tokens have scopes of their own, and no others can be asked for.",
        # the way to Google's endpoints
        "egress_proxy_failed": "The HTTP proxy on the way to Google does not let the request through.",
        "endpoint_tls": "The certificate of the token endpoint was not accepted, as behind a proxy that re-signs TLS.",
        "endpoint_timeout": "The token endpoint was reached and did not answer.",
        "endpoint_dns": "The token endpoint's name cannot be looked up: this machine is offline, or lacks a name server.",
        "endpoint_unreachable": "The token endpoint cannot be reached.",
        "endpoint_misconfigured": "The token request could not even be sent.",
        "endpoint_unavailable": "The token endpoint has trouble of its own (5xx).",
        "endpoint_refused": "The token endpoint refused the service account.",
        # why Google refuses, where no role is missing (reasons.py)
        "vpc_service_controls": "A VPC Service Controls perimeter does not let the request through.",
        "organization_policy": "A policy of the organization forbids it.",
        "user_blocked": "The organization's administrator keeps the caller out, or the account is disabled.",
        "quota_project_invalid": "GOOGLE_CLOUD_QUOTA_PROJECT is no project's ID.",
        "quota_project": "The caller may not charge the quota project, or there is no such project.",
        "billing_disabled": "The project has no billing account that is open.",
        "project_suspended": "The project is suspended or deleted.",
        "api_disabled": "The API is not enabled in the project.",
        "quota_exceeded": "A quota is used up for now (429).",
        "api_key": "An API key of the app's own does not let the request through.",
        # credential files
        "credential_path": "What should be the credential file's path is none: the credential itself, or a path in quotes.",
        "credential_file_missing": "The credential file does not exist.",
        "credential_file_unreadable": "The credential file is there and may not be read.",
        "credential_file_invalid": "The credential file is broken, or holds another type of credential.",
        # service account keys
        "invalid_grant": "The key was deleted or disabled, or this machine's clock is wrong.",
        "clock_skew": "This machine's clock is wrong, or Google's endpoint says so of what it signs.",
        "account_not_found": "The key's service account was deleted.",
        "universe_mismatch": "The key is of another universe than google.universe_domain.",
        "wrong_account": "The key file belongs to another service account than the one named.",
        # the metadata server
        "metadata_unreachable": "No metadata server: this does not run on Google Cloud, or its network is not up yet.",
        "metadata_host": "The metadata server's host is malformed.",
        "metadata_foreign": "Something other than a metadata server answers in its place.",
        "metadata_unavailable": "The metadata server has trouble of its own (429, 5xx).",
        "metadata_timeout": "The metadata server was reached and did not answer.",
        "metadata_without_identity": "The metadata server has an account and no ID tokens, as on Cloud Build.",
        "gke_not_annotated": "The pod's Kubernetes service account names no Google service account.",
        "gke_not_bound": "The pod's Kubernetes service account may not act as the Google service account it names.",
        "gke_no_such_account": "The Google service account that the pod's account names does not exist.",
        "metadata_refused": "The metadata server does not give this workload a token.",
        "no_service_account": "The metadata server knows no such service account here.",
        # a user's login
        "login_missing": "Nobody has logged in yet, with this OAuth client, on this machine.",
        "login_store": "What a login has left cannot be read, or others may read it.",
        "login_expired": "The login has expired or was revoked.",
        "login_required": "The organisation demands a new login, as it may do every day.",
        "login_scopes": "The login was not made for the scopes that the route asks for.",
        "login_refused": "The token endpoint does not take the login.",
        "no_id_token": "The login was made without the scope openid, and has no ID token.",
        # gcloud
        "gcloud_missing": "The gcloud command is not installed.",
        "gcloud_timeout": "The gcloud command did not answer in time.",
        "gcloud_failed": "The gcloud command has no token.",
        # impersonation
        "iam_permission_denied": "The caller may not impersonate the service account.",
        "iam_api_disabled": "The IAM Credentials API is not enabled in the caller's project.",
        "iam_scopes": "The caller's access token has too few scopes to impersonate anyone.",
        "iam_no_such_account": "The service account to impersonate does not exist.",
        "iam_unauthenticated": "IAM does not take the caller's access token.",
        "iam_refused": "IAM refused for another reason.",
        # workload identity federation
        "subject_token": "The other cloud gave this workload no token to exchange.",
        "aws_region": "The AWS region is not known.",
        "aws_credentials": "AWS gives this workload no credentials.",
        "aws_hop_limit": "The EC2 instance's metadata service does not answer into a container.",
        "executable_not_started": "The credential file's executable cannot be started.",
        "executable_timeout": "The credential file's executable did not end in time.",
        "executable_failed": "The credential file's executable failed, by its exit code.",
        "executable_refused": "The credential file's executable says that it has no token.",
        "executable_output": "What the credential file's executable prints is no answer that holds a token.",
        "executables_not_allowed": "The credential file names an executable, which must be allowed explicitly.",
        "sts_refused": "Google's STS does not accept the other cloud's token for this pool and provider.",
        "federation_without_account": "The credential file names no service account, and a federated principal has no ID token.",
        "workforce_without_account": "A workforce user has no ID token, other than by impersonation.",
        # commands and files
        "command_not_started": "The command cannot be started.",
        "command_timeout": "The command did not end in time.",
        "command_failed": "The command failed, by its exit code.",
        "command_output": "The command prints more than a token.",
        "file_missing": "The token file does not exist.",
        "file_unreadable": "The token file cannot be read.",
    }
)

HOST = os.uname().nodename or "the machine of the proxy"

TRANSIENT = "It passes, and the proxy tries again by itself; if it stays: https://status.cloud.google.com"

# What to do where the source had no better word, because it could not know more: at Google, and where the operator's own
# file or command has handed it out.
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "garbage": "See what answers there in Google's place: a guest network's sign-in page, a proxy, another server",
        "wrong_audience": "See what answers there in Google's place; a token for another audience is never sent",
        "short_lived": "Let its source hand out tokens that live longer; the next one is fetched by itself",
        "endpoint_unavailable": TRANSIENT,
        "endpoint_timeout": TRANSIENT,
        "metadata_unavailable": TRANSIENT,
        "metadata_timeout": TRANSIENT,
        "timeout": TRANSIENT,
        "internal": "Report it as a bug, with the proxy's log at level debug",
    }
)

_OF_THE_OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "garbage": "See what it holds or prints: it must be one ID token (a JWT, three parts with dots between them), and "
        "nothing else",
        "wrong_audience": "Have the token made for the route's audience, or name the token's own in the route (audience:)",
        "expired": "Have whatever writes the token renew it in time, and check this machine's clock (date -u)",
        "short_lived": "Have whatever writes the token renew it sooner",
    }
)


def remedy_of(error: TokenError) -> str | None:
    """The error's own, or the usual one for its cause and whose fault it is. Where a person has to log in, it says on which
    machine: who reads it in a browser or a log may sit at another.
    """
    if error.remedy is not None:
        here = f"On {HOST}: "
        return error.remedy if error.login is None or error.remedy.startswith(here) else here + error.remedy
    own = _OF_THE_OPERATORS.get(error.cause) if error.fault is Fault.OPERATOR else None
    return own or REMEDIES.get(error.cause)
