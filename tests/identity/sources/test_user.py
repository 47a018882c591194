from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT
from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.application_default import VARIABLE, named_file
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.source import RestrictedAudience
from idtoken_proxy.identity.sources.user import UserSource
from tests.cases import for_each
from tests.identity.fakes import Answer, HttpEndpoint, Received, jwt
from tests.identity.sources.emulated import DEV, Google, fails, write

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]
LOGIN = {
    "type": "authorized_user",
    "client_id": "c.apps.googleusercontent.com",
    "client_secret": "SENTINEL-secret",
    "refresh_token": "SENTINEL-refresh",
}


def source(path: Path, token_endpoint: str | None = None, **more: Any) -> UserSource:
    if not path.exists():
        write(path, {**LOGIN, **more})
    return UserSource(CredentialFile(str(path)), token_endpoint)


def answers(**claims: Any) -> Answer:
    token = jwt({"aud": LOGIN["client_id"], "exp": 2_000_000_000, **claims})
    return Answer(body=json.dumps({"access_token": "SENTINEL", "expires_in": 1, "id_token": token}).encode())


async def test_a_private_service_takes_it(google: Google, tmp_path: Path) -> None:
    path = await google.file(tmp_path / "login.json", DEV)
    login = source(path, google.emulator.token_endpoint)
    assert login.describe() == f"login in {path}"
    await google.accepts(login, email=DEV.email, audience=GCLOUD_ADC_CLIENT)
    assert login.describe() == f"login of {DEV.email} in {path}"
    assert login.member() == f"user:{DEV.email}"


@pytest.mark.parametrize("by", ["setting", "file"])
def test_where_it_asks(http_endpoint: Serve, tmp_path: Path, by: str) -> None:
    server = http_endpoint(lambda _: answers())
    uri = "http://127.0.0.1:1/" if by == "setting" else server.url
    source(tmp_path / "f", server.url if by == "setting" else None, token_uri=uri).fetch("https://a")
    (received,) = server.received
    assert parse_qs(received.body.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": [LOGIN["client_id"]],
        "client_secret": ["SENTINEL-secret"],
        "refresh_token": ["SENTINEL-refresh"],
    }


def test_google_s_endpoint_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    error = fails(source(tmp_path / "f").fetch, "a", cause="egress_proxy_failed")
    assert "oauth2.googleapis.com" in error.detail


def test_the_access_token_and_whom_to_charge(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(lambda _: answers(email=DEV.email))
    login = source(tmp_path / "f", server.url, quota_project_id="proj")
    assert login.member() is None
    token = login.access_token()
    assert (token.value, token.quota_project) == ("SENTINEL", "proj")
    assert "SENTINEL" not in repr(token)
    assert login.member() == f"user:{DEV.email}"  # as the ID token beside it says
    assert source(tmp_path / "g", server.url).access_token().quota_project is None


@pytest.mark.parametrize("id_token", [None, "SENTINEL"])
def test_an_access_token_needs_no_id_token(
    http_endpoint: Serve, tmp_path: Path, id_token: str | None
) -> None:
    answer = {"access_token": "SENTINEL", "id_token": id_token}
    server = http_endpoint(lambda _: Answer(body=json.dumps(answer).encode()))
    login = source(tmp_path / "f", server.url)
    assert login.access_token().value == "SENTINEL"
    assert login.member() is None


def test_without_an_id_token(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(lambda _: Answer(body=b'{"access_token": "SENTINEL"}'))
    fails(
        source(tmp_path / "f", server.url, account=DEV.email).fetch,
        "https://a",
        cause="no_id_token",
        fault=Fault.OPERATOR,
        detail=f"the token endpoint's answer to the login of {DEV.email} in {tmp_path}/f holds no ID token: "
        "it was made without the scope openid",
        remedy="gcloud auth application-default login --scopes=openid,"
        "https://www.googleapis.com/auth/userinfo.email,https://www.googleapis.com/auth/cloud-platform",
    )


SUSPENDED = {
    "error": {"status": "PERMISSION_DENIED", "message": "No.", "details": [{"reason": "CONSUMER_SUSPENDED"}]}
}


@pytest.mark.parametrize(
    ("answer", "cause", "says"),
    [
        ({"error": "access_denied", "error_description": "Account restricted"}, "user_blocked", "keeps"),
        ({"error": "admin_policy_enforced"}, "user_blocked", "Ask the administrator"),
        ({"error": "org_internal"}, "organization_policy", "a policy of the organization"),
        (SUSPENDED, "project_suspended", "is suspended"),
    ],
    ids=range(4),
)
def test_a_reason_of_googles_is_no_expired_login(
    http_endpoint: Serve, tmp_path: Path, answer: Any, cause: str, says: str
) -> None:
    server = http_endpoint(lambda _: Answer(403, json.dumps(answer).encode()))
    error = fails(source(tmp_path / "f", server.url).fetch, "https://a", cause=cause, fault=Fault.OPERATOR)
    assert says in f"{error.detail} {error.remedy}"
    assert error.remedy != "gcloud auth application-default login"


@for_each(
    ("answer", "cause", "said"),
    [
        (
            {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
            "login_expired",
            "(invalid_grant: Token has been expired or revoked.): it has expired or was revoked",
        ),
        (
            {"error": "invalid_grant", "error_description": "Bad Request", "error_subtype": "invalid_rapt"},
            "login_required",
            "(invalid_grant, invalid_rapt: Bad Request): the organisation asks for a new login",
        ),
        (
            {"error": "invalid_grant", "error_description": "reauth related error (rapt_required)"},
            "login_required",
            "(invalid_grant: reauth related error (rapt_required)): the organisation asks for a new login",
        ),
        ({"error": "invalid_grant"}, "login_expired", "(invalid_grant): it has expired or was revoked"),
        ({"error": "deleted_client", "secret": "SENTINEL"}, "login_refused", "(deleted_client)"),
        ("SENTINEL", "login_refused", "(unknown)"),
    ],
    ids=range(6),  # not the answer: it would be in the file's path
)
def test_refusals(http_endpoint: Serve, tmp_path: Path, answer: Any, cause: str, said: str) -> None:
    server = http_endpoint(lambda _: Answer(400, json.dumps(answer).encode()))
    fails(
        source(tmp_path / "f", server.url).fetch,
        "https://a",
        cause=cause,
        fault=Fault.OPERATOR,
        detail=f"the token endpoint refused the login in {tmp_path}/f {said}",
        remedy="gcloud auth application-default login",
        log_detail="status 400",
    )
    assert len(server.received) == 1


def test_where_a_variable_names_the_file_a_new_login_does_not_mend_it_alone(
    http_endpoint: Serve, tmp_path: Path
) -> None:
    """The command writes gcloud's own file, and the variable goes on naming the dead one."""
    server = http_endpoint(lambda _: Answer(400, b'{"error": "invalid_grant"}'))
    source(tmp_path / "login.json", server.url)  # writes it
    own = tmp_path / "application_default_credentials.json"
    own.write_bytes((tmp_path / "login.json").read_bytes())
    config = {"CLOUDSDK_CONFIG": str(tmp_path)}
    for path, unset in ((str(tmp_path / "login.json"), True), (f"{tmp_path}/./{own.name}", False)):
        named = named_file({**config, VARIABLE: path})
        assert named is not None
        with pytest.raises(TokenError) as caught:
            UserSource(named, server.url).fetch("https://a")
        told = f", and unset {VARIABLE} (it names {path}, which that command does not write)" if unset else ""
        assert caught.value.remedy == "gcloud auth application-default login" + told


@pytest.mark.parametrize("kind", ["login-expired", "login-again"])
async def test_a_login_that_has_ended(google: Google, tmp_path: Path, kind: str) -> None:
    path = await google.file(tmp_path / "login.json", DEV)
    google.emulator.break_with(kind)
    error = await google.refuses(source(path, google.emulator.token_endpoint), fault=Fault.OPERATOR)
    assert error.cause == {"login-expired": "login_expired", "login-again": "login_required"}[kind]
    assert error.remedy == "gcloud auth application-default login"


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"SENTINEL", "garbage"),
        (b"{}", "garbage"),
        (b'{"access_token": "a", "id_token": "SENTINEL"}', "garbage"),
        (answers(aud="https://elsewhere").body, "wrong_audience"),
    ],
    ids=range(4),
)
def test_garbage(http_endpoint: Serve, tmp_path: Path, body: bytes, cause: str) -> None:
    server = http_endpoint(lambda _: Answer(body=body))
    fails(source(tmp_path / "f", server.url).fetch, "https://a", cause=cause, fault=Fault.GOOGLE)


def test_another_type_of_file(tmp_path: Path) -> None:
    fails(
        source(tmp_path / "f", type="service_account").fetch,
        "https://a",
        cause="credential_file_invalid",
        detail=f"the credential file {tmp_path}/f holds a credential of type 'service_account', not a user's login",
        remedy="gcloud auth application-default login, or set identity: auto",
    )


def test_a_login_with_something_missing(tmp_path: Path) -> None:
    error = fails(source(tmp_path / "f", refresh_token=None, client_id="").fetch, "https://a")
    assert error.detail == f"the credential file {tmp_path}/f lacks client_id, refresh_token"


RUN = "users-x7f3kq-uc.a.run.app"


@for_each(
    ("audience", "host", "says"),
    [
        (f"https://{RUN}", RUN, None),
        (
            "https://users.example.com",
            RUN,
            None,
        ),  # a custom audience: Cloud Run takes gcloud's client ID beside it
        (f"https://{RUN}", "users.example.com", None),  # Cloud Run behind a load balancer
        ("http://localhost:8080", "localhost", None),
        ("http://users.localhost:8080", "users.localhost", None),
        ("http://127.0.0.1:8080", "127.0.0.1", None),
        ("http://[::1]:8080", "::1", None),
        ("1-a.apps.googleusercontent.com", "app.example.com", "IAP takes its own client ID alone"),
        ("1-a.apps.googleusercontent.com", RUN, "IAP takes its own client ID alone"),
        (
            "https://r-p.cloudfunctions.net/f",
            "r-p.cloudfunctions.net",
            "a 1st-generation function takes its own URL alone (a 2nd-generation one: use its run.app URL)",
        ),
        (
            "https://api.example.com",
            "api.example.com",
            "a receiver that checks for https://api.example.com does not take it",
        ),
    ],
)
def test_which_receivers_take_it(tmp_path: Path, audience: str, host: str, says: str | None) -> None:
    login = source(tmp_path / "f")
    assert isinstance(login, RestrictedAudience)
    error = login.objection(audience, host)
    assert (error and (error.cause, error.fault, error.detail)) == (
        says
        and (
            "audience_unsupported",
            Fault.OPERATOR,
            f"the login in {tmp_path}/f gives a token for its own client ID, whatever the audience: {says}",
        )
    )
    if error is not None:
        assert error.remedy == (
            "Impersonate a service account: identity: {type: impersonated, service_account: EMAIL}; grant it to "
            "yourself: gcloud iam service-accounts add-iam-policy-binding EMAIL --member=user:YOU "
            "--role=roles/iam.serviceAccountOpenIdTokenCreator"
        )


def test_a_receiver_that_is_meant_for_this_very_client(tmp_path: Path) -> None:
    """Gcloud auth application-default login --client-id-file: IAP can be told to take such a client's tokens."""
    assert source(tmp_path / "f").objection(LOGIN["client_id"], "app.example.com") is None


def test_a_file_that_is_missing_is_no_objection_s_affair(tmp_path: Path) -> None:
    login = UserSource(CredentialFile(str(tmp_path / "f")))
    assert login.objection("https://a", "x.run.app") is None
    assert login.objection("1-a.apps.googleusercontent.com", "x.run.app") is not None


def test_whose_name_goes_into_the_remedy(http_endpoint: Serve, tmp_path: Path) -> None:
    server = http_endpoint(lambda _: answers(email=DEV.email))
    login = source(tmp_path / "f", server.url)
    login.fetch("https://a")
    error = login.objection("1-a.apps.googleusercontent.com", "app.example.com")
    assert error is not None
    assert f"--member=user:{DEV.email} " in (error.remedy or "")


async def test_two_fetches_at_once(google: Google, tmp_path: Path) -> None:
    login = source(await google.file(tmp_path / "f", DEV), google.emulator.token_endpoint)
    tokens = await asyncio.gather(*(asyncio.to_thread(login.fetch, "https://a") for _ in range(3)))
    assert {token.email for token in tokens} == {DEV.email}
