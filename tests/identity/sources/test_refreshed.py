from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.refreshed import access_token_of, quota_project_of
from idtoken_proxy.identity.token import UNTOLD_LIFE
from tests.cases import for_each


def conversation(asked: float, answered: float) -> Any:
    return SimpleNamespace(asked_at=asked, answered_at=answered)


def credentials(expiry: float | None) -> Any:
    """google-auth's moments are UTC without saying so."""
    end = None if expiry is None else dt.datetime.fromtimestamp(expiry, dt.UTC).replace(tzinfo=None)
    return SimpleNamespace(token="ya29.abc", expiry=end)


def test_its_life_is_counted_from_when_it_was_asked_for() -> None:
    """Google answered 3600 s, the answer was 4 s on its way, and google-auth counts from when it has read it."""
    token = access_token_of(credentials(1_000_004 + 3600), conversation(1_000_000, 1_000_004), origin="it")
    assert (token.expires_at, token.issued_at) == (1_000_000 + 3600, 1_000_000)


def test_without_a_life_of_its_own_it_lives_a_little() -> None:
    token = access_token_of(credentials(None), conversation(5.0, 6.0), origin="it")
    assert token.expires_at == 5.0 + UNTOLD_LIFE


@for_each("project", ["my-project", "123456789012", "example.com:my-project"])
def test_the_project_that_a_file_names(project: str) -> None:
    assert quota_project_of({"quota_project_id": project}, CredentialFile("/f")) == project


@for_each("project", [None, "", 7])
def test_a_file_that_names_none(project: object) -> None:
    assert quota_project_of({"quota_project_id": project}, CredentialFile("/f")) is None


def test_what_is_no_project_never_becomes_a_header(tmp_path: Path) -> None:
    with pytest.raises(TokenError) as caught:
        quota_project_of({"quota_project_id": "p\r\nHost: evil"}, CredentialFile(str(tmp_path / "f")))
    assert caught.value.cause == "credential_file_invalid"
    assert "evil" not in caught.value.detail
