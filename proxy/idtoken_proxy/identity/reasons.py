"""Why Google refuses, where it is for no missing role: one table, for token endpoints, IAM, STS and receivers alike.

The reasons are those of google.api.ErrorReason (https://cloud.google.com/apis/docs/errors), their older camelCase
forms, OAuth's error codes and, where a service gives no reason, words of Google's sentence. A right is advised only
where a right is missing: whoever reads "grant this role" at a perimeter's or a policy's refusal loses a day.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from idtoken_proxy.identity.google_error import UNKNOWN, GoogleError

# The projects of gcloud's own OAuth clients: charged where a user's login names no quota project, and nobody's to mend.
GCLOUD_PROJECTS: Final = frozenset({"764086051850", "32555940559"})

_NO_ROLE: Final = "no role mends that"


@dataclass(frozen=True, slots=True)
class Why:
    """`cause`: a slug; `detail`: what it means; `remedy`: what mends it, commands with the user's own names in them."""

    cause: str
    detail: str
    remedy: str


def why(
    error: GoogleError, *, caller: str = "the caller", member: str | None = None, project: str | None = None
) -> Why | None:
    """None where a right is missing (`lacks_a_right`), or where Google gives no reason that is known.

    `caller`: who asked, in words; `member`: the same as IAM writes it, such as `user:dev@example.com`; `project`: the one
    to name in a command where the answer names none.
    """
    row = next((row for row in _TABLE if row.applies(error)), None)
    if row is None:
        return None
    words = _words(error, caller, member, project)
    return Why(
        row.cause(error) if callable(row.cause) else row.cause,
        row.detail.format_map(words),
        _remedy(row, error).format_map(words),
    )


def lacks_a_right(error: GoogleError) -> bool:
    """Whether a role that somebody grants would mend it: Google says so, or says nothing that contradicts."""
    if any(row.applies(error) for row in _TABLE):
        return False
    if _plain(error.reason) == "iampermissiondenied" or error.permission is not None:
        return True
    if error.status != 403 or error.code not in ("PERMISSION_DENIED", "AccessDenied", UNKNOWN):
        return False
    if _plain(error.reason) not in ("", "forbidden", "permissiondenied", "accessdenied"):
        return False
    if error.code == UNKNOWN and not error.message:
        return False  # no refusal of an API: a proxy, or a page
    return not error.message or _OF_RIGHTS.search(error.message) is not None


def project_of(service_account: str | None) -> str | None:
    """NAME@PROJECT.iam.gserviceaccount.com; other kinds do not tell."""
    project, _, domain = (service_account or "").rpartition("@")[2].partition(".")
    return project if domain == "iam.gserviceaccount.com" else None


_OF_RIGHTS: Final = re.compile(
    r"permission|not authorized|unauthorized|does not have|lacks? |denied on|forbidden|access denied",
    re.IGNORECASE,
)


# -- the table -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """`reasons`: as `_plain` writes them; `words`: of Google's sentence, for answers that have no such reason.
    `otherwise`: remedies where their predicates hold, the first that does.
    """

    cause: str | Callable[[GoogleError], str]
    detail: str
    remedy: str
    reasons: frozenset[str]
    words: re.Pattern[str] | None = None
    holds: Callable[[GoogleError], bool] = lambda _error: False
    otherwise: tuple[tuple[Callable[[GoogleError], bool], str], ...] = ()

    def applies(self, error: GoogleError) -> bool:
        told = {_plain(error.reason), _plain(error.code)} - {""}
        return (
            bool(told & self.reasons)
            or self.holds(error)
            or (self.words is not None and self.words.search(error.message) is not None)
        )


def _plain(reason: str | None) -> str:
    """`RATE_LIMIT_EXCEEDED`, `rateLimitExceeded` and `RateLimitExceeded` are one."""
    return re.sub(r"[^a-z0-9]", "", (reason or "").lower())


def _said(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _remedy(row: _Row, error: GoogleError) -> str:
    return next((remedy for applies, remedy in row.otherwise if applies(error)), row.remedy)


def _of_gclouds_project(error: GoogleError) -> bool:
    return error.project in GCLOUD_PROJECTS or "requires a quota project" in error.message


def _of_no_project(error: GoogleError) -> bool:
    return _plain(error.reason) in (
        "consumerinvalid",
        "projectinvalid",
        "resourceprojectinvalid",
        "userprojectinvalid",
    )


def _is_org_policy(error: GoogleError) -> bool:
    return error.constraint is not None or _plain(error.reason).startswith(("orgpolicy", "customorgpolicy"))


def _api_cause(error: GoogleError) -> str:
    service = error.service or ("iamcredentials" if "Credentials API" in error.message else "")
    return "iam_api_disabled" if service.startswith("iamcredentials") or not service else "api_disabled"


_SET_QUOTA_PROJECT: Final = (
    "gcloud auth application-default set-quota-project {own_project} (GOOGLE_CLOUD_QUOTA_PROJECT, where it is set, "
    "goes before that)"
)

_TABLE: Final = (
    _Row(
        "vpc_service_controls",
        "a VPC Service Controls perimeter does not let {caller} through{identified}",
        "Give {identifier} to whoever keeps the perimeter, for an ingress rule or an access level: "
        + _NO_ROLE
        + ". What "
        "it was: gcloud logging read 'protoPayload.metadata.vpcServiceControlsUniqueId=\"{unique}\"' --project={project}",
        frozenset({"securitypolicyviolated", "vpcservicecontrols"}),
        _said(r"vpc ?service ?controls|prohibited by organization's policy"),
        lambda error: error.identifier is not None or "VPC_SERVICE_CONTROLS" in error.violated,
    ),
    _Row(
        "organization_policy",
        "a policy of the organization forbids that{constrained}",
        "Ask whoever keeps the organization's policies, " + _NO_ROLE + ": "
        "gcloud org-policies describe {constraint} --effective --project={project}",
        frozenset(
            {
                "locationpolicyviolated",
                "resourceusagerestrictionviolated",
                "orgrestrictionviolation",
                "orgrestrictionheaderinvalid",
                "orginternal",
            }
        ),
        _said(r"\borg(anization)? policy\b|organization policy constraint"),
        _is_org_policy,
    ),
    _Row(
        "user_blocked",
        "the organization's administrator keeps {caller} out, or the account is disabled",
        "Ask the administrator of that account (API controls, context-aware access, the account's state), "
        + _NO_ROLE
        + "; "
        "a service account is not bound by it: identity: {{type: impersonated, service_account: EMAIL}}",
        frozenset(
            {
                "userblockedbyadmin",
                "accountstateinvalid",
                "accountdisabled",
                "domainpolicy",
                "adminpolicyenforced",
                "policyenforced",
                "accountrestricted",
            }
        ),
        _said(
            r"restricted by policies within your organization|blocked by (your )?(organization'?s? )?admin"
            r"|context-aware access|account (restricted|disabled|suspended)|user is (disabled|suspended)"
        ),
    ),
    _Row(
        "quota_project",
        "{caller} may not have the request charged to project {project}, or there is no such project",
        "Grant the use of that project: gcloud projects add-iam-policy-binding {project} --member={member} "
        "--role=roles/serviceusage.serviceUsageConsumer; or, for a login, have another one charged: "
        + _SET_QUOTA_PROJECT,
        frozenset(
            {
                "userprojectdenied",
                "consumerinvalid",
                "projectinvalid",
                "resourceprojectinvalid",
                "userprojectmissing",
                "userprojectinvalid",
                "userprojectinconsistent",
            }
        ),
        _said(
            r"permission to use project|requires a quota project|serviceusage\.services\.use"
            r"|project to be (used for )?(charged|billing)"
        ),
        lambda error: error.permission == "serviceusage.services.use",
        otherwise=(
            (_of_gclouds_project, "The login names no project to charge: " + _SET_QUOTA_PROJECT),
            (_of_no_project, "Name a project that there is: " + _SET_QUOTA_PROJECT),
        ),
    ),
    _Row(
        "billing_disabled",
        "project {project} has no billing account that is open",
        "gcloud billing projects link {project} --billing-account=ACCOUNT (gcloud billing accounts list)",
        frozenset({"billingdisabled", "billingnotenabled", "accountdelinquent", "userprojectaccountproblem"}),
        _said(r"billing to be enabled|billing (is|has been|must be) |billing account .*(closed|disabled)"),
    ),
    _Row(
        "project_suspended",
        "project {project} is suspended or deleted",
        "See its state, and the mail to its owners; Google takes an appeal in the console, " + _NO_ROLE + ": "
        "gcloud projects describe {project}",
        frozenset({"consumersuspended", "gcpsuspended", "projectdeleted", "abuserdetected"}),
        _said(r"has been suspended|is suspended|project .*(has been|was|is) deleted"),
    ),
    _Row(
        _api_cause,
        "{service} is not enabled in project {project}",
        "gcloud services enable {service} --project={project}",
        frozenset({"servicedisabled", "accessnotconfigured", "servicenotactivated", "servicenotvisible"}),
        _said(r"has not been used in project|API .*is disabled"),
        otherwise=((_of_gclouds_project, "The login names no project to charge: " + _SET_QUOTA_PROJECT),),
    ),
    _Row(
        "iam_scopes",
        "the access token of {caller} has too few scopes",
        "The caller's access token lacks the scope cloud-platform. On a VM: gcloud compute instances "
        "set-service-account INSTANCE --scopes=cloud-platform; a user: gcloud auth application-default login",
        frozenset({"accesstokenscopeinsufficient", "insufficientscope"}),
        _said(r"insufficient authentication scopes"),
    ),
    _Row(
        "quota_exceeded",
        "the quota of project {project} is used up for now",
        "It passes, and the proxy tries again by itself. If it stays, ask less often or have the quota raised: "
        "https://console.cloud.google.com/iam-admin/quotas?project={project}",
        frozenset(
            {
                "ratelimitexceeded",
                "resourcequotaexceeded",
                "userratelimitexceeded",
                "dailylimitexceeded",
                "quotaexceeded",
                "resourceexhausted",
            }
        ),
        _said(r"\bquota exceeded|rate limit exceeded"),
        lambda error: error.status == 429,
    ),
    _Row(
        "api_key",
        "an API key of the app's own does not let the request through",
        "Have the app leave its key out, or correct the key's restrictions: gcloud services api-keys list --project={project}",
        frozenset(
            {
                "apikeyinvalid",
                "apikeyserviceblocked",
                "apikeyhttpreferrerblocked",
                "apikeyipaddressblocked",
                "apikeyandroidappblocked",
                "apikeyiosappblocked",
                "keyinvalid",
            }
        ),
    ),
)


def _words(error: GoogleError, caller: str, member: str | None, project: str | None) -> Mapping[str, str]:
    charged = error.project
    return {
        "caller": caller,
        "member": shlex.quote(member) if member else "MEMBER",
        "project": charged or project or "PROJECT",
        # A project to charge in place of one that may not be: never the same again.
        "own_project": project if project is not None and project != charged else "PROJECT",
        "service": error.service or "iamcredentials.googleapis.com",
        "identifier": error.identifier or "the time and the caller of the refusal",
        "unique": error.identifier or "IDENTIFIER",
        "identified": f" (unique identifier {error.identifier})" if error.identifier else "",
        "constraint": error.constraint or "CONSTRAINT",
        "constrained": f" (constraints/{error.constraint})" if error.constraint else "",
    }
