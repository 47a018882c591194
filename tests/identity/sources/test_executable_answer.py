from __future__ import annotations

import json
from typing import Any

import pytest

from idtoken_proxy.identity.sources.executable_answer import (
    SubjectToken,
    Unsuccessful,
    Unusable,
    subject_token,
)
from tests.cases import for_each

NOW = 1_800_000_000.0
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
GOOD: dict[str, Any] = {
    "version": 1,
    "success": True,
    "token_type": ID_TOKEN,
    "id_token": "SENTINEL",
    "expiration_time": int(NOW) + 60,
}


def read(*, kept: bool = False, **changed: Any) -> SubjectToken:
    """`...` takes a key away."""
    said = {key: value for key, value in (GOOD | changed).items() if value is not ...}
    return subject_token(json.dumps(said), NOW, kept=kept)


@for_each(
    ("changed", "expires_at"),
    [
        ({}, NOW + 60),
        ({"token_type": "urn:ietf:params:oauth:token-type:jwt"}, NOW + 60),
        ({"token_type": "urn:ietf:params:oauth:token-type:saml2", "saml_response": "SENTINEL"}, NOW + 60),
        ({"expiration_time": ...}, None),
        ({"expiration_time": NOW + 0.5}, NOW + 0.5),
        ({"more": "than is known"}, NOW + 60),
    ],
    ids=range(6),
)
def test_a_token(changed: dict[str, Any], expires_at: float | None) -> None:
    found = read(**changed)
    assert (found.value, found.expires_at) == ("SENTINEL", expires_at)
    assert "SENTINEL" not in repr(found)


def refused(text: str, *, kept: bool = False) -> str:
    with pytest.raises(Unusable) as caught:
        subject_token(text, NOW, kept=kept)
    assert "SENTINEL" not in f"{caught.value}{caught.value.what}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.what


@for_each(
    ("text", "what"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("SENTINEL", "is not JSON"),
        ('{"id_token": "SENTINEL', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('["SENTINEL"]', "is no JSON object"),
        ("null", "is no JSON object"),
    ],
    ids=range(7),
)
def test_what_is_no_answer(text: str, what: str) -> None:
    assert refused(text) == what


@for_each(
    ("changed", "what"),
    [
        ({"version": ...}, "has no version"),
        ({"version": True}, "has a version that is no number"),
        ({"version": "SENTINEL"}, "has a version that is no number"),
        ({"version": 2}, "is of version 2, of which nothing is known here (only 1)"),
        ({"version": 0}, "is of version 0, of which nothing is known here (only 1)"),
        ({"version": 10**40}, "is of version out of range, of which nothing is known here (only 1)"),
        ({"success": ...}, "does not say whether it succeeded (success: true or false)"),
        ({"success": "SENTINEL"}, "does not say whether it succeeded (success: true or false)"),
        ({"token_type": ...}, "has no token_type"),
        ({"id_token": ...}, "has no id_token, which its token_type asks for"),
        ({"id_token": 7}, "has no id_token, which its token_type asks for"),
        (
            {"token_type": "urn:ietf:params:oauth:token-type:saml2"},
            "has no saml_response, which its token_type asks for",
        ),
        ({"expiration_time": int(NOW)}, "holds a token that expired 0 s ago"),
        ({"expiration_time": NOW - 90}, "holds a token that expired 90 s ago"),
        ({"expiration_time": "SENTINEL"}, "has an expiration_time that is no number (Unix seconds)"),
        ({"expiration_time": True}, "has an expiration_time that is no number (Unix seconds)"),
        ({"expiration_time": float("nan")}, "has an expiration_time that is no number (Unix seconds)"),
        ({"expiration_time": float("-inf")}, "has an expiration_time that is no number (Unix seconds)"),
    ],
    ids=range(18),
)
def test_what_is_missing_or_wrong(changed: dict[str, Any], what: str) -> None:
    said = {key: value for key, value in (GOOD | changed).items() if value is not ...}
    assert refused(json.dumps(said)) == what


@for_each("kind", ["SENTINEL", 7, ["SENTINEL"], {"a": "SENTINEL"}])
def test_a_type_that_is_not_known(kind: object) -> None:
    what = refused(json.dumps(GOOD | {"token_type": kind}))
    assert what.startswith("has a token_type that is none of ")
    assert ID_TOKEN in what


def test_what_is_kept_must_say_when_it_expires() -> None:
    said = {key: value for key, value in GOOD.items() if key != "expiration_time"}
    assert refused(json.dumps(said), kept=True) == "has no expiration_time, which output_file asks for"


@for_each(
    ("answer", "said"),
    [
        ({"code": "401", "message": "Caller not authorized."}, "401: Caller not authorized."),
        ({"code": 401, "message": "No."}, "401: No."),
        ({"message": "No."}, "No."),
        ({"code": "LDAP_DOWN"}, "LDAP_DOWN"),
        ({}, "neither code nor message"),
        ({"code": True, "message": ["x"]}, "neither code nor message"),
        ({"code": "a b", "message": "No."}, "No."),
        ({"message": "one\n\x1b[31mtwo\u202e"}, "one [31mtwo"),
        ({"message": f"was {'aB3' * 30}, no"}, "was ..., no"),
        (
            {"code": "7", "message": "login with password=SENTINEL failed"},
            "7: (its message is not shown: it holds a document with a secret in it)",
        ),
        ({"code": "ya29.abcdef", "message": "No."}, "No."),
        (
            {"message": "tried ya29.SENTINEL"},
            "(its message is not shown: it holds an access token)",
        ),
        ({"message": "word " * 100}, "word " * 47 + "..."),
    ],
    ids=range(13),
)
def test_its_own_refusal(answer: dict[str, Any], said: str) -> None:
    with pytest.raises(Unsuccessful) as caught:
        subject_token(json.dumps({"version": 1, "success": False} | answer), NOW, kept=True)
    assert caught.value.said == said
