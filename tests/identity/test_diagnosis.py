"""Every row of the tables. What each says in full, with real receivers, is in tests/test_troubles.py."""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import formatdate
from typing import Any

from idtoken_proxy.identity.answer import Answer
from idtoken_proxy.identity.diagnosis import Diagnosis, diagnose, wrong_clock
from idtoken_proxy.identity.token import AccessToken, IdToken
from idtoken_proxy.settings.identities import SignedJwtIdentity
from idtoken_proxy.settings.model import Route, Scopes, TokenHeader, Upstream
from tests.cases import for_each

NOW = 1_800_000_000.0
RUN = "profiles-12.europe-west1.run.app"
HASH = "profiles-x7f3kq2abc-ew.a.run.app"
CUSTOM = "api.shop.example"
FUNCTION = "us-central1-shop.cloudfunctions.net"
CLIENT = "55-a.apps.googleusercontent.com"
GCLOUD = "32555940559.apps.googleusercontent.com"
CALLER = "login@shop.iam.gserviceaccount.com"
INVALID = ('Bearer error="invalid_token"',)
MEMBER = f"--member=serviceAccount:{CALLER}"


def route(host: str = RUN, audience: str | None = "", *, path: str = "", **changes: Any) -> Route:
    return Route(
        "shop",
        Upstream("https", host, 443, path),
        audience or (None if audience is None else f"https://{host}"),
        **changes,
    )


def token(audience: str, email: str | None = CALLER) -> IdToken:
    return IdToken("t.t.t", audience=audience, expires_at=NOW + 3600, email=email)


def google(status: int, **more: Any) -> Answer:
    """The front end, and surely so."""
    usual = {
        "server": "Google Frontend",
        "content_type": "text/html",
        "body": "<h1>Error: Forbidden</h1> Your client does not have permission",
    }
    return Answer(status, **{**usual, "challenges": INVALID if status == 401 else (), **more})


def iap(status: int, said: str = "", **more: Any) -> Answer:
    return Answer(status, iap=True, body=f"Invalid IAP credentials: {said}", **more)


def told(one: Route, answer: Answer, sent: IdToken | None = None) -> Diagnosis:
    found = diagnose(one, sent or token(one.audience or ""), answer, NOW)
    assert found is not None
    return found


def test_the_apps_own_answers_are_its_own() -> None:
    for status in (200, 302, 401, 403, 404, 500):
        assert diagnose(route(), token(RUN), Answer(status, server="Google Frontend", body="{}"), NOW) is None


def test_what_is_guessed_says_if() -> None:
    unread = Answer(403, server="Google Frontend", content_type="text/html")
    found = told(route(), unread)
    assert found.cause == "no_invoker"
    assert found.detail == (
        f"if it is Google that answers 403 here, and not the app: {CALLER} may not invoke profiles"
    )
    assert told(route(), google(403)).detail == f"{CALLER} may not invoke profiles"


# -- 401 -----------------------------------------------------------------------


@for_each(
    ("one", "sent", "cause", "remedy"),
    [
        (
            route(audience=f"https://{RUN}/v1"),
            None,
            "audience_with_path",
            f"In route shop: audience: https://{RUN}",
        ),
        (route(HASH), None, "invalid_token", "gcloud run services describe profiles --region=europe-west1"),
        (route(HASH, f"https://{RUN}"), None, "audience_not_registered", "--add-custom-audiences"),
        (
            route(HASH, "https://other-12.europe-west1.run.app"),
            None,
            "other_service_audience",
            f"https://{HASH}",
        ),
        (
            route(HASH, "https://profiles-12.us-east4.run.app"),
            None,
            "other_service_audience",
            f"https://{HASH}",
        ),
        (
            route("profiles-x-qq.a.run.app", f"https://{RUN}"),
            None,
            "audience_not_registered",
            "profiles --region=REGION",
        ),
        (route(CUSTOM), None, "custom_domain_audience", "gcloud run services update SERVICE --region=REGION"),
        (
            route(CUSTOM, f"https://{RUN}"),
            None,
            "audience_not_registered",
            "describe profiles --region=europe-west1",
        ),
        (route(CUSTOM, "shop's"), None, "audience_not_registered", """--add-custom-audiences='shop'"'"'s'"""),
        (
            route(FUNCTION, path="/resize"),
            None,
            "function_audience",
            f"In route shop: audience: https://{FUNCTION}/resize",
        ),
        (
            route(FUNCTION, f"https://{FUNCTION}/resize", path="/resize"),
            None,
            "function_audience",
            "describe resize",
        ),
        (route(), token(GCLOUD, "dev@shop.example"), "user_audience", "--member=user:dev@shop.example"),
        (
            route(),
            token("https://else.example"),
            "token_audience",
            "--add-custom-audiences=https://else.example",
        ),
        (route("127.0.0.1"), None, "invalid_token", "describe SERVICE --region=REGION"),
    ],
)
def test_unauthorized(one: Route, sent: IdToken | None, cause: str, remedy: str) -> None:
    found = told(one, google(401), sent)
    assert found.cause == cause
    assert remedy in found.remedy


def test_unauthorized_and_no_token_of_ours() -> None:
    found = diagnose(route(audience=None), None, google(401), NOW)
    assert found is not None
    assert found.cause == "no_identity"
    assert "the app's own Authorization" in found.detail


@for_each(
    ("off", "said"),
    [
        (-7200, "2 h behind"),
        (-7199, "120 min behind"),
        (119, "119 s ahead of"),
        (120, "2 min ahead of"),
        (31, "31 s ahead of"),
    ],
)
def test_unauthorized_by_a_wrong_clock(off: float, said: str) -> None:
    found = told(route(audience=f"https://{RUN}/v1"), google(401, date=formatdate(NOW - off, usegmt=True)))
    assert found.cause == "clock_skew"
    assert f"this machine's clock is {said} the receiver's" in found.detail
    assert "timedatectl" in found.remedy


def test_a_wrong_clock_that_nobody_has_refused_yet() -> None:
    found = wrong_clock(-90, whose="Google's")
    assert found.cause == "clock_skew"
    assert found.detail.startswith("this machine's clock is 90 s behind Google's: ")


# -- 403 -----------------------------------------------------------------------


@for_each(
    ("one", "cause", "remedy"),
    [
        (route(), "no_invoker", f"gcloud run services add-iam-policy-binding profiles --region=europe-west1 {MEMBER} --role=roles/run.invoker"),
        (route(CUSTOM, f"https://{RUN}"), "no_invoker", "gcloud run services add-iam-policy-binding profiles --region=europe-west1 "),
        (route(CUSTOM, "shop"), "no_invoker", "gcloud run services add-iam-policy-binding SERVICE --region=REGION "),
        (
            route(FUNCTION, path="/resize"),
            "no_invoker",
            (
                f"gcloud functions add-iam-policy-binding resize --region=us-central1 --project=shop {MEMBER} "
                "--role=roles/cloudfunctions.invoker; for a 2nd-generation function: "
                f"gcloud functions add-invoker-policy-binding resize --region=us-central1 --project=shop {MEMBER}"
            ),
        ),
        (route(FUNCTION, token_header=TokenHeader.X_SERVERLESS_AUTHORIZATION), "header_not_read", "token_header: auto"),
        (route(token_header=TokenHeader.X_SERVERLESS_AUTHORIZATION), "no_invoker", "add-iam-policy-binding profiles"),
        (route(token_header=TokenHeader.PROXY_AUTHORIZATION), "header_not_read", "token_header: auto"),
    ],
)  # fmt: skip
def test_forbidden(one: Route, cause: str, remedy: str) -> None:
    found = told(one, google(403))
    assert found.cause == cause
    assert remedy in found.remedy


def test_forbidden_and_no_token() -> None:
    found = diagnose(route(audience=None), None, google(403), NOW)
    assert found is not None
    assert found.cause == "no_identity"
    assert "profiles --region=europe-west1 --member=allUsers" in found.remedy


@for_each("email", [None, "", "x; rm -rf /", "a@b\n"])
def test_who_it_is_may_be_unknown_or_unfit_for_a_command(email: str | None) -> None:
    found = told(route(), google(403), token("a", email))
    assert found.detail == "the caller may not invoke profiles"
    assert "--member=serviceAccount:EMAIL " in found.remedy


def test_an_audience_of_a_strangers_token_is_fit_for_a_terminal() -> None:
    found = told(route(), google(401), token("\x1b[2J'$(x)\n"))
    assert "?[2J'$(x)?" in found.detail
    assert """ --add-custom-audiences='?[2J'"'"'$(x)?' --project=12""" in found.remedy


# -- the rest of the front end ---------------------------------------------------


@for_each(
    ("host", "status", "cause", "remedy"),
    [
        (RUN, 404, "no_such_service", "gcloud run services describe profiles --region=europe-west1"),
        (FUNCTION, 404, "no_such_service", "gcloud functions describe resize --region=us-central1"),
        (RUN, 400, "malformed_request", f"curl -sv https://{RUN}/"),
        (RUN, 408, "malformed_request", f"curl -sv https://{RUN}/"),
        (RUN, 411, "length_required", "Content-Length"),
        (
            RUN,
            413,
            "request_too_large",
            "gcloud run services update profiles --region=europe-west1 --use-http2",
        ),
        (FUNCTION, 413, "request_too_large", "gcloud storage sign-url"),
        (RUN, 414, "head_too_large", "by POST"),
        (RUN, 431, "head_too_large", "cookies"),
        (RUN, 504, "receiver_timeout", "--timeout=SECONDS --project=12"),
        (RUN, 429, "no_instance", "--max-instances=N"),
        (RUN, 500, "receiver_down", "gcloud run services logs read profiles --region=europe-west1"),
        (FUNCTION, 503, "receiver_down", "gcloud functions logs read resize --region=us-central1"),
    ],
)
def test_neither_401_nor_403(host: str, status: int, cause: str, remedy: str) -> None:
    found = told(route(host, path="/resize"), google(status))
    assert found.cause == cause
    assert remedy in found.remedy


@for_each("path", ["/healthz", "/eventlog", "/_ah/warmup", "/_ah", "/quiz", "/healthz/"])
def test_a_path_that_google_keeps(path: str) -> None:
    found = diagnose(route(), token(RUN), google(404), NOW, path)
    assert found is not None
    assert found.cause == "reserved_path"
    assert path in found.detail
    assert "/health" in found.remedy


@for_each(
    ("host", "path"),
    [(RUN, "/"), (RUN, "/eventlogs"), (RUN, "/a/_ah/b"), (RUN, "/zoo"), (FUNCTION, "/healthz")],
)
def test_a_path_that_google_passes_on(host: str, path: str) -> None:
    found = diagnose(route(host, path="/resize"), token(host), google(404), NOW, path)
    assert found is not None
    assert found.cause == "no_such_service"


def test_a_path_that_may_hold_anything_is_not_repeated() -> None:
    found = diagnose(route(), token(RUN), google(404), NOW, "/reset/0d1f42/z")
    assert found is not None
    assert "0d1f42" not in found.detail


def test_no_instance_while_it_scales() -> None:
    found = told(
        route(), google(503, body="The request was aborted because there was no available instance.")
    )
    assert found.cause == "no_instance"
    assert "--min-instances=1" in found.remedy


# -- Google's own reason ---------------------------------------------------------

UID = "VQQnKfXtZ16NHnOmdJAy0E92tVT_8fZZRGvnndBWXZLKFx_KItn1EA"
API = "storage.googleapis.com"


def api(
    status: int, reason: str | None, message: str = "No.", code: str = "PERMISSION_DENIED", **metadata: str
) -> Answer:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}]
    error = {"code": status, "status": code, "message": message, "details": details if reason else []}
    return Answer(
        status,
        server="ESF",
        content_type="application/json; charset=UTF-8",
        challenges=INVALID if status == 401 else (),
        body=json.dumps({"error": error}),
    )


@for_each(
    ("answer", "cause", "remedy"),
    [
        (api(403, "USER_PROJECT_DENIED", consumer="projects/shop"), "quota_project", "set-quota-project"),
        (
            api(403, "SERVICE_DISABLED", service=API, consumer="projects/42"),
            "api_disabled",
            f"enable {API} --project=42",
        ),
        (api(403, "BILLING_DISABLED", consumer="projects/42"), "billing_disabled", "projects link 42"),
        (api(429, "RATE_LIMIT_EXCEEDED", code="RESOURCE_EXHAUSTED"), "quota_exceeded", "quotas?project=shop"),
        (
            api(403, "IAM_PERMISSION_DENIED", "Permission 'a.b.c' denied", permission="a.b.c"),
            "missing_permission",
            f"Grant it a role that holds a.b.c: gcloud projects add-iam-policy-binding shop {MEMBER} --role=ROLE",
        ),
        (api(403, "MOON_PHASE", "The moon is full."), "refused_otherwise", "no role is known"),
    ],
)
def test_an_api_of_googles(answer: Answer, cause: str, remedy: str) -> None:
    found = told(route(API), answer)
    assert found.cause == cause
    assert remedy in found.remedy
    assert found.sure
    if cause == "refused_otherwise":
        assert json.loads(answer.body or "")["error"]["message"] in found.detail


@for_each(
    "answer", [api(404, None, "Not found.", code="NOT_FOUND"), api(400, "FIELD_MISSING"), api(500, None)]
)
def test_what_an_api_says_of_the_request_itself_is_for_the_app(answer: Answer) -> None:
    assert diagnose(route(API), token(f"https://{API}"), answer, NOW) is None
    assert diagnose(to_api(), ACCESS, answer, NOW) is None


ACCESS = AccessToken("ya29.a", NOW + 3600, email=CALLER)


def to_api(host: str = API, scopes: tuple[str, ...] = ("email",), **changes: Any) -> Route:
    return route(host, None, scopes=Scopes(scopes), **changes)


@for_each(
    ("answer", "cause", "detail", "remedy"),
    [
        (
            api(401, "ACCESS_TOKEN_EXPIRED", "No credential.", code="UNAUTHENTICATED"),
            "access_token_refused",
            f"{API} does not take the access token of {CALLER}",
            "Another one is fetched by itself",
        ),
        (
            replace(api(401, None, code="UNAUTHENTICATED"), challenges=()),
            "access_token_refused",
            f"{API} does not take the access token of {CALLER}",
            "make the credential anew",
        ),
        (
            api(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
            "token_scopes",
            f"the access token of {CALLER} is good for email, and {API} wants more for this",
            "In route shop: scopes: [https://www.googleapis.com/auth/cloud-platform]",
        ),
        (
            api(403, "USER_PROJECT_DENIED", consumer="projects/other-1"),
            "quota_project",
            f"{CALLER} may not have the request charged to project other-1",
            (
                "gcloud projects add-iam-policy-binding other-1 --member=serviceAccount:login@shop.iam.gserviceaccount.com "
                "--role=roles/serviceusage.serviceUsageConsumer"
            ),
        ),
        (
            api(403, "USER_PROJECT_DENIED", consumer="projects/other-1"),
            "quota_project",
            "other-1",
            "or in route shop: quota_project: PROJECT",
        ),
        (
            api(403, "SERVICE_DISABLED", consumer="projects/42"),
            "api_disabled",
            f"{API} is not enabled in project 42",
            f"gcloud services enable {API} --project=42",
        ),
        (
            api(403, "SECURITY_POLICY_VIOLATED", uid=UID),
            "vpc_service_controls",
            UID,
            "no role mends that",
        ),
        (
            api(403, "IAM_PERMISSION_DENIED", "Permission 'a.b.c' denied", permission="a.b.c"),
            "missing_permission",
            f"{CALLER} lacks a.b.c at {API}",
            f"Grant it a role that holds a.b.c: gcloud projects add-iam-policy-binding shop {MEMBER} --role=ROLE",
        ),
        (
            api(429, "RATE_LIMIT_EXCEEDED", code="RESOURCE_EXHAUSTED"),
            "quota_exceeded",
            "quota",
            "It passes",
        ),
    ],
)
def test_an_access_token_that_is_refused(answer: Answer, cause: str, detail: str, remedy: str) -> None:
    found = diagnose(to_api(), ACCESS, answer, NOW)
    assert found is not None
    assert (found.cause, found.sure) == (cause, True)
    assert detail in found.detail
    assert remedy in found.remedy


def test_an_unread_refusal_of_an_access_token_is_one_too() -> None:
    """Of a stream, nobody reads the body."""
    found = diagnose(to_api(), ACCESS, Answer(403, server="ESF"), NOW)
    assert found is not None
    assert found.cause == "refused_otherwise"


def test_the_wrong_kind_of_token() -> None:
    found = told(route(API), api(401, "ACCESS_TOKEN_TYPE_UNSUPPORTED", code="UNAUTHENTICATED"))
    assert (found.cause, found.remedy) == ("token_kind", "In route shop: token: access, without an audience")


PERIMETER = f"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: {UID}"


def test_a_perimeter_before_a_service() -> None:
    found = told(route(), google(403, body=f"<h1>Error: Forbidden</h1><p>{PERIMETER}"))
    assert (found.cause, found.sure) == ("vpc_service_controls", True)
    assert UID in found.detail
    assert "run.invoker" not in found.remedy
    perhaps = told(
        route(), replace(api(403, "SECURITY_POLICY_VIOLATED", PERIMETER), server="Google Frontend")
    )
    assert perhaps.cause == "vpc_service_controls"
    assert perhaps.detail.startswith(
        "if it is Google that answers 403 here, and not the app: a VPC Service Controls"
    )
    assert UID in perhaps.remedy


@for_each("server", ["Google Frontend", "ESF", ""])
@for_each(
    ("reason", "cause"),
    [
        ("SERVICE_DISABLED", "iam_api_disabled"),
        ("USER_PROJECT_DENIED", "quota_project"),
        ("CONSUMER_SUSPENDED", "project_suspended"),
        ("BILLING_DISABLED", "billing_disabled"),
        ("USER_BLOCKED_BY_ADMIN", "user_blocked"),
    ],
)
def test_a_reason_before_a_receiver(server: str, reason: str, cause: str) -> None:
    """Of API Gateway, or of an app that passes an API's refusal on: nobody can tell."""
    found = told(route(), replace(api(403, reason, "The caller does not have permission"), server=server))
    assert (found.cause, found.sure) == (cause, False)
    assert found.detail.startswith("if it is Google that answers 403 here, and not the app: ")
    assert "run.invoker" not in found.remedy


@for_each(
    "answer",
    [
        api(403, "IAM_PERMISSION_DENIED", "Permission 'a.b.c' denied"),
        api(403, None, "This project has been suspended."),
        api(403, "MOON_PHASE"),
        api(404, "CONSUMER_SUSPENDED"),
        Answer(403, content_type="application/json", body='{"error": "quota exceeded"}'),
    ],
)
def test_an_app_s_own_trouble_with_an_api_is_its_own(answer: Answer) -> None:
    assert diagnose(route(), token(RUN), answer, NOW) is None


@for_each(
    ("words", "cause", "says"),
    [
        (
            "Your client does not have permission to get URL <code>/</code> from this server.",
            "no_invoker",
            CALLER,
        ),
        ("", "no_invoker", CALLER),
        ("Access is forbidden.", "ingress", "ingress"),
        ("The moon is full.", "refused_otherwise", "and says: Error: Forbidden The moon is full."),
    ],
)
def test_a_role_is_advised_where_one_is_missing(words: str, cause: str, says: str) -> None:
    found = told(route(), google(403, body=f"<h1>Error: Forbidden</h1>\n<h2>{words}</h2>"))
    assert found.cause == cause
    assert says in found.detail
    assert ("add-iam-policy-binding" in found.remedy) is (cause == "no_invoker")


def test_iap_and_a_blocked_user() -> None:
    found = told(
        route(audience=CLIENT), iap(403, "blocked by your organization's admin (context-aware access)")
    )
    assert found.cause == "user_blocked"
    assert "iap.httpsResourceAccessor" not in found.remedy


def test_a_redirect_to_sign_in() -> None:
    location = f"https://accounts.google.com/o/oauth2/v2/auth?client_id={CLIENT}&x=1"
    found = told(route(), Answer(302, location=location))
    assert found.cause == "sign_in"
    assert found.detail.startswith("if it is Google that answers 302 here")
    assert f"audience: {CLIENT}" in found.remedy


# -- IAP -------------------------------------------------------------------------

MISMATCH = (
    f"JWT audience doesn't match this application ('aud' claim (x) doesn't match expected value ({CLIENT}))"
)
SIGNED = SignedJwtIdentity(CALLER)


@for_each(
    ("one", "answer", "cause", "remedy"),
    [
        (route(), iap(401, MISMATCH), "iap_client_id", f"In route shop: audience: {CLIENT};"),
        (
            route(audience="9-b.apps.googleusercontent.com"),
            iap(401, MISMATCH),
            "iap_client_id",
            f"audience: {CLIENT};",
        ),
        (route(), iap(401), "iap_client_id", f"curl -sI https://{RUN}/"),
        (
            route(),
            iap(302, location=f"https://accounts.google.com/?a=b&client_id={CLIENT}"),
            "iap_client_id",
            CLIENT,
        ),
        (route(audience=CLIENT), iap(401, MISMATCH), "iap_credential", f"service_account: {CALLER}}}"),
        (
            route(audience=CLIENT),
            iap(401, "JWT signature is invalid"),
            "iap_credential",
            "client_id in Location",
        ),
        (
            route(audience=CLIENT),
            iap(401, "JWT 'email' claim isn't a string"),
            "iap_no_email",
            "--include-email",
        ),
        (route(audience=CLIENT), iap(401, "Expired JWT"), "clock_skew", "timedatectl"),
        (
            route(audience=CLIENT, token_header=TokenHeader.X_SERVERLESS_AUTHORIZATION),
            iap(401, "empty token"),
            "iap_header",
            "token_header: auto",
        ),
        (route(identity=SIGNED), iap(401), "iap_signed_audience", f"audience: https://{RUN}/*"),
        (
            route(audience=CLIENT),
            iap(403),
            "iap_no_access",
            f"--resource-type=cloud-run --service=profiles --region=europe-west1 {MEMBER} --role=roles/iap.http",
        ),
        (
            route(CUSTOM, CLIENT),
            iap(403),
            "iap_no_access",
            f"--resource-type=backend-services --service=BACKEND_SERVICE {MEMBER} --role=roles/iap.httpsResourceAccessor",
        ),
    ],
)
def test_iap(one: Route, answer: Answer, cause: str, remedy: str) -> None:
    found = told(one, answer)
    assert found.cause == cause
    assert remedy in found.remedy


def test_iap_and_a_person() -> None:
    found = told(route(audience=CLIENT), iap(401), token(GCLOUD, "dev@shop.example"))
    assert found.cause == "user_audience"
    assert "type: impersonated" in found.remedy


def test_iap_and_no_token() -> None:
    found = diagnose(
        route(audience=None), None, iap(302, location=f"https://accounts.google.com/?client_id={CLIENT}"), NOW
    )
    assert found is not None
    assert found.cause == "no_identity"
    assert f"audience: {CLIENT}" in found.remedy


def test_iap_and_a_wrong_clock() -> None:
    late = formatdate(NOW + 60, usegmt=True)
    assert "60 s behind the receiver's" in told(route(audience=CLIENT), iap(401, date=late)).detail
    expired = told(route(audience=CLIENT), iap(401, "Expired JWT"))
    assert expired.detail.endswith("this machine's clock may be wrong")
    assert told(route(audience=CLIENT), iap(403, date=late)).cause == "iap_no_access"
