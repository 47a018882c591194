from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.iam_credentials import (
    ACCESS_TOKEN,
    ID_TOKEN,
    SIGN_JWT,
    IamCredentials,
    Method,
    iam_endpoint,
)
from idtoken_proxy.identity.sources.source import CLOUD
from idtoken_proxy.identity.token import AccessToken
from idtoken_proxy.settings.model import Scopes
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received
from tests.identity.sources.emulated import TARGET, fails

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]


@dataclass
class Caller:
    who: str | None = "serviceAccount:me@proj.iam.gserviceaccount.com"
    quota_project: str | None = None

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        return AccessToken("SENTINEL", 4e9, quota_project=self.quota_project)

    def member(self) -> str | None:
        return self.who

    def describe(self) -> str:
        return "a caller"


def error(status: int, code: str, message: str, **more: Any) -> Answer:
    return Answer(status, json.dumps({"error": {"status": code, "message": message, **more}}).encode())


def refused(server: HttpEndpoint, caller: Caller, target: str = TARGET.email, **expected: Any) -> Any:
    iam = IamCredentials(server.url, caller)
    return fails(iam.ask, ID_TOKEN, target, (), {"audience": "https://a"}, **expected)


@pytest.mark.parametrize(
    ("method", "name", "field"),
    [
        (ID_TOKEN, "generateIdToken", "token"),
        (ACCESS_TOKEN, "generateAccessToken", "accessToken"),
        (SIGN_JWT, "signJwt", "signedJwt"),
    ],
)
def test_what_is_asked(http_endpoint: Serve, method: Method, name: str, field: str) -> None:
    server = http_endpoint(lambda _: Answer(body=json.dumps({field: "it"}).encode()))
    iam = IamCredentials(server.url, Caller())
    assert iam.ask(method, "a/b@c", ("d@e", "f@g"), {"x": 1}) == "it"
    (received,) = server.received
    assert (received.method, received.path) == ("POST", f"/v1/projects/-/serviceAccounts/a%2Fb@c:{name}")
    assert received.headers["Authorization"] == "Bearer SENTINEL"
    assert "x-goog-user-project" not in {key.lower() for key in received.headers}
    names = ["projects/-/serviceAccounts/d@e", "projects/-/serviceAccounts/f@g"]
    assert json.loads(received.body) == {"x": 1, "delegates": names}


def test_whom_google_is_to_charge(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"token": "it"}'))
    IamCredentials(server.url, Caller(quota_project="proj")).ask(ID_TOKEN, "a@b", (), {})
    assert server.received[0].headers["x-goog-user-project"] == "proj"
    assert json.loads(server.received[0].body) == {}


DISABLED = "IAM Service Account Credentials API has not been used in project {} before or it is disabled."
SCOPES = (
    "The caller's access token lacks the scope cloud-platform. On a VM: gcloud compute instances "
    "set-service-account INSTANCE --scopes=cloud-platform; a user: gcloud auth application-default login"
)
ENABLE = "gcloud services enable iamcredentials.googleapis.com --project="


@for_each(
    ("answer", "cause", "remedy"),
    [
        (error(403, "PERMISSION_DENIED", DISABLED.format("12345")), "iam_api_disabled", ENABLE + "12345"),
        (
            error(403, "PERMISSION_DENIED", "No.", details=[{"@type": "x"}, {"reason": "SERVICE_DISABLED"}]),
            "iam_api_disabled",
            ENABLE + "proj",
        ),
        (
            error(403, "PERMISSION_DENIED", DISABLED.format("764086051850")),
            "iam_api_disabled",
            (
                "The login names no project to charge: gcloud auth application-default set-quota-project proj "
                "(GOOGLE_CLOUD_QUOTA_PROJECT, where it is set, goes before that)"
            ),
        ),
        (
            error(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes."),
            "iam_scopes",
            SCOPES,
        ),
        (
            error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
            "iam_unauthenticated",
            "The access token of a caller is not valid: log in anew, and check this machine's clock (date -u)",
        ),
        (
            error(400, "INVALID_ARGUMENT", "Audience must be specified."),
            "iam_refused",
            f"Check the account: gcloud iam service-accounts describe {TARGET.email}",
        ),
        (
            error(403, "PERMISSION_DENIED", "The moon is full.", details=[{"reason": "MOON_PHASE"}]),
            "iam_refused",
            "Google's own sentence says why; no role is known that mends it",
        ),
        (
            error(
                403,
                "PERMISSION_DENIED",
                "Mind the perimeter.",
                details=[{"reason": "SECURITY_POLICY_VIOLATED"}],
            ),
            "vpc_service_controls",
            (
                "Give the time and the caller of the refusal to whoever keeps the perimeter, for an ingress rule or an access "
                "level: no role mends that. What it was: gcloud logging read "
                "'protoPayload.metadata.vpcServiceControlsUniqueId=\"IDENTIFIER\"' --project=proj"
            ),
        ),
    ],
    ids=range(8),
)
def test_refusals(http_endpoint: Serve, answer: Answer, cause: str, remedy: str) -> None:
    server = http_endpoint(lambda _: answer)
    got = refused(server, Caller(), cause=cause, fault=Fault.OPERATOR, remedy=remedy)
    assert got.detail.startswith(f"IAM refused generateIdToken for {TARGET.email} to a caller (")
    assert len(server.received) == 1


@pytest.mark.parametrize("answer", [Answer(302, b"SENTINEL"), Answer(403, b"<h1>SENTINEL</h1>"), Answer(403)])
def test_what_is_no_answer_of_googles(http_endpoint: Serve, answer: Answer) -> None:
    """A proxy's page of status 403 is no missing role."""
    server = http_endpoint(lambda _: answer)
    remedy = f"That is no answer of Google's API; see what answers in its place: curl -sv {server.url}/"
    refused(server, Caller(), cause="iam_refused", remedy=remedy)


@pytest.mark.parametrize(
    ("who", "says"),
    [
        (
            "user:o'neil@b.c",
            """--member='user:o'"'"'neil@b.c' --role=roles/iam.serviceAccountOpenIdTokenCreator""",
        ),
        (None, "--member=MEMBER --role=roles/iam.serviceAccountOpenIdTokenCreator"),
        ("principalSet://x/*", "--member='principalSet://x/*' --role=roles/iam.workloadIdentityUser"),
    ],
)
def test_to_whom_to_grant(http_endpoint: Serve, who: str | None, says: str) -> None:
    server = http_endpoint(lambda _: error(403, "PERMISSION_DENIED", "The caller does not have permission"))
    grant = f"gcloud iam service-accounts add-iam-policy-binding {TARGET.email} {says}"
    refused(server, Caller(who), cause="iam_permission_denied", remedy=grant)


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("1-compute@developer.gserviceaccount.com", 404, "--project=PROJECT"),
        ("1-compute@developer.gserviceaccount.com", 403, "--project=PROJECT"),
    ],
)
def test_an_account_that_does_not_tell_its_project(
    http_endpoint: Serve, target: str, code: int, says: str
) -> None:
    server = http_endpoint(
        lambda _: error(code, "X", "No.", details=[{"reason": "SERVICE_DISABLED"}] * (code == 403))
    )
    assert says in refused(server, Caller(), target).remedy


@pytest.mark.parametrize("status", [500, 503])
def test_what_may_pass(http_endpoint: Serve, status: int) -> None:
    server = http_endpoint(lambda _: Answer(status, b"SENTINEL"))
    refused(server, Caller(), cause="endpoint_unavailable", fault=Fault.GOOGLE, retry_after=10)


@for_each("body", [b"SENTINEL", b"[]", b"{}", b'{"token": 7}', b"\xff"], ids=range(5))
def test_garbage(http_endpoint: Serve, body: bytes) -> None:
    server = http_endpoint(lambda _: Answer(body=body))
    refused(
        server,
        Caller(),
        cause="garbage",
        fault=Fault.GOOGLE,
        detail="the answer of IAM Credentials holds no token",
    )


def test_the_endpoint() -> None:
    assert iam_endpoint(None, "googleapis.com") == "https://iamcredentials.googleapis.com"
    assert iam_endpoint(None, "u.example") == "https://iamcredentials.u.example"
    assert iam_endpoint("http://localhost:1/", "u.example") == "http://localhost:1"


def test_the_variable_s_quota_project_goes_before_the_credential_s(http_endpoint: Serve) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"token": "it"}'))
    IamCredentials(server.url, Caller(quota_project="of-the-file"), "of-the-variable").ask(
        ID_TOKEN, "a@b", (), {}
    )
    assert server.received[0].headers["x-goog-user-project"] == "of-the-variable"


@for_each("said", ['"my-project"', "ya29.SENTINELabcdef", "My Project", "x", "my-project\n"])
def test_a_quota_project_that_is_none_is_told_by_its_variable(http_endpoint: Serve, said: str) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"token": "it"}'))
    iam = IamCredentials(server.url, Caller(), said)
    found = fails(iam.ask, ID_TOKEN, "a@b", (), {}, cause="quota_project_invalid", fault=Fault.OPERATOR)
    assert found.detail.startswith("GOOGLE_CLOUD_QUOTA_PROJECT ")
    assert "SENTINEL" not in found.detail
    assert server.received == []
