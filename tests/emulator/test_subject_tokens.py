from __future__ import annotations

import datetime as dt
import json
import urllib.parse
from typing import Any

import pytest
from google.auth import aws, jwt

from idtoken_proxy.emulator.federation import Aws, Federated, Oidc, Provider
from idtoken_proxy.emulator.keys import Keys, SigningKey
from idtoken_proxy.emulator.refusals import OAuthRefusal
from idtoken_proxy.emulator.subject_tokens import TARGET, Exchange, holder_of_aws_keys, holder_of_jwt
from tests.cases import for_each
from tests.emulator.conftest import stranger

NOW = 1_800_000_000
OIDC = Oidc("https://issuer.example.com")
AWS = Aws("111122223333", "web", "eu-west-1")
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x"


def exchange(trusts: Oidc | Aws) -> Exchange:
    return Exchange(Provider("p", "x", trusts), "1", NOW)


def signed(key: SigningKey, **claims: Any) -> str:
    good = {
        "iss": OIDC.issuer,
        "sub": "octo",
        "aud": f"https:{AUDIENCE}",
        "iat": NOW,
        "exp": NOW + 600,
    }
    token: bytes = jwt.encode(key.signer, good | claims)  # type: ignore[no-untyped-call]
    return token.decode()


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": AUDIENCE},
        {"iat": NOW + 300, "exp": NOW + 600},
        {"iat": NOW - 600, "exp": NOW - 299},
        {"exp": NOW + 24 * 3600},
    ],
    ids=["plain", "audience without https:", "from the near future", "just run out", "a day long"],
)
def test_a_good_id_token_names_its_holder(keys: Keys, claims: dict[str, Any]) -> None:
    token = signed(keys.of(OIDC.issuer), **claims)
    assert holder_of_jwt(token, OIDC, exchange(OIDC), keys).subject == "octo"


def test_a_providers_own_audiences_and_keys_are_the_ones_that_count(keys: Keys) -> None:
    oidc = Oidc(OIDC.issuer, ("api://a", "api://b"), ((stranger().kid, stranger().certificate),))
    assert holder_of_jwt(signed(stranger(), aud="api://a"), oidc, exchange(oidc), keys).subject == "octo"
    for token in (signed(stranger()), signed(keys.of(OIDC.issuer), aud="api://a")):
        with pytest.raises(OAuthRefusal):
            holder_of_jwt(token, oidc, exchange(oidc), keys)


@for_each(
    ("claims", "error", "said"),
    [
        ({"iss": "https://x"}, "invalid_grant", "The issuer in ID Token https://x does not match"),
        (
            {"aud": "https://x"},
            "invalid_grant",
            f"[https://x] does not match the expected audience https:{AUDIENCE}.",
        ),
        ({"exp": NOW - 300}, "invalid_grant", f"ID Token issued at {NOW} is stale to sign-in."),
        ({"iat": NOW + 301}, "invalid_grant", "not in a reasonable timeframe"),
        ({"exp": NOW + 24 * 3600 + 1}, "invalid_grant", "not in a reasonable timeframe"),
        ({"iat": "now"}, "invalid_grant", "signature could not be verified"),
        ({"sub": ""}, "invalid_grant", "'google.subject' must be a non-empty string"),
    ],
)
def test_what_is_wrong_with_an_id_token_is_said(
    keys: Keys, claims: dict[str, Any], error: str, said: str
) -> None:
    with pytest.raises(OAuthRefusal) as raised:
        holder_of_jwt(signed(keys.of(OIDC.issuer), **claims), OIDC, exchange(OIDC), keys)
    assert raised.value.answer["error"] == error
    assert said in raised.value.answer["error_description"]


def test_anothers_signature_is_none(keys: Keys) -> None:
    keys.of(OIDC.issuer)
    with pytest.raises(OAuthRefusal, match="signature could not be verified"):
        holder_of_jwt(signed(stranger()), OIDC, exchange(OIDC), keys)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ya29.opaque"])
def test_what_is_no_jwt_is_an_invalid_request(keys: Keys, token: str) -> None:
    with pytest.raises(OAuthRefusal, match="Unable to parse") as raised:
        holder_of_jwt(token, OIDC, exchange(OIDC), keys)
    assert raised.value.answer["error"] == "invalid_request"


# -- AWS -----------------------------------------------------------------------


def request(**changes: Any) -> dict[str, Any]:
    """A GetCallerIdentity request, signed by google-auth at this moment of the machine's clock."""
    credentials = aws.AwsSecurityCredentials(
        changes.get("access_key_id", AWS.access_key_id),
        changes.get("secret_access_key", AWS.secret_access_key),
        changes.get("session_token", AWS.session_token),
    )
    url = changes.get(
        "url", "https://sts.eu-west-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    )
    signer = aws.RequestSigner("eu-west-1")  # type: ignore[no-untyped-call]
    made: dict[str, Any] = signer.get_request_options(  # type: ignore[no-untyped-call]
        credentials, url, changes.get("method", "POST"), additional_headers=changes.get("additional", {})
    )
    made["headers"].setdefault(TARGET, AUDIENCE)
    made["headers"] |= changes.get("headers", {})
    return made


def serialized(made: dict[str, Any]) -> str:
    headers = [{"key": name, "value": value} for name, value in made["headers"].items() if value is not None]
    return urllib.parse.quote(json.dumps(made | {"headers": headers}))


def holder(made: dict[str, Any]) -> Federated:
    now = signed_at(made) if "x-amz-date" in made["headers"] else NOW
    return holder_of_aws_keys(serialized(made), AWS, Exchange(Provider("p", "x", AWS), "1", now))


def signed_at(made: dict[str, Any]) -> float:
    at = dt.datetime.strptime(made["headers"]["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    return at.timestamp()


@for_each(
    "made",
    [
        {},
        {"url": "https://sts.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"},
        {"additional": {TARGET: AUDIENCE}},
        {"headers": {TARGET: f"https:{AUDIENCE}"}},
    ],
    ids=["as Python does it", "global endpoint", "target signed too", "target with https:"],
)
def test_a_signed_request_names_its_signer(made: dict[str, Any]) -> None:
    assert holder(request(**made)).subject == AWS.arn


DENIED = "Received invalid AWS response of type"
NO_SIGNATURE = "not signed with Signature Version 4"


@for_each(
    ("made", "error", "said"),
    [
        (
            {"url": "https://sts.evil.com?Action=GetCallerIdentity&Version=2011-06-15"},
            "invalid_request",
            "URL is not",
        ),
        (
            {"url": "https://sts.amazonaws.com?Action=GetUser&Version=2011-06-15"},
            "invalid_request",
            "URL is not",
        ),
        ({"method": "GET"}, "invalid_request", "method is not POST"),
        ({"headers": {TARGET: None}}, "invalid_grant", "does not name the requested audience"),
        ({"headers": {TARGET: "//x"}}, "invalid_grant", "does not name the requested audience"),
        ({"headers": {"Authorization": None}}, "invalid_request", NO_SIGNATURE),
        ({"headers": {"Authorization": "AWS4-HMAC-SHA256 x"}}, "invalid_request", NO_SIGNATURE),
        ({"additional": {"date": "x"}}, "invalid_request", NO_SIGNATURE),
        ({"access_key_id": "ASIAANOTHERS"}, "invalid_grant", f"{DENIED} InvalidClientTokenId"),
        ({"session_token": "another"}, "invalid_grant", f"{DENIED} InvalidClientTokenId"),
        ({"session_token": None}, "invalid_grant", f"{DENIED} InvalidClientTokenId"),
        ({"secret_access_key": "another"}, "invalid_grant", f"{DENIED} SignatureDoesNotMatch"),
        ({"headers": {"host": "sts.amazonaws.com"}}, "invalid_grant", f"{DENIED} SignatureDoesNotMatch"),
        (
            {"additional": {"x-a": "1"}, "headers": {"x-a": None}},
            "invalid_grant",
            f"{DENIED} SignatureDoesNotMatch",
        ),
    ],
)
def test_what_is_wrong_with_a_signed_request_is_said(made: dict[str, Any], error: str, said: str) -> None:
    with pytest.raises(OAuthRefusal) as raised:
        holder(request(**made))
    assert raised.value.answer["error"] == error
    assert said in raised.value.answer["error_description"]


@for_each(("apart", "fits"), [(900, True), (901, False), (-900, True), (-901, False)])
def test_a_signature_is_worth_a_quarter_of_an_hour(apart: int, *, fits: bool) -> None:
    made = request()
    moment = Exchange(Provider("p", "x", AWS), "1", signed_at(made) + apart)
    if fits:
        assert holder_of_aws_keys(serialized(made), AWS, moment).subject == AWS.arn
    else:
        with pytest.raises(OAuthRefusal, match="expired or not yet current"):
            holder_of_aws_keys(serialized(made), AWS, moment)


def test_a_date_that_is_none_is_no_signature() -> None:
    made = request()
    made["headers"]["x-amz-date"] = "today"
    with pytest.raises(OAuthRefusal, match="expired or not yet current"):
        holder_of_aws_keys(serialized(made), AWS, exchange(AWS))


@for_each("token", ["", "{", "[]", "3", '{"url": "x"}', '{"headers": [1], "url": "x"}'])
def test_what_is_no_serialized_request_is_an_invalid_request(token: str) -> None:
    with pytest.raises(OAuthRefusal, match="Invalid format of AWS credentials") as raised:
        holder_of_aws_keys(token, AWS, exchange(AWS))
    assert raised.value.answer["error"] == "invalid_request"
