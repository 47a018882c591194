from __future__ import annotations

import pytest

from idtoken_proxy.settings.invokers import invoker, issuer, issuer_named_by, path_rules, who
from tests.cases import for_each

SA = "login@my-project.iam.gserviceaccount.com"


@for_each(
    ("said", "member"),
    [
        (f"serviceAccount:{SA}", f"serviceAccount:{SA}"),
        ("serviceAccount:1234-compute@developer.gserviceaccount.com",) * 2,
        ("user:Ann@Example.com", "user:ann@example.com"),
        ("domain:Example.com", "domain:example.com"),
        ("allUsers", "allUsers"),
        (
            {"principal": "spiffe://example.com/login", "issuer": "https://issuer.example.com"},
            "principal:https://issuer.example.com spiffe://example.com/login",
        ),
        ({"principal": 112233, "issuer": "google"}, "principal:google 112233"),
    ],
)
def test_who_may_be_listed(said: object, member: str) -> None:
    assert invoker(said) == member


@for_each(
    ("said", "told"),
    [
        ("allAuthenticatedUsers", "which is anybody"),
        ("group:team@example.com", "is in no token"),
        ("principal://iam.googleapis.com/projects/1/x", "is written as its two parts"),
        ("principalSet://iam.googleapis.com/projects/1/x", "is no single principal"),
        (SA, f"write serviceAccount:{SA}"),
        ("ann@example.com", "write user:ann@example.com"),
        ("user:" + SA, f"write serviceAccount:{SA}"),
        ("serviceAccount:ann@example.com", "write user:ann@example.com"),
        ("serviceaccount:" + SA, "must be serviceAccount:EMAIL"),
        ("domain:*", "must name a domain"),
        ("domain:example", "must name a domain"),
        ("user:ann", "must name an account by its email"),
        ("*", "must be serviceAccount:EMAIL"),
        (7, "must be"),
        ({"principal": "x"}, "has two keys"),
        ({"principal": "a b", "issuer": "google"}, "printable ASCII"),
        ({"principal": "x", "issuer": "http://issuer.example.com"}, "in the clear"),
        ({"principal": "x", "issuer": "google", "aud": "y"}, "has two keys"),
    ],
)
def test_who_may_not(said: object, told: str) -> None:
    with pytest.raises(ValueError, match=r".*") as error:
        invoker(said)
    assert told in str(error.value)


def test_everybody_is_said_in_words_and_alone() -> None:
    assert who(["allUsers"]) is None
    assert who(["user:a@example.com"]) == frozenset({"user:a@example.com"})
    with pytest.raises(ValueError, match="beside everybody"):
        who(["allUsers", "user:a@example.com"])


@for_each("said", ["google", "iap", "https://issuer.example.com/pool/", "http://127.0.0.1:8000"])
def test_issuers(said: str) -> None:
    assert issuer(said) == said
    assert issuer_named_by(f"principal:{said} x") == said
    assert issuer_named_by("user:a@example.com") is None


@for_each(
    "said",
    [
        "https://accounts.google.com",
        "accounts.google.com",
        "https://cloud.google.com/iap",
        "http://a.example",
        "gcp",
    ],
)
def test_what_is_no_issuer(said: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        issuer(said)


def test_paths() -> None:
    assert path_rules({"/healthz": "public", "/admin/": ["user:boss@example.com"]}) == {
        "/healthz": None,
        "/admin": {"user:boss@example.com"},
    }


@for_each(
    ("said", "told"),
    [
        ([], "must be a mapping"),
        ({"/": "public"}, "whose rule is invokers"),
        ({"healthz": "public"}, "must begin with"),
        ({"/a/../b": "public"}, "segments"),
        ({"/a%2fb": "public"}, "percent-escapes"),
        ({"/a": "open"}, "must be public, or a list"),
        ({"/a": []}, "must be public, or a list"),
        ({"/a": ["nobody"]}, "must be serviceAccount:EMAIL"),
        ({"/a": "public", "/a/": "public"}, "is there twice"),
        ({1: "public"}, "must"),
    ],
)
def test_what_is_no_path(said: object, told: str) -> None:
    with pytest.raises(ValueError, match=r".+") as error:
        path_rules(said)
    assert told in str(error.value)
