"""The text of a configuration: what is in it loads, and nothing of what it is from gets out of its comment."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import build
from idtoken_proxy.init.caller import Caller
from idtoken_proxy.init.configuration import as_text, comment, planned, scalar
from idtoken_proxy.init.receivers import Door, Receiver
from idtoken_proxy.settings.environment import substitute
from idtoken_proxy.settings.identities import (
    GcloudIdentity,
    ImpersonatedIdentity,
    NoIdentity,
    SignedJwtIdentity,
)
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import GoogleEndpoints, Settings
from idtoken_proxy.settings.yaml_lines import read_yaml
from tests.cases import for_each

ORDERS = Receiver(
    "orders", "Cloud Run service orders", "https://o-x-uc.a.run.app", "https://orders.example.com"
)
ADMIN = Receiver("admin", "Cloud Run service admin", "https://a-x-uc.a.run.app", door=Door.IAP)
ACCOUNT = "caller@p.iam.gserviceaccount.com"


OTHERS = ImpersonatedIdentity(ACCOUNT)


def caller(identity: Any = OTHERS, email: str | None = ACCOUNT, **said: Any) -> Caller:
    return Caller(identity, build(identity, GoogleEndpoints(), {}), "somebody", email, **said)


def loaded(*receivers: Receiver, by: Caller | None = None) -> Settings:
    by = by or caller()
    return settings_from_text(as_text(planned(receivers, by), by, ["a file"]), "proxy.yaml", {})


def test_each_receiver_has_a_name_of_its_own() -> None:
    orders, other = loaded(ORDERS, replace(ORDERS, name="other", audience="7")).routes
    assert (orders.name, orders.host, orders.audience) == (
        "orders",
        "orders.localhost",
        "https://orders.example.com",
    )
    assert str(orders.upstream) == "https://o-x-uc.a.run.app"
    assert orders.identity == ImpersonatedIdentity(ACCOUNT)
    assert other.audience == "7"


def test_a_single_one_takes_every_request() -> None:
    [only] = loaded(ORDERS).routes
    assert (only.host, only.path) == (None, "/")


def test_names_are_unique_in_an_app_s_variables_too() -> None:
    like = [
        replace(ORDERS, name=name, region="us-east1")
        for name in ("a-b", "a_b", "A-b", "idtoken-proxy", "x" * 63, "x" * 63)
    ]
    found = [route.name for route in loaded(*like).routes]
    assert found == [
        "a-b",
        "a_b-us-east1",
        "A-b-2",
        "idtoken-proxy-us-east1",
        "x" * 63,
        "x" * 54 + "-us-east1",
    ]


def test_an_open_one_gets_no_token_and_one_behind_iap_a_signed_jwt() -> None:
    admin, website = loaded(ADMIN, replace(ORDERS, name="w", door=Door.PUBLIC, audience=None)).routes
    assert admin.identity == SignedJwtIdentity(ACCOUNT)
    assert admin.audience == "https://a-x-uc.a.run.app/*"
    assert website.identity == NoIdentity()


def test_what_cannot_be_a_route_yet_is_a_comment_that_says_why() -> None:
    by = caller(GcloudIdentity(), "dev@example.com")
    text = as_text(planned([ORDERS, ADMIN], by), by, ["a file"])
    [orders] = settings_from_text(text, "proxy.yaml", {}).routes
    assert (orders.name, orders.host, orders.identity) == ("orders", None, GcloudIdentity())
    assert "  # Not a route yet: IAP takes JWTs of a service account alone" in text
    place = text.index("  # - name: admin")
    whole = text[:place] + re.sub("(?m)^  # ", "  ", text[place:]).replace("EMAIL", ACCOUNT)
    assert [one.name for one in settings_from_text(whole, "proxy.yaml", {}).routes] == ["orders", "admin"]


def test_why_there_is_no_token_yet_is_in_it() -> None:
    error = TokenError("nothing there", cause="x", fault=Fault.OPERATOR, remedy="log in")
    text = as_text(planned([ORDERS], caller()), caller(error=error), ["a file"])
    assert "# No token yet: nothing there\n# log in\n" in text


def test_a_comment_is_one_line_whatever_it_holds() -> None:
    assert comment("a\nroutes: []\x1b[2J\u2028b") == "# a\\x0aroutes: []\\x1b[2J\\u2028b"


@for_each(
    "value",
    ["true", "7", "1.5", "a: b", "a #b", "'", "${HOME}", "- a", "[x]", "~", "https://a.run.app/", "a:"],
)
def test_a_string_stays_one_and_is_no_variable(value: str) -> None:
    read = read_yaml(f"key: {scalar(value)}", lambda text: substitute(text, {"HOME": "/home/me"}))
    assert read.tree == {"key": value}
