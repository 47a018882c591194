"""Every token that is no good, before the judge alone; and those that are good."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.errors import NotInvoker, ProxyError, Unauthenticated
from idtoken_proxy.receive.issuers import issuer_of
from idtoken_proxy.receive.judge import Judge
from idtoken_proxy.receive.key_set import Fetched, KeySet
from idtoken_proxy.receive.verification_keys import VerificationKey
from tests.cases import for_each
from tests.receive.forged import FORGED, GOOGLE, IAP, ISSUER, OTHERS, bearer
from tests.receive.inbound import (
    admission_of,
    asked_in_vain,
    fake_clock,
    judge_of,
    lines_of,
    request_with,
)
from tests.receive.signing import AUDIENCE, LOGIN, NOW, Signer, claims_of, rsa_signer


def refusal_of(*fields: str) -> ProxyError:
    admission, _ = admission_of(JUDGE)
    with pytest.raises(ProxyError) as refused:
        lines_of(admission, *fields)
    return refused.value


def test_there_are_many_ways_to_be_no_good() -> None:
    assert len(FORGED) >= 100


@for_each("case", FORGED)
def test_no_forged_or_foreign_token_gets_in(case: str) -> None:
    make, status = FORGED[case]
    error = refusal_of(*make(float(NOW)))
    assert isinstance(error, Unauthenticated | NotInvoker)
    assert error.status == status, error.detail
    assert error.detail
    assert error.remedy


GOOD = {
    "a service account": claims_of(),
    "the issuer's other spelling": claims_of(iss="accounts.google.com"),
    "ours in a list": claims_of(aud=["https://other.example.com", AUDIENCE]),
    "ours alone in a list": claims_of(aud=[AUDIENCE]),
    "a clock that is 29 s ahead": claims_of(iat=NOW + 29, nbf=NOW + 29),
    "29 s past its end": claims_of(exp=NOW - 29),
    "an end with a fraction": claims_of(exp=NOW + 0.5),
    "no iat": claims_of(iat=None),
    "a person of the domain": claims_of(email="ann@example.com", hd="example.com", sub="7"),
    "and with another address": claims_of(email="ann@alias.example.net", hd="example.com", sub="7"),
    "an email in upper case": claims_of(email=LOGIN.upper()),
    "claims that nobody knows": claims_of(custom={"a": [1]}, at_hash="x"),
}


@for_each("case", GOOD)
def test_who_is_listed_gets_in(case: str) -> None:
    admission, counts = admission_of(JUDGE)
    for header in ("Authorization", "X-Serverless-Authorization"):
        assert lines_of(admission, *bearer(GOOGLE.token(GOOD[case]), header)).startswith(f"{header}: Bearer ")
    assert (counts.admitted, counts.refused) == (2, {})


def test_what_the_app_is_told() -> None:
    admission, _ = admission_of(JUDGE)
    token = GOOGLE.token(claims_of()).decode()
    assert lines_of(admission, f"Authorization: bearer {token}").splitlines() == [
        f"Authorization: Bearer {token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE",
        f"X-Goog-Authenticated-User-Email: accounts.google.com:{LOGIN}",
        "X-Goog-Authenticated-User-Id: accounts.google.com:112233445566778899",
    ]


def test_of_another_issuer_the_subject_alone() -> None:
    admission, _ = admission_of(JUDGE)
    token = OTHERS.token(claims_of(iss=ISSUER, sub="spiffe://example.com/login", email=LOGIN))
    lines = lines_of(admission, *bearer(token)).splitlines()
    assert lines[1:] == ["X-Goog-Authenticated-User-Id: issuer.example.com:spiffe://example.com/login"]


def test_iap_s_assertion_comes_before_any_token_and_its_subject_has_its_namespace() -> None:
    admission, _ = admission_of(JUDGE)
    claims = claims_of(
        iss="https://cloud.google.com/iap",
        sub="accounts.google.com:7",
        email="ann@example.com",
        hd="example.com",
    )
    del claims["email_verified"]  # which IAP does not say
    assertion = IAP.token(claims).decode()
    fields = (f"X-Goog-IAP-JWT-Assertion: {assertion}", "Authorization: Bearer the-app-s.own")
    assert lines_of(admission, *fields).splitlines() == [
        f"X-Goog-IAP-JWT-Assertion: {assertion}",
        "X-Goog-Authenticated-User-Email: accounts.google.com:ann@example.com",
        "X-Goog-Authenticated-User-Id: accounts.google.com:7",
    ]


def test_where_signatures_are_kept_the_app_has_the_token_as_it_came() -> None:
    admission, _ = admission_of(judge_of(fake_clock(), keep_signature=True))
    token = GOOGLE.token(claims_of())
    for header in ("Authorization", "X-Serverless-Authorization"):
        first, *others = lines_of(admission, *bearer(token, header)).splitlines()
        assert first == f"{header}: Bearer {token.decode()}"
        assert len(others) == 2


def test_where_iap_is_not_listed_its_header_says_nothing() -> None:
    admission, _ = admission_of(judge_of(fake_clock(), iap=False))
    token = GOOGLE.token(claims_of())
    assert lines_of(admission, "X-Goog-IAP-JWT-Assertion: x", *bearer(token)).startswith("Authorization")


def test_the_app_s_own_authorization_stays_where_the_token_came_beside_it() -> None:
    admission, _ = admission_of(JUDGE)
    token = GOOGLE.token(claims_of())
    beside = admission.lines_for(
        request_with(*bearer(token, "X-Serverless-Authorization"), "Authorization: Basic eDp5")
    )
    alone = admission.lines_for(request_with(*bearer(token)))
    assert getattr(beside, "keeps_authorization", None) is True
    assert getattr(alone, "keeps_authorization", None) is False


TOKEN = GOOGLE.token(claims_of())


@given(st.integers(0, len(TOKEN) - 1), st.integers(1, 255))
def test_whatever_octet_of_a_token_is_another_it_is_refused(at: int, mask: int) -> None:
    """In the last one of each part some bits mean nothing: base64url without them is demanded."""
    mutated = bytearray(TOKEN)
    mutated[at] ^= mask
    refuse(bytes(mutated))


JUDGE = judge_of(fake_clock())


def refuse(token: bytes) -> None:
    """As no parser would let it through, too."""
    request = request_with("Authorization: Bearer x")
    request.authorization = (b"Authorization: Bearer " + token + b"\r\n",)
    admission, _ = admission_of(JUDGE)
    with pytest.raises((Unauthenticated, NotInvoker)):
        admission.lines_for(request)


@pytest.mark.thorough
def test_each_octet_of_a_token_by_each_bit() -> None:
    for at in range(len(TOKEN)):
        for bit in range(8):
            mutated = bytearray(TOKEN)
            mutated[at] ^= 1 << bit
            refuse(bytes(mutated))


class Counted(VerificationKey):
    """`checks`: signatures that were looked at, whoever's."""

    checks = 0

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        Counted.checks += 1
        return super().verifies(signature, signed)


def test_a_made_up_token_costs_one_signature_check_at_most_and_most_cost_none() -> None:
    clock = fake_clock()
    google = issuer_of("google")
    public = GOOGLE.private.public_key()
    assert isinstance(public, RSAPublicKey)
    fetched = Fetched({GOOGLE.kid: Counted(GOOGLE.kid, public)}, 36_000.0)
    keys = KeySet("google", lambda: fetched, clock, lambda: None)
    keys.take(fetched)
    asyncio.run(asked_in_vain(keys))
    admission, _ = admission_of(Judge([(google, keys)], [AUDIENCE], clock))
    forged = Signer(GOOGLE.kid, rsa_signer("attacker-1").private)
    for checks, token in (
        (0, b"not.a.token"),
        (0, b"a" * 8000),
        (0, GOOGLE.token(b'{"a":' + b"[" * 2900 + b"]" * 2900 + b"}")),
        (0, GOOGLE.token(claims_of(), {"alg": "none"})),
        (0, GOOGLE.token(claims_of(iss=ISSUER))),
        (0, GOOGLE.token(claims_of(), {"kid": "made-up"})),
        (1, forged.token(claims_of())),
        (1, forged.token(claims_of())),  # nothing of it is remembered
        (1, GOOGLE.token(claims_of(exp=NOW - 60))),
        (1, GOOGLE.token(claims_of(email="stranger@example.org"))),
    ):
        Counted.checks = 0
        with pytest.raises((Unauthenticated, NotInvoker)):
            lines_of(admission, *bearer(token))
        assert Counted.checks == checks, token[:40]
    good = bearer(GOOGLE.token(claims_of()))
    Counted.checks = 0
    for _ in range(3):
        lines_of(admission, *good)
    assert Counted.checks == 1


def test_a_refusal_shows_neither_the_token_nor_more_than_a_line_of_it() -> None:
    long = GOOGLE.token(claims_of(aud="https://" + "a" * 2000 + ".example.com"))
    error = refusal_of(*bearer(long))
    assert len(error.detail) < 400
    assert long.decode()[:40] not in error.detail
