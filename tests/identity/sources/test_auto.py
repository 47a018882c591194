from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.errors import Fault, TokenError
from proxy.identity.sources.auto import AutoSource
from proxy.settings.model import GoogleEndpoints
from tests.identity.fakes import AUDIENCE, EMAIL, Answer, HttpEndpoint, Received
from tests.identity.sources import test_metadata, test_service_account
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
def google(http_endpoint: Serve) -> HttpEndpoint:
    """Token endpoint and metadata server in one."""
    return http_endpoint(
        lambda received: (test_metadata if received.method == "GET" else test_service_account).mint(received)
    )


def gcloud(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "application_default_credentials.json"


def test_first_the_variable(google: HttpEndpoint, tmp_path: Path) -> None:
    key = write_key(tmp_path / "key.json")
    gcloud(tmp_path / "gcloud").write_text("not looked at")
    source = auto(google, GOOGLE_APPLICATION_CREDENTIALS=str(key), CLOUDSDK_CONFIG=str(tmp_path / "gcloud"))
    assert (source.name, source.refresh_ahead) == ("auto", 600.0)
    with capture_logs() as logs:
        assert source.fetch(AUDIENCE).email == EMAIL
        source.fetch(AUDIENCE)
    assert (source.name, source.refresh_ahead) == ("service_account", 600.0)
    assert source.describe() == f"auto: key file {key} of {EMAIL}"
    assert [(line["event"], line["kind"], line["where"]) for line in logs] == [
        ("identity_found", "service_account", f"{key} (GOOGLE_APPLICATION_CREDENTIALS)")
    ]
    assert {received.method for received in google.received} == {"POST"}  # no metadata ping


@pytest.mark.parametrize("by", ["CLOUDSDK_CONFIG", "HOME"])
def test_then_gcloud_s_file(google: HttpEndpoint, tmp_path: Path, by: str) -> None:
    directory = tmp_path if by == "CLOUDSDK_CONFIG" else tmp_path / ".config" / "gcloud"
    write_key(gcloud(directory))
    source = auto(google, **{by: str(tmp_path), "GOOGLE_APPLICATION_CREDENTIALS": ""})
    assert source.fetch(AUDIENCE).audience == AUDIENCE
    assert source.name == "service_account"
    assert {received.method for received in google.received} == {"POST"}


def test_then_the_metadata_server(google: HttpEndpoint) -> None:
    source = auto(google)
    assert source.fetch(AUDIENCE).audience == AUDIENCE
    assert (source.name, source.refresh_ahead) == ("metadata", 210.0)
    assert source.describe() == f"auto: metadata server at {google.host}, account default"
    assert len(google.received) == 1


def test_nothing_at_all_tells_what_was_looked_at() -> None:
    error = fails(auto())
    assert (error.cause, error.fault) == ("metadata_unreachable", Fault.OPERATOR)
    for part in (
        "GOOGLE_APPLICATION_CREDENTIALS is not set",
        "/nonexistent/.config/gcloud/application_default_credentials.json does not exist",
        "127.0.0.1:1 cannot be reached",
    ):
        assert part in error.detail


def test_a_metadata_server_that_refuses_speaks_for_itself(http_endpoint: Serve) -> None:
    assert fails(auto(http_endpoint(lambda _: Answer(404)))).cause == "no_service_account"


def test_a_named_file_that_is_missing_is_an_error(google: HttpEndpoint) -> None:
    error = fails(auto(google, GOOGLE_APPLICATION_CREDENTIALS="/nonexistent/key.json"))
    assert error.cause == "credential_file_missing"
    assert "/nonexistent/key.json (GOOGLE_APPLICATION_CREDENTIALS)" in error.detail
    assert google.received == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"type": 3}', '{"type": "service_account"}'])
@pytest.mark.parametrize("named", [True, False])
def test_a_broken_file_is_never_passed_over(
    google: HttpEndpoint, tmp_path: Path, text: str, *, named: bool
) -> None:
    path = gcloud(tmp_path)
    path.write_text(text)
    where = {"GOOGLE_APPLICATION_CREDENTIALS": str(path)} if named else {"CLOUDSDK_CONFIG": str(tmp_path)}
    error = fails(auto(google, **where))
    assert (error.cause, error.fault) == ("credential_file_invalid", Fault.OPERATOR)
    assert str(path) in error.detail
    assert google.received == []


def test_a_file_that_may_not_be_looked_at_is_not_passed_over(google: HttpEndpoint, tmp_path: Path) -> None:
    path = gcloud(tmp_path)
    path.symlink_to(path)  # ELOOP, which not even root may pass
    assert fails(auto(google, CLOUDSDK_CONFIG=str(tmp_path))).cause == "credential_file_unreadable"
    assert google.received == []


def test_a_config_directory_that_is_a_file_holds_nothing(google: HttpEndpoint, tmp_path: Path) -> None:
    (tmp_path / "gcloud").write_text("")
    source = auto(google, CLOUDSDK_CONFIG=str(tmp_path / "gcloud"))
    source.fetch(AUDIENCE)
    assert source.name == "metadata"


def test_a_login_mends_a_running_proxy_and_then_it_stays(google: HttpEndpoint, tmp_path: Path) -> None:
    source = AutoSource(
        GoogleEndpoints(token_endpoint=google.url, metadata_host="127.0.0.1:1"),
        {"CLOUDSDK_CONFIG": str(tmp_path)},
    )
    with capture_logs() as logs:
        fails(source)
        fails(source)
        path = write_key(gcloud(tmp_path))
        source.fetch(AUDIENCE)
    assert [line["kind"] for line in logs] == ["metadata", "service_account"]  # said once each
    path.unlink()
    assert fails(source).cause == "credential_file_missing"  # decided: no other identity slips in
    assert source.name == "service_account"


def test_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    error = fails(AutoSource(GoogleEndpoints(metadata_host="127.0.0.1:1"), {}))
    assert "/nowhere/.config/gcloud/" in error.detail
