from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.identity.google_error import UNKNOWN, GoogleError
from tests.cases import for_each
from tests.identity.fakes import jwt

UID = "VQQnKfXtZ16NHnOmdJAy0E92tVT_8fZZRGvnndBWXZLKFx_KItn1EA"  # as long and as odd as Google's are
PERIMETER = f"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: {UID}"
INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def read(answer: Any, status: int = 403) -> GoogleError:
    return GoogleError.read(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())


def api(message: str = "No.", status: str = "PERMISSION_DENIED", **more: Any) -> dict[str, Any]:
    return {"error": {"code": 403, "message": message, "status": status, **more}}


def test_an_api_s_answer() -> None:
    metadata = {"service": "sts.googleapis.com", "consumer": "projects/42", "permission": "a.b.c"}
    error = read(
        api("One. Two.", details=[{"@type": "x"}, {"@type": INFO, "reason": "WHY", "metadata": metadata}])
    )
    assert (error.code, error.reason, error.message) == ("PERMISSION_DENIED", "WHY", "One. Two.")
    assert (error.service, error.project, error.permission) == ("sts.googleapis.com", "42", "a.b.c")
    assert error.said == "(PERMISSION_DENIED, WHY: One. Two.)"


@for_each(
    ("answer", "code", "reason"),
    [
        (api(errors=[{"domain": "global", "reason": "rateLimitExceeded", "message": "x"}]), "PERMISSION_DENIED", "rateLimitExceeded"),
        (api(errors=[{"reason": "old"}], details=[{"reason": "NEW"}]), "PERMISSION_DENIED", "NEW"),
        ([api(details=[{"reason": "WHY"}])], "PERMISSION_DENIED", "WHY"),
        (api(details=[{"reason": "WHY"}])["error"], "PERMISSION_DENIED", "WHY"),
        ({"error": "invalid_grant", "error_subtype": "invalid_rapt"}, "invalid_grant", "invalid_rapt"),
        ({"error": "access_denied", "error_description": "Account restricted"}, "access_denied", None),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>", "AccessDenied", "AccessDenied"),
        (api(details="x", errors=7), "PERMISSION_DENIED", None),
        (api(details=[None, 7, {"reason": 7}, {"reason": "a b"}]), "PERMISSION_DENIED", None),
    ],
)  # fmt: skip
def test_its_other_forms(answer: Any, code: str, reason: str | None) -> None:
    error = read(answer)
    assert (error.code, error.reason) == (code, reason)


@for_each(
    "answer", [b"", b"{", b"[]", b"[7]", b"7", b"null", b"{}", b'{"message": 7}', b"<html>No</html>", b"\xff", {"error": 7}]
)  # fmt: skip
def test_no_answer_of_googles(answer: Any) -> None:
    assert read(answer) == GoogleError(403, UNKNOWN)
    assert read(answer).said == "(unknown)"


@for_each(
    "answer",
    [
        api(PERIMETER),
        api("No.", details=[{"violations": [{"type": "VPC_SERVICE_CONTROLS", "description": UID}]}]),
        api("No.", details=[{"reason": "SECURITY_POLICY_VIOLATED", "metadata": {"uid": UID}}]),
        {"error": "access_denied", "error_description": PERIMETER},
        f"<Error><Code>SecurityPolicyViolated</Code><Message>x</Message><Details>{PERIMETER}</Details></Error>".encode(),
        api(f'vpcServiceControlsUniqueIdentifier: "{UID}"'),
    ],
)
def test_the_identifier_of_a_perimeter_s_refusal(answer: Any) -> None:
    assert read(answer).identifier == UID


@for_each("uid", ["short", "x" * 81, "a b" * 9, jwt({}), 7])
def test_what_is_no_identifier(uid: Any) -> None:
    error = read(api(details=[{"reason": "SECURITY_POLICY_VIOLATED", "metadata": {"uid": uid}}]))
    assert error.identifier is None


@for_each(
    "answer",
    [
        api("Constraint constraints/iam.disableCrossProjectServiceAccountUsage violated."),
        api(details=[{"violations": [{"type": "constraints/iam.disableCrossProjectServiceAccountUsage"}]}]),
        {"error": "x", "error_description": "by constraints/iam.disableCrossProjectServiceAccountUsage"},
    ],
)
def test_the_constraint_of_an_organization_s_policy(answer: Any) -> None:
    assert read(answer).constraint == "iam.disableCrossProjectServiceAccountUsage"


@for_each(
    ("error", "project"),
    [
        (GoogleError(403, metadata={"consumer": "projects/shop-prod"}), "shop-prod"),
        (GoogleError(403, metadata={"consumer": "project_number:42"}), "42"),
        (GoogleError(403, metadata={"containerInfo": "42"}), "42"),
        (GoogleError(403, message="permission to use project shop-prod. Grant it."), "shop-prod"),
        (GoogleError(403, message="disabled in projects/42."), "42"),
        (GoogleError(403, message="No."), None),
    ],
)
def test_the_project(error: GoogleError, project: str | None) -> None:
    assert error.project == project


TOKEN = jwt({"aud": "https://a", "email": "who@where.example"})
HIDING_PLACES = (
    api,
    lambda secret: api(status=secret),
    lambda secret: api(
        details=[{"reason": secret, "metadata": {secret: secret, "permission": secret, "uid": secret}}]
    ),
    lambda secret: api(details=[{"violations": [{"type": secret, "description": secret}]}]),
    lambda secret: api(errors=[{"reason": secret, "message": secret}]),
    lambda secret: {"error": secret, "error_description": secret, "error_subtype": secret},
    lambda secret: f"<Code>{secret}</Code><Message>{secret}</Message>".encode(),
    lambda secret: f"<Code>No</Code><Message>{secret}</Message>".encode(),
    lambda secret: {"message": secret, "status": secret},
)


@for_each("place", HIDING_PLACES, ids=range(len(HIDING_PLACES)))
def test_a_token_is_never_kept(place: Any) -> None:
    kept = repr(read(place(TOKEN)))
    assert not any(part in kept for part in TOKEN.split("."))


@given(
    st.binary()
    | st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "details", "errors", "reason", "message", "metadata", "violations", "type"]
                ),
                inner,
            )
        ),
    )
)
def test_any_answer_can_be_read(answer: Any) -> None:
    said = read(answer).said
    assert said.isascii()
    assert said.isprintable()
