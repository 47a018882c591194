from __future__ import annotations

from idtoken_proxy.emulator.federation import Aws
from idtoken_proxy.emulator.world import ANY_ACCOUNT, ANYONE, DEMO, Account
from tests.emulator.conftest import DEV, INDEXER, LOGIN, WORLD


def test_the_demo_tells_googles_story() -> None:
    services = {service.name: service for service in DEMO.services}
    login = DEMO.account("login")
    assert login is not None
    assert login is DEMO.default_account
    assert login.is_among(services["user-profiles"].invokers)
    assert not login.is_among(services["search"].invokers)
    assert not any(service.is_public for service in DEMO.services)
    indexer, developer = DEMO.account("search-indexer"), DEMO.account("developer")
    assert indexer is not None
    assert developer is not None
    assert login.is_among(indexer.token_creators)
    assert developer.is_among(login.token_creators)
    assert not developer.is_service_account


def test_workloads_outside_may_be_the_demos_login() -> None:
    login = DEMO.accounts[0]
    for provider in DEMO.providers:
        trusts = provider.trusts
        if isinstance(trusts, Aws):
            principal = provider.aws_principal(DEMO.number, trusts)
        else:
            principal = provider.principal(DEMO.number, dict(trusts.workload))
        assert principal.is_among(login.token_creators)


def test_an_account_is_found_by_name_email_subject_and_as_default() -> None:
    assert WORLD.account("login") is WORLD.account(LOGIN.email) is WORLD.account("default") is LOGIN
    assert WORLD.account_of_subject(INDEXER.subject) is INDEXER
    assert WORLD.account("nobody") is None
    assert WORLD.account_of_subject("1") is None


def test_members_tell_users_and_service_accounts_apart() -> None:
    assert LOGIN.member == f"serviceAccount:{LOGIN.email}"
    assert DEV.member == "user:dev@example.com"


def test_a_subject_is_21_digits_and_stays() -> None:
    assert LOGIN.subject == Account(LOGIN.email).subject
    assert len(LOGIN.subject) == 21
    assert LOGIN.subject.isdigit()
    assert LOGIN.subject != INDEXER.subject


def test_groups_of_members_hold_everyone() -> None:
    assert LOGIN.is_among(frozenset({ANYONE}))
    assert LOGIN.is_among(frozenset({ANY_ACCOUNT}))
    assert not LOGIN.is_among(frozenset())
