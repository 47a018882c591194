"""Credential files as Google gives them out, for accounts of the emulated project.

Sources: https://cloud.google.com/iam/docs/keys-create-delete (service accounts),
https://cloud.google.com/docs/authentication/application-default-credentials#personal (users).
"""

from __future__ import annotations

import urllib.parse

from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.world import Account, World

# gcloud's own OAuth clients: the audience of every user's token, whatever was asked. Cloud Run accepts both.
# https://github.com/GoogleCloudPlatform/cloud-run-proxy/issues/8
GCLOUD_ADC_CLIENT = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
GCLOUD_CLIENTS = frozenset({GCLOUD_ADC_CLIENT, "32555940559.apps.googleusercontent.com"})


def key_file(account: Account, world: World, keys: Keys, token_uri: str) -> dict[str, str]:
    """A service account's private key (`type: service_account`), or a user's refresh token
    (`type: authorized_user`). May take a tenth of a second, for a key that is new.
    """
    if not account.is_service_account:
        return {
            "type": "authorized_user",
            "account": account.email,
            "client_id": GCLOUD_ADC_CLIENT,
            "client_secret": "emulated",
            "quota_project_id": world.project,
            "refresh_token": refresh_token(account),
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }
    key = keys.of(account.email)
    origin = token_uri.removesuffix("/token")
    return {
        "type": "service_account",
        "project_id": world.project,
        "private_key_id": key.kid,
        "private_key": key.private_pem,
        "client_email": account.email,
        "client_id": account.subject,
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_uri,
        "auth_provider_x509_cert_url": f"{origin}/oauth2/v1/certs",
        "client_x509_cert_url": f"{origin}/robot/v1/metadata/x509/{urllib.parse.quote(account.email, safe='')}",
        "universe_domain": "googleapis.com",
    }


def refresh_token(account: Account) -> str:
    return f"1//emulated-{account.subject}"
