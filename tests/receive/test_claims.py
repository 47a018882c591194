"""Who a token makes its caller, and the seconds at which it begins and ends."""

from __future__ import annotations

import pytest

from idtoken_proxy.errors import Unauthenticated
from idtoken_proxy.receive.claims import LEEWAY, member_of, principal_of
from idtoken_proxy.receive.issuers import issuer_of
from tests.cases import for_each
from tests.receive.signing import AUDIENCE, LOGIN, NOW, claims_of

GOOGLE, IAP = issuer_of("google"), issuer_of("iap")
CLUSTER = issuer_of("https://container.example.com/clusters/one")


def test_a_service_account_is_itself_and_its_subject_and_of_no_domain() -> None:
    found = principal_of(claims_of(hd="my-project.iam.gserviceaccount.com"), GOOGLE, {AUDIENCE}, NOW)
    assert found.members == {f"serviceAccount:{LOGIN}", member_of("google", "112233445566778899")}
    assert str(found) == f"serviceAccount:{LOGIN}"


def test_a_person_is_of_the_domain_that_google_says_and_not_of_the_address_s() -> None:
    person = claims_of(email="Ann@Example.com", hd="EXAMPLE.com", sub="7")
    assert principal_of(person, GOOGLE, {AUDIENCE}, NOW).members == {
        "user:ann@example.com",
        "domain:example.com",
        member_of("google", "7"),
    }
    del person["hd"]
    assert "domain:example.com" not in principal_of(person, GOOGLE, {AUDIENCE}, NOW).members


def test_a_subject_of_another_issuer_is_that_alone_whatever_it_says_of_its_email() -> None:
    claims = claims_of(sub="system:serviceaccount:shop:login", hd="example.com")
    found = principal_of(claims, CLUSTER, {AUDIENCE}, NOW)
    assert found.members == {f"principal:{CLUSTER.name} system:serviceaccount:shop:login"}
    assert (found.email, found.subject) == (
        None,
        "container.example.com/clusters/one:system:serviceaccount:shop:login",
    )
    assert str(found).startswith("the subject container.example.com")


def test_of_iap_emails_are_google_s_where_the_subject_is() -> None:
    claims = claims_of(sub="accounts.google.com:7", email="ann@example.com", email_verified=None)
    assert principal_of(claims, IAP, {AUDIENCE}, NOW).email == "ann@example.com"
    claims["sub"] = "securetoken.google.com/my-project/tenant:7"
    assert principal_of(claims, IAP, {AUDIENCE}, NOW).email is None


@for_each(
    ("changes", "good"),
    [
        ({"exp": NOW - LEEWAY + 1}, True),
        ({"exp": NOW - LEEWAY}, False),
        ({"iat": NOW + LEEWAY}, True),
        ({"iat": NOW + LEEWAY + 1}, False),
        ({"nbf": NOW + LEEWAY}, True),
        ({"nbf": NOW + LEEWAY + 1}, False),
        ({"nbf": NOW - 5}, True),
        ({"exp": 1e308}, True),
        ({"exp": 10**400}, False),
        ({"exp": None}, False),
        ({"nbf": "soon"}, False),
        ({"iat": False}, False),
    ],
)
def test_the_seconds_at_which_it_begins_and_ends(changes: dict[str, object], *, good: bool) -> None:
    claims = claims_of(**changes)
    if not good:
        with pytest.raises(Unauthenticated):
            principal_of(claims, GOOGLE, {AUDIENCE}, NOW)
        return
    assert principal_of(claims, GOOGLE, {AUDIENCE}, NOW).expires_at == claims["exp"] + LEEWAY
