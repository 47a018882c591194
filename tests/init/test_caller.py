"""Whose tokens a first configuration will send: what doctor would find, and next to that gcloud's login."""

from __future__ import annotations

from pathlib import Path

from idtoken_proxy.emulator import DEMO, Emulator
from idtoken_proxy.init.caller import find_caller
from idtoken_proxy.settings.identities import AutoIdentity, GcloudIdentity, ImpersonatedIdentity
from tests.identity.sources.test_gcloud import USER_TOKEN, Gcloud

AUDIENCE = "https://orders-x7f3kq-uc.a.run.app"


def nowhere(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": str(home), "GCE_METADATA_HOST": "127.0.0.1:1"}


async def test_the_metadata_server_s_account(tmp_path: Path) -> None:
    async with Emulator(DEMO) as emulator:
        found = await find_caller(
            AUDIENCE, {**nowhere(tmp_path), "GCE_METADATA_HOST": emulator.metadata_host}
        )
    assert found.identity == AutoIdentity()
    assert found.error is None
    assert found.described.startswith("auto: metadata server")
    assert found.service_account == "login@demo-project.iam.gserviceaccount.com"


async def test_gcloud_s_login_where_there_is_nothing_else(tmp_path: Path) -> None:
    Gcloud(tmp_path).installed(USER_TOKEN, user="dev@example.com")
    found = await find_caller(AUDIENCE, nowhere(tmp_path))
    assert found.identity == GcloudIdentity()
    assert found.error is None
    assert found.service_account is None
    assert found.objection("123-x.apps.googleusercontent.com", "iap.example.com") is not None


async def test_without_any_it_is_auto_and_says_what_lacks(tmp_path: Path) -> None:
    found = await find_caller(AUDIENCE, nowhere(tmp_path))
    assert found.identity == AutoIdentity()
    assert found.error is not None
    assert "gcloud auth application-default login" in str(found.error.remedy)


async def test_a_broken_credential_is_no_reason_to_go_on_to_another(tmp_path: Path) -> None:
    Gcloud(tmp_path).installed(USER_TOKEN, user="dev@example.com")
    (tmp_path / "key.json").write_text("{}")
    environ = {**nowhere(tmp_path), "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")}
    found = await find_caller(AUDIENCE, environ)
    assert found.identity == AutoIdentity()
    assert found.error is not None


async def test_whom_one_may_act_as(tmp_path: Path) -> None:
    email = "caller@p.iam.gserviceaccount.com"
    found = await find_caller(AUDIENCE, nowhere(tmp_path), email)
    assert found.identity == ImpersonatedIdentity(email)
    assert (found.service_account, found.error is None) == (email, False)
