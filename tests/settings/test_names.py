from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.policy.fields import PASS, REQUEST_KINDS, request_kind
from idtoken_proxy.settings import names
from tests.cases import for_each


@for_each("name", ["a", "user-profiles", "A_b-1", "9", "x" * 63])
def test_route_names(name: str) -> None:
    assert names.route_name(name) == name


@for_each("name", ["", "-a", "_a", "a b", "a.b", "a\n", "é", "x" * 64])
def test_what_is_no_route_name(name: str) -> None:
    with pytest.raises(
        ValueError, match=r'must be letters, digits, "-" and "_", a letter or digit first, 63 at most'
    ):
        names.route_name(name)


def test_the_variable_of_a_route() -> None:
    assert names.url_variable("user-Profiles_v2") == "USER_PROFILES_V2_URL"


@for_each("method", ["GET", "PATCH", "PROPFIND", "M-SEARCH"])
def test_methods(method: str) -> None:
    assert names.method(method) == method


@for_each(
    ("method", "message"),
    [
        ("get", '"get" is no method name in upper case; write "GET"'),
        ("", '"" is no method name in upper case; write one such as GET'),
        ("GET POST", '"GET POST" is no method name in upper case; write one such as GET'),
        ("GET\r\n", '"GET??" is no method name in upper case; write one such as GET'),
        ("CONNECT", "CONNECT would open a tunnel to any host, so it is always refused; remove it"),
        ("trace", "TRACE would echo the token back to the caller, so it is always refused; remove it"),
        (True, "must be a string, not true; put it in quotes"),
    ],
)
def test_what_is_no_method(method: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        names.method(method)
    assert str(caught.value) == message


@for_each("audience", ["https://a.run.app", "1-x.apps.googleusercontent.com", "x" * 2048])
def test_audiences(audience: str) -> None:
    assert names.audience(audience) == audience


@for_each("audience", ["", "a b", "a\r\nb", "\x7f", "é", "a\t", "x" * 2049])
def test_what_is_no_audience(audience: str) -> None:
    with pytest.raises(ValueError, match="must be printable ASCII without blanks, and not empty, not "):
        names.audience(audience)


def test_an_iap_client_id_is_known_by_its_end() -> None:
    assert names.is_iap_client("1-x.apps.googleusercontent.com")
    assert not names.is_iap_client("https://a.run.app")


@for_each("account", ["a@p.iam.gserviceaccount.com", "108234"])
def test_accounts(account: str) -> None:
    assert names.account(account) == account
    assert names.metadata_account(account) == account


def test_default_is_an_account_of_the_metadata_server_alone() -> None:
    assert names.metadata_account("default") == "default"
    with pytest.raises(ValueError, match=r'must be an email such as .*, not "default"'):
        names.account("default")


@for_each("account", ["a", "a@", "a/b@c", "a@b\n", "a@b?x"])
def test_what_is_no_account(account: str) -> None:
    with pytest.raises(
        ValueError, match=r"must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not "
    ):
        names.metadata_account(account)


def test_an_email_is_no_numeric_id() -> None:
    assert names.email("a@p.iam.gserviceaccount.com") == "a@p.iam.gserviceaccount.com"
    for value in ("108234", "a@b c"):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
            names.email(value)
        assert str(caught.value) == (
            f'must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not "{value}"'
        )


# -- headers ------------------------------------------------------------------


@for_each("name", ["X-Idtoken-Proxy-Caller", "caller_token", "X", "x" * 64])
def test_headers(name: str) -> None:
    assert names.header(name) == name


@for_each(
    ("name", "shown"),
    [
        ("", '""'),
        ("X-Caller:", '"X-Caller:"'),
        ("X Caller", '"X Caller"'),
        ("X\r\nHost", "what it holds (not shown: it looks like text of several lines)"),
    ],
)
def test_what_is_no_header(name: str, shown: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        names.header(name)
    assert str(caught.value) == (
        f'must be a header\'s name: letters, digits and "-", 64 at most, such as X-Caller-Token, not {shown}'
    )


def test_a_header_is_no_longer_than_64() -> None:
    with pytest.raises(ValueError, match="64 at most"):
        names.header("x" * 65)


@for_each(
    "name", ["Host", "CONNECTION", "Authorization", "X_Serverless_Authorization", "proxy.authorization"]
)
def test_a_header_that_the_proxy_looks_at_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        names.header(name)
    assert str(caught.value) == (
        f"{name} has a meaning of its own to the proxy; write another name, such as X-Caller-Token"
    )


def test_they_are_those_that_do_not_pass() -> None:
    looked_at = {
        "x-goog-api-key",
        "x-goog-user-project",
    }  # beside an access token; they may hold a caller's secret too
    assert {name.decode() for name in REQUEST_KINDS} - looked_at == names.RESERVED_HEADERS


@given(st.from_regex(rf"\A{names.HEADER}\Z") | st.sampled_from(sorted(names.RESERVED_HEADERS)))
def test_every_header_that_is_let_through_comes_as_far_as_the_guard(name: str) -> None:
    try:
        names.header(name)
    except ValueError:
        return
    assert request_kind(name.lower().encode()) == PASS
