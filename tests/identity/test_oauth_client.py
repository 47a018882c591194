from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.oauth_client import oauth_client
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from tests.cases import for_each

GOOD = {
    "client_id": "55-a.apps.googleusercontent.com",
    "client_secret": "GOCSPX-SENTINEL",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def read(directory: Path, content: object, token_endpoint: str | None = None) -> Any:
    path = directory / "client.json"
    path.write_text(json.dumps(content))
    return oauth_client(CredentialFile(str(path)), token_endpoint)


def test_a_desktop_app_s(tmp_path: Path) -> None:
    client = read(tmp_path, {"installed": GOOD})
    assert (client.client_id, client.token_uri) == (GOOD["client_id"], GOOD["token_uri"])
    assert client.revoke_uri == "https://oauth2.googleapis.com/revoke"
    assert "SENTINEL" not in repr(client)
    assert (
        read(tmp_path, {"installed": GOOD}, "http://localhost:1/token").revoke_uri
        == "http://localhost:1/revoke"
    )


@for_each(
    ("content", "said"),
    [
        ({"web": GOOD}, "holds the OAuth client of a web application"),
        ({}, "holds no OAuth client"),
        ({"installed": "x"}, "holds no OAuth client"),
        ({"installed": {**GOOD, "client_secret": ""}}, "lacks client_secret"),
        (
            {"installed": {**GOOD, "token_uri": "http://oauth2.example/token"}},
            "names an endpoint that is none",
        ),
        ({"installed": {**GOOD, "auth_uri": "javascript:alert(1)"}}, "names an endpoint that is none"),
    ],
)
def test_what_is_none(content: object, said: str) -> None:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory, pytest.raises(TokenError) as caught:
        read(Path(directory), content)
    error = caught.value
    assert (error.cause, error.fault) == ("credential_file_invalid", Fault.OPERATOR)
    assert said in error.detail
    assert "Desktop app" in str(error.remedy)
    assert "SENTINEL" not in f"{error}{error.remedy}"
