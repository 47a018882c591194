from __future__ import annotations

import json

from idtoken_proxy.emulator.refusals import (
    UNIQUE_IDENTIFIER,
    ApiRefusal,
    OAuthRefusal,
    consumer_suspended,
    organization_policy,
    perimeter,
    permission_denied,
    quota_project_denied,
    service_disabled,
    unauthenticated,
)


def test_a_denied_permission_is_told_in_googles_words() -> None:
    response = permission_denied("iam.serviceAccounts.getOpenIdToken").response()
    assert (response.status, response.content_type) == (403, "application/json")
    assert json.loads(str(response.text)) == {
        "error": {
            "code": 403,
            "message": (
                "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist)."
            ),
            "status": "PERMISSION_DENIED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "IAM_PERMISSION_DENIED",
                    "domain": "iam.googleapis.com",
                    "metadata": {"permission": "iam.serviceAccounts.getOpenIdToken"},
                }
            ],
        }
    }


def test_a_disabled_api_says_where_it_is_enabled() -> None:
    url = "https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=1"
    error = service_disabled("1").answer["error"]
    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    assert error["message"].startswith(
        "IAM Service Account Credentials API has not been used in project 1 before or it is disabled."
        f" Enable it by visiting {url} then retry."
    )
    info, localized, activation = error["details"]
    assert info == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {
            "activationUrl": url,
            "consumer": "projects/1",
            "containerInfo": "1",
            "service": "iamcredentials.googleapis.com",
            "serviceTitle": "IAM Service Account Credentials API",
        },
    }
    assert localized["message"] == error["message"]
    assert [link["url"] for link in activation["links"]] == [url]


def test_no_details_are_no_key() -> None:
    assert ApiRefusal(400, "x").answer == {
        "error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}
    }
    assert unauthenticated().answer["error"]["status"] == "UNAUTHENTICATED"


def test_apis_indent_their_json_as_googles_do() -> None:
    assert str(ApiRefusal(404, "x").response().text).startswith('{\n  "error": {\n    "code": 404,\n')


def test_a_token_endpoints_refusal_is_flat() -> None:
    refusal = OAuthRefusal("invalid_grant", "Bad Request", error_subtype="invalid_rapt")
    response = refusal.response()
    assert response.status == 400
    assert json.loads(str(response.text)) == {
        "error": "invalid_grant",
        "error_description": "Bad Request",
        "error_subtype": "invalid_rapt",
    }
    assert str(refusal) == "Bad Request"


def test_a_perimeter_says_its_identifier_in_three_places() -> None:
    error = perimeter("1").answer["error"]
    assert error["message"].endswith(f"vpcServiceControlsUniqueIdentifier: {UNIQUE_IDENTIFIER}")
    failure, info = error["details"]
    assert failure["violations"] == [{"type": "VPC_SERVICE_CONTROLS", "description": UNIQUE_IDENTIFIER}]
    assert (info["reason"], info["metadata"]["uid"]) == ("SECURITY_POLICY_VIOLATED", UNIQUE_IDENTIFIER)


def test_each_reason_is_told_with_its_project() -> None:
    for refusal, reason in (
        (quota_project_denied("7"), "USER_PROJECT_DENIED"),
        (consumer_suspended("7"), "CONSUMER_SUSPENDED"),
    ):
        [info] = refusal.answer["error"]["details"]
        assert (info["reason"], info["metadata"]["consumer"]) == (reason, "projects/7")
    [failure] = organization_policy("7").answer["error"]["details"]
    assert failure["violations"][0]["type"].startswith("constraints/iam.")
