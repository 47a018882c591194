from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.identity.redaction import LONGEST, redacted
from tests.cases import for_each
from tests.identity.fakes import jwt


@for_each(
    ("text", "shown"),
    [
        ("", ""),
        ("Bad Request", "Bad Request"),
        (f"token {jwt({})} is bad", "token ... is bad"),
        ("a" * 47, "a" * 47),
        ("a" * 48, "..."),
        ("a\r\nSet-Cookie: b\x1b[31m\x00\u202e", "a Set-Cookie: b [31m"),
        ("word " * 100, "word " * 47 + "..."),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


@given(st.text())
def test_always_one_short_line(text: str) -> None:
    shown = redacted(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= LONGEST


UID = "VQQnKfXtZ16NHnOmdJAy0E92tVT_8fZZRGvnndBWXZLKFx_KItn1EA"
DISABLED = (
    "IAM Service Account Credentials API has not been used in project 123456789012 before or it is disabled. Enable it by "
    "visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=123456789012 "
    "then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry."
)


@for_each(
    "text",
    [
        f"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: {UID}",
        f'{{"vpcServiceControlsUniqueIdentifier": "{UID}"}}',
        f"vpcServiceControlsUniqueIdentifier: {UID}.",
        "projects/123456789012/locations/global/workloadIdentityPools/github/providers/my-provider",
        "Permission denied on projects/-/serviceAccounts/login-of-the-profiles@shop-prod-428917.iam.gserviceaccount.com.",
        "https://console.cloud.google.com/apis/library/iamcredentials.googleapis.com",
        "for https://profiles-of-users-x7f3kq2abc-ew.a.run.app/v1/things",
    ],
)
def test_what_mends_is_shown(text: str) -> None:
    assert redacted(text) == text


@for_each(
    "secret",
    [
        jwt({"aud": "https://a"}),
        jwt({"aud": "https://a"}).rpartition(".")[0] + "." + UID,
        "ya29." + "aB3dE" * 12,
        UID,
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj/MSfjO",
        "0123456789abcdef" * 4,
        "https-" + "x" * 60,
    ],
)
@for_each("around", ["{}", "token={}", "https://a.example/{}", "it: {}."])
def test_what_may_be_a_token_is_not(secret: str, around: str) -> None:
    assert secret not in redacted(around.format(secret))


@for_each("secret", [jwt({"aud": "https://a"}), "ya29." + "aB3dE" * 12, "a" * 81, "ab/+" * 14])
def test_nothing_else_hides_behind_an_identifier(secret: str) -> None:
    assert secret not in redacted(f"vpcServiceControlsUniqueIdentifier: {secret}.")


def test_what_is_too_long_ends_with_a_sentence() -> None:
    assert redacted(DISABLED).endswith("or it is disabled.")
    assert redacted(DISABLED, 400) == DISABLED
    assert redacted("Dr. " + "word " * 100).endswith("word ...")
