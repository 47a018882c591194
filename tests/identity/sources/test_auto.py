from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT
from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import build, metadata
from idtoken_proxy.identity.sources.auto import AutoSource
from idtoken_proxy.identity.sources.source import RestrictedAudience
from idtoken_proxy.settings.identities import AutoIdentity, Identity, MetadataIdentity
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, EMAIL, Answer, HttpEndpoint, Received
from tests.identity.sources import test_metadata, test_service_account
from tests.identity.sources.emulated import CALLER, DEV, GITHUB, TARGET, Google, write
from tests.identity.sources.test_service_account import write_key

Serve = Callable[[Callable[[Received], Answer]], HttpEndpoint]


def auto(server: HttpEndpoint | None = None, **environ: str) -> AutoSource:
    google = GoogleEndpoints(
        token_endpoint=server.url if server else None,
        metadata_host=server.host if server else "127.0.0.1:1",
    )
    return AutoSource(google, {"HOME": "/nonexistent", **environ})


def fails(source: AutoSource) -> TokenError:
    with pytest.raises(TokenError) as caught:
        source.fetch(AUDIENCE)
    return caught.value


@pytest.fixture
def both(http_endpoint: Serve) -> HttpEndpoint:
    """Token endpoint and metadata server in one."""
    return http_endpoint(
        lambda received: (test_metadata if received.method == "GET" else test_service_account).mint(received)
    )


def gcloud(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "application_default_credentials.json"


def test_first_the_variable(both: HttpEndpoint, tmp_path: Path) -> None:
    key = write_key(tmp_path / "key.json")
    gcloud(tmp_path / "gcloud").write_text("not looked at")
    source = auto(both, GOOGLE_APPLICATION_CREDENTIALS=str(key), CLOUDSDK_CONFIG=str(tmp_path / "gcloud"))
    assert (source.name, source.refresh_ahead) == ("auto", 600.0)
    assert source.describe() == "auto: what GOOGLE_APPLICATION_CREDENTIALS names"
    with capture_logs() as logs:
        assert source.fetch(AUDIENCE).email == EMAIL
        source.fetch(AUDIENCE)
    assert (source.name, source.refresh_ahead) == ("service_account", 600.0)
    assert source.describe() == f"auto: key file {key} of {EMAIL}"
    assert [(line["event"], line["kind"], line["where"]) for line in logs] == [
        ("identity found", "service_account", f"{key} (GOOGLE_APPLICATION_CREDENTIALS)")
    ]
    assert {received.method for received in both.received} == {"POST"}  # no metadata ping


@pytest.mark.parametrize("by", ["CLOUDSDK_CONFIG", "HOME"])
def test_then_gcloud_s_file(both: HttpEndpoint, tmp_path: Path, by: str) -> None:
    directory = tmp_path if by == "CLOUDSDK_CONFIG" else tmp_path / ".config" / "gcloud"
    write_key(gcloud(directory))
    source = auto(both, **{by: str(tmp_path), "GOOGLE_APPLICATION_CREDENTIALS": ""})
    assert source.fetch(AUDIENCE).audience == AUDIENCE
    assert source.name == "service_account"
    assert {received.method for received in both.received} == {"POST"}


def test_then_the_metadata_server(both: HttpEndpoint) -> None:
    source = auto(both)
    with capture_logs() as logs:
        assert source.fetch(AUDIENCE).audience == AUDIENCE
    assert [(line["event"], line["kind"], line["where"]) for line in logs] == [
        ("identity found", "metadata", both.host)
    ]
    assert (source.name, source.refresh_ahead) == ("metadata", 210.0)
    assert source.describe() == f"auto: metadata server at {both.host}, account default"
    assert len(both.received) == 1


def test_nothing_at_all_tells_what_was_looked_at() -> None:
    with capture_logs() as logs:
        error = fails(auto())
    assert logs == []  # of no identity that was found
    assert (error.cause, error.fault) == ("metadata_unreachable", Fault.OPERATOR)
    for part in (
        "GOOGLE_APPLICATION_CREDENTIALS is not set",
        "/nonexistent/.config/gcloud/application_default_credentials.json does not exist",
        "127.0.0.1:1 cannot be reached",
    ):
        assert part in error.detail


LOGIN = "gcloud auth application-default login"
AS_AN_ACCOUNT = f"{LOGIN} --impersonate-service-account=EMAIL"


@for_each(
    ("audience", "command"),
    [
        ("https://profiles-123456789012.europe-west1.run.app", LOGIN),
        ("http://127.0.0.1:8081", LOGIN),
        ("1-a.apps.googleusercontent.com", AS_AN_ACCOUNT),
        ("https://europe-west1-shop.cloudfunctions.net/resize", AS_AN_ACCOUNT),
        ("https://api.example.com", AS_AN_ACCOUNT),
    ],
)
def test_nothing_at_all_is_mended_by_a_login_that_the_receiver_takes(audience: str, command: str) -> None:
    with pytest.raises(TokenError) as caught:
        auto().fetch(audience)
    assert (caught.value.remedy or "").split("; ") == [
        command,
        "or set GOOGLE_APPLICATION_CREDENTIALS to a credential file",
        "or, without Google: idtoken-proxy emulate",
    ]


@for_each("identity", [AutoIdentity(), MetadataIdentity()], ids=["auto", "metadata"])
def test_a_variable_that_names_the_server_is_the_first_thing_to_mend(identity: Identity) -> None:
    """On a laptop, it is left over from an emulator that has ended."""
    environ = {"HOME": "/nonexistent", "GCE_METADATA_HOST": "127.0.0.1:1"}
    with pytest.raises(TokenError) as caught:
        build(identity, GoogleEndpoints(), environ).fetch(AUDIENCE)
    remedy = caught.value.remedy or ""
    assert remedy.lower().startswith("unset gce_metadata_host, or name a metadata server in it")
    assert LOGIN in remedy
    # One that the configuration names is none of the variable's.
    with pytest.raises(TokenError) as caught:
        build(identity, GoogleEndpoints(metadata_host="127.0.0.1:1"), environ).fetch(AUDIENCE)
    assert "GCE_METADATA_HOST" not in (caught.value.remedy or "")


def test_a_sign_in_page_in_its_place_is_no_metadata_server_either(http_endpoint: Serve) -> None:
    error = fails(auto(http_endpoint(lambda _: Answer(200, b"<html>"))))
    assert error.cause == "metadata_foreign"
    assert error.detail.startswith("no credentials found: ")
    assert (error.remedy or "").startswith(LOGIN)


def test_a_metadata_server_that_refuses_speaks_for_itself(http_endpoint: Serve) -> None:
    assert (
        fails(auto(http_endpoint(lambda _: Answer(404, b"", {"Metadata-Flavor": "Google"})))).cause
        == "no_service_account"
    )


def test_a_named_file_that_is_missing_is_an_error(both: HttpEndpoint) -> None:
    error = fails(auto(both, GOOGLE_APPLICATION_CREDENTIALS="/nonexistent/key.json"))
    assert error.cause == "credential_file_missing"
    assert "/nonexistent/key.json (GOOGLE_APPLICATION_CREDENTIALS)" in error.detail
    assert both.received == []


@for_each("text", ["", "{", "[]", "{}", '{"type": 3}', '{"type": "service_account"}'])
@for_each("named", [True, False])
def test_a_broken_file_is_never_passed_over(
    both: HttpEndpoint, tmp_path: Path, text: str, *, named: bool
) -> None:
    path = gcloud(tmp_path)
    path.write_text(text)
    where = {"GOOGLE_APPLICATION_CREDENTIALS": str(path)} if named else {"CLOUDSDK_CONFIG": str(tmp_path)}
    error = fails(auto(both, **where))
    assert (error.cause, error.fault) == ("credential_file_invalid", Fault.OPERATOR)
    assert str(path) in error.detail
    assert both.received == []


def test_a_file_that_may_not_be_looked_at_is_not_passed_over(both: HttpEndpoint, tmp_path: Path) -> None:
    path = gcloud(tmp_path)
    path.symlink_to(path)  # ELOOP, which not even root may pass
    assert fails(auto(both, CLOUDSDK_CONFIG=str(tmp_path))).cause == "credential_file_unreadable"
    assert both.received == []


def test_a_config_directory_that_is_a_file_holds_nothing(both: HttpEndpoint, tmp_path: Path) -> None:
    (tmp_path / "gcloud").write_text("")
    source = auto(both, CLOUDSDK_CONFIG=str(tmp_path / "gcloud"))
    source.fetch(AUDIENCE)
    assert source.name == "metadata"


@pytest.mark.parametrize(
    ("kind", "email", "described"),
    [
        ("service_account", CALLER.email, "key file {path} of {email}"),
        ("authorized_user", DEV.email, "login of {email} in {path}"),
        ("external_account", TARGET.email, "workload identity federation by {path}, impersonating {email}"),
        (
            "impersonated_service_account",
            TARGET.email,
            "{email}, impersonated by login of dev@example.com in {path}",
        ),
    ],
)
async def test_every_type_of_file(
    google: Google, tmp_path: Path, kind: str, email: str, described: str
) -> None:
    """By the variable, and as gcloud's file."""
    name = "generateAccessToken"
    contents: dict[str, dict[str, Any]] = {
        "service_account": await asyncio.to_thread(google.emulator.key_file, CALLER.email),
        "authorized_user": google.emulator.key_file(DEV.email),
        "external_account": google.emulator.external_account(GITHUB.name, "url", impersonate=TARGET.email),
        "impersonated_service_account": {
            "type": "impersonated_service_account",
            "service_account_impersonation_url": f"https://i/v1/projects/-/serviceAccounts/{TARGET.email}:{name}",
            "source_credentials": google.emulator.key_file(DEV.email),
        },
    }
    path = write(gcloud(tmp_path), contents[kind])
    for environ in (
        {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "HOME": "/nonexistent"},
        {"CLOUDSDK_CONFIG": str(tmp_path)},
    ):
        source = AutoSource(google.endpoints, environ)
        audience = GCLOUD_ADC_CLIENT if kind == "authorized_user" else None
        await google.accepts(source, email=email, audience=audience)
        assert source.describe() == "auto: " + described.format(path=path, email=email)
    assert google.emulator.counts.handed_out["metadata"] == 0


async def test_who_it_is_that_impersonates(google: Google, tmp_path: Path) -> None:
    source = AutoSource(google.endpoints, {"HOME": str(tmp_path)})
    assert source.member() is None
    token = await asyncio.to_thread(source.access_token)
    assert token.value.startswith("ya29.")
    assert await asyncio.to_thread(source.member) == CALLER.member


def test_nothing_at_all_to_impersonate_with() -> None:
    with pytest.raises(
        TokenError, match="no credentials found: GOOGLE_APPLICATION_CREDENTIALS is not set"
    ) as caught:
        auto().access_token()
    assert (caught.value.remedy or "").startswith(f"{LOGIN}; ")


def test_which_receivers_take_it(tmp_path: Path) -> None:
    """Told before any fetch, and by files alone."""
    client = "1-a.apps.googleusercontent.com"
    path = gcloud(tmp_path)
    environ = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert auto(None, **environ).objection(client, "app.example.com") is None  # a metadata server
    path.write_text("broken")
    assert auto(None, **environ).objection(client, "app.example.com") is None  # which the fetch will say
    write_key(path)
    assert auto(None, **environ).objection(client, "app.example.com") is None
    path.write_text('{"type": "authorized_user"}')
    source = auto(None, **environ)
    assert isinstance(source, RestrictedAudience)
    assert source.objection(AUDIENCE, "x.run.app") is None
    error = source.objection(client, "app.example.com")
    assert error is not None
    assert error.detail == (
        f"the login in {path} gives a token for its own client ID, whatever the audience: "
        "IAP takes its own client ID alone"
    )


def test_another_type_of_login_into_the_same_file(both: HttpEndpoint, tmp_path: Path) -> None:
    path = write_key(gcloud(tmp_path))
    source = auto(both, CLOUDSDK_CONFIG=str(tmp_path))
    with capture_logs() as logs:
        source.fetch(AUDIENCE)
        path.write_text('{"type": "authorized_user"}')
        assert fails(source).cause == "credential_file_invalid"  # noticed
        assert "lacks client_id" in fails(source).detail  # looked at anew
    assert [line["kind"] for line in logs] == ["service_account", "user"]


def test_a_login_mends_a_running_proxy_and_then_it_stays(both: HttpEndpoint, tmp_path: Path) -> None:
    source = AutoSource(
        GoogleEndpoints(token_endpoint=both.url, metadata_host="127.0.0.1:1"),
        {"CLOUDSDK_CONFIG": str(tmp_path)},
    )
    with capture_logs() as logs:
        fails(source)
        fails(source)
        path = write_key(gcloud(tmp_path))
        source.fetch(AUDIENCE)
        source.fetch(AUDIENCE)
    assert [line["kind"] for line in logs] == [
        "service_account"
    ]  # said once, and of a metadata server nothing
    path.unlink()
    assert fails(source).cause == "credential_file_missing"  # decided: no other identity slips in
    assert source.name == "service_account"


def test_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    error = fails(AutoSource(GoogleEndpoints(metadata_host="127.0.0.1:1"), {}))
    assert "/nowhere/.config/gcloud/" in error.detail


@for_each("status", [302, 403, 404, 429, 500])
def test_a_stranger_in_the_metadata_server_s_place_is_no_credential(
    http_endpoint: Serve, tmp_path: Path, status: int
) -> None:
    server = http_endpoint(lambda _: Answer(status, b"hello"))
    source = AutoSource(GoogleEndpoints(metadata_host=server.host), {"HOME": str(tmp_path)})
    with pytest.raises(TokenError) as caught:
        source.fetch(AUDIENCE)
    assert "no credentials found" in caught.value.detail
    assert "no metadata server" in caught.value.detail
    assert (caught.value.remedy or "").startswith("gcloud auth application-default login")


def test_a_metadata_server_that_hangs_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        source = AutoSource(GoogleEndpoints(metadata_host=host), {"HOME": str(tmp_path)})
        with pytest.raises(TokenError) as caught:
            source.fetch(AUDIENCE)
    assert caught.value.cause == "metadata_timeout"
    assert "no credentials found" not in caught.value.detail
