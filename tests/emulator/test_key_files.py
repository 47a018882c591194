from __future__ import annotations

from google.oauth2 import credentials, service_account

from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT, key_file
from idtoken_proxy.emulator.keys import Keys
from tests.emulator.conftest import DEV, LOGIN, PROJECT, WORLD

ENDPOINT = "http://127.0.0.1:1/token"


def test_a_service_accounts_file_has_every_key_that_googles_have(keys: Keys) -> None:
    content = key_file(LOGIN, WORLD, keys, ENDPOINT)
    assert list(content) == [
        "type",
        "project_id",
        "private_key_id",
        "private_key",
        "client_email",
        "client_id",
        "auth_uri",
        "token_uri",
        "auth_provider_x509_cert_url",
        "client_x509_cert_url",
        "universe_domain",
    ]
    held = service_account.Credentials.from_service_account_info(content)  # type: ignore[no-untyped-call]
    assert held.service_account_email == LOGIN.email
    assert held.project_id == PROJECT
    assert held.signer.key_id == keys.of(LOGIN.email).kid


def test_a_users_file_is_what_gcloud_writes(keys: Keys) -> None:
    content = key_file(DEV, WORLD, keys, ENDPOINT)
    assert content["type"] == "authorized_user"
    assert content["token_uri"] == ENDPOINT
    held = credentials.Credentials.from_authorized_user_info(content)  # type: ignore[no-untyped-call]
    assert held.client_id == GCLOUD_ADC_CLIENT
    assert held.refresh_token.startswith("1//")
