"""Every row of the table, by its reason and by its words; and what is no row's."""

from __future__ import annotations

from typing import Any

from idtoken_proxy.identity.error_causes import CAUSES
from idtoken_proxy.identity.google_error import UNKNOWN, GoogleError
from idtoken_proxy.identity.reasons import Why, lacks_a_right, project_of, why
from tests.cases import for_each

UID = "VQQnKfXtZ16NHnOmdJAy0E92tVT_8fZZRGvnndBWXZLKFx_KItn1EA"
DENIED = "PERMISSION_DENIED"


def told(reason: str | None = None, message: str = "", code: str = DENIED, **more: Any) -> Why:
    error = GoogleError(more.pop("status", 403), code, reason, message, **more)
    found = why(error, caller="login@shop", member="user:o'neil@shop.example", project="own")
    assert found is not None
    assert not lacks_a_right(error)
    assert found.cause in CAUSES
    assert "{" not in found.detail + found.remedy.replace("{type: impersonated, service_account: EMAIL}", "")
    return found


@for_each(
    ("reason", "cause", "remedy"),
    [
        ("SECURITY_POLICY_VIOLATED", "vpc_service_controls", "--project=own"),
        ("vpcServiceControls", "vpc_service_controls", "gcloud logging read"),
        ("ORG_RESTRICTION_VIOLATION", "organization_policy", "gcloud org-policies describe CONSTRAINT --effective"),
        ("CUSTOM_ORG_POLICY_VIOLATION", "organization_policy", "--project=own"),
        ("ORG_POLICY_VIOLATED", "organization_policy", "--project=own"),
        ("LOCATION_POLICY_VIOLATED", "organization_policy", "--project=own"),
        ("USER_BLOCKED_BY_ADMIN", "user_blocked", "Ask the administrator"),
        ("ACCOUNT_STATE_INVALID", "user_blocked", "Ask the administrator"),
        ("domainPolicy", "user_blocked", "Ask the administrator"),
        ("USER_PROJECT_DENIED", "quota_project", "set-quota-project own"),
        ("CONSUMER_INVALID", "quota_project", "set-quota-project own"),
        ("RESOURCE_PROJECT_INVALID", "quota_project", "Name a project that there is: gcloud auth application-default"),
        ("BILLING_DISABLED", "billing_disabled", "gcloud billing projects link own"),
        ("accountDelinquent", "billing_disabled", "gcloud billing projects link own"),
        ("CONSUMER_SUSPENDED", "project_suspended", "gcloud projects describe own"),
        ("GCP_SUSPENDED", "project_suspended", "gcloud projects describe own"),
        ("SERVICE_DISABLED", "iam_api_disabled", "gcloud services enable iamcredentials.googleapis.com --project=own"),
        ("accessNotConfigured", "iam_api_disabled", "gcloud services enable"),
        ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "iam_scopes", "--scopes=cloud-platform"),
        ("RATE_LIMIT_EXCEEDED", "quota_exceeded", "iam-admin/quotas?project=own"),
        ("rateLimitExceeded", "quota_exceeded", "iam-admin/quotas?project=own"),
        ("API_KEY_SERVICE_BLOCKED", "api_key", "api-keys list --project=own"),
    ],
)  # fmt: skip
def test_a_reason_is_read(reason: str, cause: str, remedy: str) -> None:
    found = told(reason)
    assert found.cause == cause
    assert remedy in found.remedy
    if cause != "quota_project":
        assert "add-iam-policy-binding" not in found.remedy


@for_each(
    ("message", "cause"),
    [
        ("Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x", "vpc_service_controls"),
        ("Request violates VPC Service Controls.", "vpc_service_controls"),
        ("The provider is not allowed by Organization Policy.", "organization_policy"),
        ("Access to your account data is restricted by policies within your organization.", "user_blocked"),
        ("Account restricted", "user_blocked"),
        ("Caller does not have required permission to use project shop. Grant the caller serviceusage.", "quota_project"),
        ("The API requires a quota project, which is not set by default.", "quota_project"),
        ("This API method requires billing to be enabled.", "billing_disabled"),
        ("The billing account for the owning project is disabled in state closed", "billing_disabled"),
        ("Consumer 'projects/42' has been suspended.", "project_suspended"),
        ("IAM Service Account Credentials API has not been used in project 42 before or it is disabled.", "iam_api_disabled"),
        ("Security Token Service API has not been used in project 42 before.", "iam_api_disabled"),
        ("Request had insufficient authentication scopes.", "iam_scopes"),
        ("Quota exceeded for quota metric 'x'.", "quota_exceeded"),
    ],
)  # fmt: skip
def test_without_a_reason_the_sentence_is_read(message: str, cause: str) -> None:
    assert told(None, message).cause == cause


@for_each("code", ["SecurityPolicyViolated", "org_internal", "admin_policy_enforced", "RESOURCE_EXHAUSTED"])
def test_a_code_may_be_the_reason(code: str) -> None:
    assert told(None, code=code).cause in (
        "vpc_service_controls",
        "organization_policy",
        "user_blocked",
        "quota_exceeded",
    )


def test_a_perimeter() -> None:
    found = told("SECURITY_POLICY_VIOLATED", identifier=UID, metadata={"consumer": "projects/42"})
    assert f"(unique identifier {UID})" in found.detail
    assert f"""'protoPayload.metadata.vpcServiceControlsUniqueId="{UID}"' --project=42""" in found.remedy
    assert "no role mends that" in found.remedy
    assert told(None, violated=("VPC_SERVICE_CONTROLS",)).cause == "vpc_service_controls"


def test_a_constraint() -> None:
    found = told(None, constraint="iam.allowedPolicyMemberDomains")
    assert found.cause == "organization_policy"
    assert "constraints/iam.allowedPolicyMemberDomains" in found.detail
    assert "gcloud org-policies describe iam.allowedPolicyMemberDomains" in found.remedy


def test_the_quota_project_is_never_the_same_again() -> None:
    found = told("USER_PROJECT_DENIED", metadata={"consumer": "projects/own"})
    assert "set-quota-project PROJECT" in found.remedy
    assert """add-iam-policy-binding own --member='user:o'"'"'neil@shop.example'""" in found.remedy
    assert (
        told("IAM_PERMISSION_DENIED", metadata={"permission": "serviceusage.services.use"}).cause
        == "quota_project"
    )


def test_gclouds_own_project_is_nobodys_to_mend() -> None:
    found = told("SERVICE_DISABLED", metadata={"consumer": "projects/764086051850"})
    assert found.remedy.startswith(
        "The login names no project to charge: gcloud auth application-default set-quota-project own"
    )


def test_another_api() -> None:
    found = told("SERVICE_DISABLED", metadata={"service": "sts.googleapis.com", "consumer": "projects/42"})
    assert found.cause == "api_disabled"
    assert found.remedy == "gcloud services enable sts.googleapis.com --project=42"


@for_each("code", [UNKNOWN, "invalid_request"])
def test_too_many_requests(code: str) -> None:
    assert told(None, code=code, status=429).cause == "quota_exceeded"


RIGHT = [
    GoogleError(
        403, DENIED, "IAM_PERMISSION_DENIED", "Permission 'x' denied on resource (or it may not exist)."
    ),
    GoogleError(403, DENIED, None, "The caller does not have permission"),
    GoogleError(403, DENIED, "forbidden", "login does not have storage.objects.get access to the object."),
    GoogleError(403, "AccessDenied", "AccessDenied", "Access denied."),
    GoogleError(403, DENIED),
    GoogleError(400, "FAILED_PRECONDITION", metadata={"permission": "iam.serviceAccounts.getOpenIdToken"}),
]
NO_RIGHT = [
    GoogleError(403),
    GoogleError(403, DENIED, "MOON_PHASE", "You do not have permission at full moon."),
    GoogleError(403, DENIED, None, "The moon is full."),
    GoogleError(
        401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", "Request had invalid authentication credentials."
    ),
    GoogleError(403, "UNKNOWN_CODE", None, "The caller does not have permission"),
    GoogleError(400, "invalid_grant", None, "Bad Request"),
    GoogleError(404, "NOT_FOUND"),
]


@for_each("error", RIGHT, ids=range(len(RIGHT)))
def test_where_a_right_is_missing(error: GoogleError) -> None:
    assert why(error) is None
    assert lacks_a_right(error)


@for_each("error", NO_RIGHT, ids=range(len(NO_RIGHT)))
def test_where_no_right_is_known_to_be_missing(error: GoogleError) -> None:
    assert why(error) is None
    assert not lacks_a_right(error)


def test_the_project() -> None:
    assert project_of("a@proj.iam.gserviceaccount.com") == "proj"
    assert project_of("1-compute@developer.gserviceaccount.com") is None
    assert project_of(None) is None
