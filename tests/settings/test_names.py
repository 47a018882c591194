from __future__ import annotations

import pytest

from proxy.settings import names


@pytest.mark.parametrize("name", ["a", "user-profiles", "A_b-1", "9", "x" * 63])
def test_route_names(name: str) -> None:
    assert names.route_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "a b", "a.b", "a\n", "é", "x" * 64])
def test_what_is_no_route_name(name: str) -> None:
    with pytest.raises(
        ValueError, match=r'must be letters, digits, "-" and "_", a letter or digit first, 63 at most'
    ):
        names.route_name(name)


def test_the_variable_of_a_route() -> None:
    assert names.url_variable("user-Profiles_v2") == "USER_PROFILES_V2_URL"


@pytest.mark.parametrize("method", ["GET", "PATCH", "PROPFIND", "M-SEARCH"])
def test_methods(method: str) -> None:
    assert names.method(method) == method


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("audience", ["https://a.run.app", "1-x.apps.googleusercontent.com", "x" * 2048])
def test_audiences(audience: str) -> None:
    assert names.audience(audience) == audience


@pytest.mark.parametrize("audience", ["", "a b", "a\r\nb", "\x7f", "é", "a\t", "x" * 2049])
def test_what_is_no_audience(audience: str) -> None:
    with pytest.raises(ValueError, match="must be printable ASCII without blanks, and not empty, not "):
        names.audience(audience)


def test_an_iap_client_id_is_known_by_its_end() -> None:
    assert names.is_iap_client("1-x.apps.googleusercontent.com")
    assert not names.is_iap_client("https://a.run.app")


@pytest.mark.parametrize("account", ["a@p.iam.gserviceaccount.com", "108234"])
def test_accounts(account: str) -> None:
    assert names.account(account) == account
    assert names.metadata_account(account) == account


def test_default_is_an_account_of_the_metadata_server_alone() -> None:
    assert names.metadata_account("default") == "default"
    with pytest.raises(ValueError, match=r'must be an email such as .*, not "default"'):
        names.account("default")


@pytest.mark.parametrize("account", ["a", "a@", "a/b@c", "a@b\n", "a@b?x"])
def test_what_is_no_account(account: str) -> None:
    with pytest.raises(
        ValueError, match=r"must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not "
    ):
        names.metadata_account(account)
