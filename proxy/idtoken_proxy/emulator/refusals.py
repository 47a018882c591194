"""How Google says no: as OAuth does at the token endpoints, and in its own error model at its APIs.

Sources: RFC 6749 section 5.2; https://google.aip.dev/193 and https://cloud.google.com/apis/design/errors (the model,
its ErrorInfo and Help); https://cloud.google.com/iam/docs/permission-error-messages.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from aiohttp import web

Detail: TypeAlias = dict[str, object]

STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
IAM_CREDENTIALS = "iamcredentials.googleapis.com"


class OAuthRefusal(Exception):
    """Of a token endpoint. `more`: what else stands beside the error, such as its error_subtype."""

    def __init__(self, error: str, description: str, status: int = 400, **more: str) -> None:
        super().__init__(description)
        self.answer = {"error": error, "error_description": description, **more}
        self.status = status

    def response(self) -> web.Response:
        return web.json_response(self.answer, status=self.status)


class ApiRefusal(Exception):
    """Of an API."""

    def __init__(self, code: int, message: str, details: tuple[Detail, ...] = ()) -> None:
        super().__init__(message)
        error: dict[str, Any] = {"code": code, "message": message, "status": STATUS[code]}
        if details:
            error["details"] = list(details)
        self.answer = {"error": error}
        self.code = code

    def response(self) -> web.Response:
        return web.json_response(self.answer, status=self.code, dumps=_indented)


def unauthenticated() -> ApiRefusal:
    return ApiRefusal(
        401,
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid"
        " authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        (error_info("ACCESS_TOKEN_TYPE_UNSUPPORTED", "googleapis.com", service=IAM_CREDENTIALS),),
    )


def permission_denied(permission: str) -> ApiRefusal:
    return ApiRefusal(
        403,
        f"Permission '{permission}' denied on resource (or it may not exist).",
        (error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", permission=permission),),
    )


def account_not_found(email: str) -> ApiRefusal:
    return ApiRefusal(404, f"Not found; Gaia id not found for email {email}")


def service_disabled(project_number: str) -> ApiRefusal:
    """IAM Credentials, in a project where nobody has enabled it."""
    title = "IAM Service Account Credentials API"
    url = (
        f"https://console.developers.google.com/apis/api/{IAM_CREDENTIALS}/overview?project={project_number}"
    )
    message = (
        f"{title} has not been used in project {project_number} before or it is disabled. Enable it by visiting {url}"
        " then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems"
        " and retry."
    )
    activation: Detail = {
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [{"description": "Google developers console API activation", "url": url}],
    }
    info = error_info(
        "SERVICE_DISABLED",
        "googleapis.com",
        activationUrl=url,
        consumer=f"projects/{project_number}",
        containerInfo=project_number,
        service=IAM_CREDENTIALS,
        serviceTitle=title,
    )
    localized: Detail = {
        "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
        "locale": "en-US",
        "message": message,
    }
    return ApiRefusal(403, message, (info, localized, activation))


UNIQUE_IDENTIFIER = (
    "VQQnKfXtZ16NHnOmdJAy0E92tVT_8fZZRGvnndBWXZLKFx_KItn1EA"  # as long and as odd as Google's are
)


def perimeter(project_number: str) -> ApiRefusal:
    """https://cloud.google.com/vpc-service-controls/docs/troubleshooting."""
    return ApiRefusal(
        403,
        "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: "
        + UNIQUE_IDENTIFIER,
        (
            {
                "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
                "violations": [{"type": "VPC_SERVICE_CONTROLS", "description": UNIQUE_IDENTIFIER}],
            },
            error_info(
                "SECURITY_POLICY_VIOLATED",
                "googleapis.com",
                consumer=f"projects/{project_number}",
                service=IAM_CREDENTIALS,
                uid=UNIQUE_IDENTIFIER,
            ),
        ),
    )


def quota_project_denied(project_number: str) -> ApiRefusal:
    return ApiRefusal(
        403,
        f"Caller does not have required permission to use project {project_number}. Grant the caller the"
        " roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission.",
        (
            error_info(
                "USER_PROJECT_DENIED",
                "googleapis.com",
                consumer=f"projects/{project_number}",
                service=IAM_CREDENTIALS,
            ),
        ),
    )


def consumer_suspended(project_number: str) -> ApiRefusal:
    return ApiRefusal(
        403,
        f"Permission denied: Consumer 'projects/{project_number}' has been suspended.",
        (
            error_info(
                "CONSUMER_SUSPENDED",
                "googleapis.com",
                consumer=f"projects/{project_number}",
                service=IAM_CREDENTIALS,
            ),
        ),
    )


def organization_policy(_project_number: str) -> ApiRefusal:
    """https://cloud.google.com/resource-manager/docs/organization-policy/understanding-constraints."""
    constraint = "constraints/iam.disableCrossProjectServiceAccountUsage"
    violation = {
        "type": constraint,
        "subject": "orgpolicy",
        "description": "Operation denied by organization policy",
    }
    return ApiRefusal(
        403,
        f'Operation denied by org policy: ["{constraint}"].',
        ({"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]},),
    )


def error_info(reason: str, domain: str, **metadata: str) -> Detail:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": domain,
        "metadata": metadata,
    }


def _indented(document: object) -> str:
    """As Google's APIs print; whoever looks for `"code":403` in it looks in vain."""
    return json.dumps(document, indent=2) + "\n"
