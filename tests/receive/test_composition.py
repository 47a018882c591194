"""What of the settings holds before an app, and what is the forward path's alone."""

from __future__ import annotations

from dataclasses import replace

from idtoken_proxy.engine.pool import Pool
from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.receive.composition import Reception, all_issuers, reception_of
from idtoken_proxy.receive.issuer_keys import IssuerKeys
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import GuardSettings, Route, Settings
from tests.receive.inbound import settings_text

SETTINGS = settings_from_text(
    settings_text(3000, 3001, paths="{/healthz: public, /admin: ['user:boss@example.com']}"), "proxy.yaml", {}
)


def composed(settings: Settings) -> Reception:
    sweeper = Sweeper(60.0)

    def pool_of(route: Route) -> Pool:
        return Pool(route.upstream, sweeper, tls=None, keepalive=1.0, connect=1.0)

    return reception_of(settings.receive[0], settings, IssuerKeys(), pool_of, Stats(), None)


async def test_each_rule_is_an_entry_that_checks_and_counts_as_one() -> None:
    reception = composed(SETTINGS)
    entries = reception.router.entries
    assert [entry.route.path for entry in entries] == ["/", "/healthz", "/admin"]
    assert all(
        entry.admission is not None and entry.slot is None and entry.route.receives for entry in entries
    )
    assert len({id(entry.counts) for entry in entries}) == 1
    assert all(entry.shared for entry in entries)
    assert {entry.route.name for entry in entries} == {"receive 127.0.0.1:0"}


async def test_the_forward_path_s_guard_is_not_asked_and_its_pages_are_not_let_in() -> None:
    guard = GuardSettings(("proxy.example",), ("http://page.example",), caller_token_file="/secret")
    router = composed(replace(SETTINGS, guard=guard)).router
    assert not router.cross_origin
    assert router.settings.guard == GuardSettings()
    assert not router.settings.rewrite.origin  # or an app could not tell whose page asks
    assert router.patience == 0


async def test_another_list_of_invokers_grants_something_else() -> None:
    text = settings_text(3000, 3001, invokers="[allUsers]")
    other = composed(settings_from_text(text, "proxy.yaml", {})).router
    assert not other.grants_as(composed(SETTINGS).router)
    assert composed(SETTINGS).router.grants_as(composed(SETTINGS).router)


def test_the_issuers_of_all_listeners() -> None:
    assert [issuer.name for issuer in all_issuers(SETTINGS)] == ["google", "iap"]
    assert {issuer.keys_url for issuer in all_issuers(SETTINGS)} == {"http://127.0.0.1:3001/certs"}
