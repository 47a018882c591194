"""One rule of one listener: who is checked, what is counted, and what is asked anew."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine

import pytest
import yaml

from idtoken_proxy.errors import NotInvoker, Unauthenticated
from idtoken_proxy.policy.headers import NO_TOKEN, TokenLines
from idtoken_proxy.receive.admission import strip_asserted
from tests.receive.forged import GOOGLE, ISSUER, OTHERS, bearer
from tests.receive.inbound import admission_of, fake_clock, judge_of, lines_of, request_with
from tests.receive.signing import STRANGER, claims_of


def test_on_a_public_path_nobody_is_asked_and_no_token_is_looked_at() -> None:
    admission, counts = admission_of(judge_of(fake_clock()), None)
    assert admission.lines_for(request_with("Authorization: Bearer of.somebody.else")) is NO_TOKEN
    assert (counts.public, counts.admitted) == (1, 0)


def test_the_second_time_no_signature_is_checked() -> None:
    clock = fake_clock()
    judge = judge_of(clock)
    admission, _ = admission_of(judge)
    fields = bearer(GOOGLE.token(claims_of()))
    first = admission.lines_for(request_with(*fields))
    assert admission.lines_for(request_with(*fields)) is first  # the same lines, made once
    clock.pass_(3600 + 31)
    with pytest.raises(Unauthenticated, match="expired"):
        admission.lines_for(request_with(*fields))


def test_who_is_known_by_one_rule_is_judged_by_another_for_itself() -> None:
    judge = judge_of(fake_clock())
    admission, _ = admission_of(judge)
    others, counts = admission_of(judge, frozenset({"user:boss@example.com"}))
    fields = bearer(GOOGLE.token(claims_of()))
    lines_of(admission, *fields)
    with pytest.raises(NotInvoker, match=r"serviceAccount:login@.* is no invoker") as refused:
        others.lines_for(request_with(*fields))
    assert refused.value.remedy is not None
    assert "invokers: [serviceAccount:login@my-project.iam.gserviceaccount.com]" in refused.value.remedy
    assert counts.refused == {"not_invoker": 1}


def test_a_caller_without_an_email_is_shown_how_to_be_listed() -> None:
    admission, _ = admission_of(judge_of(fake_clock()))
    with pytest.raises(NotInvoker) as refused:
        lines_of(admission, *bearer(GOOGLE.token(claims_of(email=None, email_verified=None))))
    assert '{principal: "112233445566778899", issuer: "google"}' in (refused.value.remedy or "")


def test_a_subject_with_quotes_stays_one_string_of_the_remedy() -> None:
    admission, _ = admission_of(judge_of(fake_clock()))
    subject = 'x",issuer:"google"},"allUsers'
    with pytest.raises(NotInvoker) as refused:
        lines_of(admission, *bearer(OTHERS.token(claims_of(iss=ISSUER, sub=subject))))
    (listed,) = re.findall(r"invokers: (\[.*\]);", refused.value.remedy or "")
    assert yaml.safe_load(listed) == [{"principal": subject, "issuer": ISSUER}]


def test_strangers_push_nobody_out_of_what_is_remembered() -> None:
    judge = judge_of(fake_clock())
    admission, _ = admission_of(judge)
    for number in range(20):
        with pytest.raises(NotInvoker):
            lines_of(admission, *bearer(GOOGLE.token(claims_of(email=STRANGER, sub=str(number)))))
    assert len(judge.verified) == 0


async def test_for_a_key_that_nobody_knows_its_issuer_is_asked_and_no_thread_for_any_other() -> None:
    clock = fake_clock()
    judge = await asyncio.to_thread(judge_of, clock)
    clock.pass_(61)
    admission, counts = admission_of(judge)
    token = GOOGLE.token(claims_of(), {"kid": "google-9"})
    waits = admission.lines_for(request_with(*bearer(token)))
    assert isinstance(waits, Coroutine)
    with pytest.raises(Unauthenticated, match="no key of the name"):
        await waits
    for _ in range(3):  # for a minute
        with pytest.raises(Unauthenticated, match="no key of the name"):
            admission.lines_for(request_with(*bearer(token)))
    assert counts.refused == {"unknown_key": 4}
    assert isinstance(admission.lines_for(request_with(*bearer(GOOGLE.token(claims_of())))), TokenLines)


def test_what_was_said_of_the_caller_goes_once_and_twice() -> None:
    request = request_with(
        "X-Goog-Authenticated-User-Email: a", "x_goog_authenticated_user_id: b", "X-Other: c"
    )
    for _ in range(2):
        strip_asserted(request)
        assert request.passing == [b"X-Other: c\r\n"]
