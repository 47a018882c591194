from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.emulator.key_files import GCLOUD_ADC_CLIENT
from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources import build
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.gcloud import GcloudSource
from idtoken_proxy.identity.sources.source import RestrictedAudience
from idtoken_proxy.identity.sources.user import UserSource
from idtoken_proxy.settings.identities import GcloudIdentity, ImpersonatedIdentity
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, EMAIL, jwt
from tests.identity.sources.emulated import CALLER, DEV, TARGET, Google, fails

USER_TOKEN = jwt({"aud": "32555940559.apps.googleusercontent.com", "exp": 2_000_000_000, "email": DEV.email})
TOKEN = jwt({"aud": AUDIENCE, "exp": 2_000_000_000, "email": EMAIL})
GCLOUD = """#!{python} -I
import json, os, sys, time
with open({said!r}, "a") as said:
    print(json.dumps([*sys.argv[1:], os.environ.get("CLOUDSDK_CORE_DISABLE_PROMPTS")]), file=said)
if sys.argv[1] == "config":
    print({config!r})
else:
    {does}
"""


class Gcloud:
    """A command of that name. It is called as the real one is, keeps what it was told, and prints what it is given."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._said = directory / "said"

    def installed(
        self,
        prints: str = TOKEN,
        *,
        user: str | None = None,
        impersonates: str | None = None,
        config: str | None = None,
        does: str | None = None,
    ) -> Gcloud:
        properties = {"core": {"account": user}, "auth": {"impersonate_service_account": impersonates}}
        path = self._directory / "gcloud"
        path.write_text(
            GCLOUD.format(
                python=sys.executable,
                said=str(self._said),
                config=json.dumps(properties) if config is None else config,
                does=does or f"print({prints!r})",
            )
        )
        path.chmod(0o700)
        return self

    def source(self, account: str | None = None, deadline: float = 9.5) -> GcloudSource:
        return GcloudSource(account, self.environ, deadline)

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": str(self._directory)}

    @property
    def said(self) -> list[list[str]]:
        lines = [json.loads(line) for line in self._said.read_text().splitlines()]
        assert all(line.pop() == "1" for line in lines)  # it never prompts
        return lines


@pytest.fixture
def gcloud(tmp_path: Path) -> Gcloud:
    return Gcloud(tmp_path)


LIST = ["config", "list", "--format=json"]


@pytest.mark.parametrize("account", [None, CALLER.email])
async def test_a_private_service_takes_a_service_account_s(
    google: Google, gcloud: Gcloud, account: str | None
) -> None:
    gcloud.installed(
        await asyncio.to_thread(google.emulator.mint, CALLER.email, google.audience), user=CALLER.email
    )
    source = gcloud.source(account)
    await google.accepts(source, email=CALLER.email)
    positional = [account] if account else []
    assert gcloud.said == [
        LIST,
        ["auth", "print-identity-token", f"--audiences={google.audience}", *positional],
    ]
    assert source.describe() == f"gcloud login of {CALLER.email}"
    assert source.member() == CALLER.member


@pytest.mark.parametrize("account", [None, DEV.email])
async def test_a_private_service_takes_a_user_s(
    google: Google, gcloud: Gcloud, tmp_path: Path, account: str | None
) -> None:
    login = UserSource(
        CredentialFile(str(await google.file(tmp_path / "f", DEV))), google.emulator.token_endpoint
    )
    printed = (await asyncio.to_thread(login.fetch, "x")).value
    source = gcloud.installed(printed, user=DEV.email).source(account)
    await google.accepts(source, email=DEV.email, audience=GCLOUD_ADC_CLIENT)
    assert gcloud.said[1] == ["auth", "print-identity-token", *([account] if account else [])]
    assert source.describe() == f"gcloud login of {DEV.email}"
    assert source.member() == DEV.member


async def test_it_can_impersonate(google: Google, gcloud: Gcloud) -> None:
    gcloud.installed("SENTINEL", user=DEV.email)
    identity = ImpersonatedIdentity(TARGET.email, source=GcloudIdentity())
    await google.refuses(
        build(identity, google.endpoints, gcloud.environ),
        cause="iam_unauthenticated",  # the emulator did not give that one out
        remedy=f"The access token of gcloud login of {DEV.email} is not valid: log in anew, and check this "
        "machine's clock (date -u)",
    )
    assert gcloud.said == [LIST, ["auth", "print-access-token"]]


def test_the_access_token_of_an_account(gcloud: Gcloud) -> None:
    assert gcloud.installed("it", user=CALLER.email).source(DEV.email).access_token().value == "it"
    assert gcloud.said == [LIST, ["auth", "print-access-token", DEV.email]]


@pytest.mark.parametrize("printed", ["", "two words", "a\nb", "ü"])
def test_an_access_token_that_is_none(gcloud: Gcloud, printed: str) -> None:
    fails(gcloud.installed(printed).source().access_token, cause="garbage", fault=Fault.OPERATOR)


def test_gcloud_s_own_impersonation(gcloud: Gcloud) -> None:
    """Gcloud config set auth/impersonate_service_account: print-identity-token alone would pass over it."""
    source = gcloud.installed(user=DEV.email, impersonates=EMAIL).source()
    source.fetch(AUDIENCE)
    impersonation = [f"--audiences={AUDIENCE}", f"--impersonate-service-account={EMAIL}", "--include-email"]
    assert gcloud.said[1] == ["auth", "print-identity-token", *impersonation]
    assert source.describe() == f"gcloud login of {EMAIL}"


@for_each("config", ["", "[]", "SENTINEL", '{"core": 7}', "{}"])
def test_where_it_does_not_say_whose_login_it_is(gcloud: Gcloud, config: str) -> None:
    """On a VM, or with CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: a service account, likely; gcloud says so if it is not."""
    source = gcloud.installed(config=config).source()
    assert source.member() is None
    source.fetch(AUDIENCE)
    assert gcloud.said[1] == ["auth", "print-identity-token", f"--audiences={AUDIENCE}"]
    assert source.describe() == "gcloud login"
    assert source.member() is None


ERROR = "import sys; sys.exit('ERROR: (gcloud.auth.print-identity-token) {} SENTINEL\\nPlease run:\\n\\n  $ gcloud auth login')"


@for_each(
    ("account", "does", "detail", "remedy"),
    [
        (
            None,
            ERROR.format("You do not currently have an active account selected."),
            "gcloud has no token: no account is logged in (exit code 1)",
            "gcloud auth login",
        ),
        (
            DEV.email,
            ERROR.format("Reauthentication failed."),
            f"gcloud has no token of {DEV.email}: the login asks for a new sign-in (exit code 1)",
            f"gcloud auth login {DEV.email}",
        ),
        (
            EMAIL,
            ERROR.format("No valid credentials"),
            f"gcloud has no token of {EMAIL}: the account is not logged in (exit code 1)",
            f"gcloud auth activate-service-account {EMAIL} --key-file=KEY_FILE",
        ),
        (
            None,
            ERROR.format("Invalid account type for `--audiences`."),
            "gcloud has no token: the login is of a kind that has no tokens for an audience (exit code 1)",
            "This login has no tokens for an audience of your choice: impersonate a service account with it",
        ),
        (
            DEV.email,
            ERROR.format("HTTPSConnectionPool: Max retries exceeded"),
            f"gcloud has no token of {DEV.email}: it does not reach Google (exit code 1)",
            "Is this machine online? Behind a proxy: gcloud config set proxy/address HOST, proxy/port and proxy/type",
        ),
        (
            None,
            "import sys; sys.exit('SENTINEL')",
            "gcloud has no token: exit code 1",
            "See what it says: gcloud auth print-identity-token; perhaps gcloud auth login",
        ),
        (
            None,
            "os.kill(os.getpid(), 15)",
            "gcloud has no token: signal 15",
            "See what it says: gcloud auth print-identity-token; perhaps gcloud auth login",
        ),
    ],
    ids=range(7),
)
def test_failures(gcloud: Gcloud, account: str | None, does: str, detail: str, remedy: str) -> None:
    fails(
        gcloud.installed(does=does).source(account).fetch,
        AUDIENCE,
        cause="gcloud_failed",
        fault=Fault.OPERATOR,
        detail=detail,
        remedy=remedy,
    )


def test_gcloud_s_own_impersonation_that_is_not_allowed(gcloud: Gcloud) -> None:
    does = ERROR.format("Failed to impersonate [x].")
    error = fails(gcloud.installed(does=does, user=DEV.email, impersonates=EMAIL).source().fetch, AUDIENCE)
    assert error.detail == f"gcloud has no token of {EMAIL}: it may not impersonate the account (exit code 1)"
    assert f"add-iam-policy-binding {EMAIL} --member=user:{DEV.email} " in (error.remedy or "")


def test_one_that_may_not_be_run(gcloud: Gcloud, tmp_path: Path) -> None:
    source = gcloud.installed().source()
    (tmp_path / "gcloud").chmod(0o600)
    fails(
        source.fetch,
        AUDIENCE,
        cause="gcloud_missing",
        detail="gcloud is on PATH, and may not be run by this user",
    )


def test_not_installed(gcloud: Gcloud) -> None:
    fails(
        gcloud.source().fetch,
        AUDIENCE,
        cause="gcloud_missing",
        fault=Fault.OPERATOR,
        detail="gcloud is not installed, or not on PATH",
        remedy="Install it (https://cloud.google.com/sdk/docs/install), or use another identity: after "
        "`gcloud auth application-default login` elsewhere, {type: user} needs the file alone",
    )


def test_one_that_hangs(gcloud: Gcloud) -> None:
    fails(
        gcloud.installed(does="time.sleep(60)").source(deadline=0.6).fetch,
        AUDIENCE,
        cause="gcloud_timeout",
        fault=Fault.OPERATOR,
        detail="gcloud did not answer within 1 s",
        remedy="See what it waits for: gcloud auth print-identity-token",
    )


@pytest.mark.parametrize(
    ("prints", "user", "cause"),
    [
        ("SENTINEL" * 10_000, None, "garbage"),
        ("SENTINEL", None, "garbage"),
        (USER_TOKEN, None, "wrong_audience"),
        ("SENTINEL", DEV.email, "garbage"),
    ],
    ids=range(4),
)
def test_garbage(gcloud: Gcloud, prints: str, user: str | None, cause: str) -> None:
    fails(gcloud.installed(prints, user=user).source().fetch, AUDIENCE, cause=cause)


IAP = "1-a.apps.googleusercontent.com"


@pytest.mark.parametrize(
    ("installed", "account", "audience", "objects"),
    [
        ({"user": DEV.email}, None, IAP, True),
        ({"user": CALLER.email}, DEV.email, IAP, True),
        ({"user": CALLER.email}, None, IAP, False),
        ({"user": DEV.email, "impersonates": EMAIL}, None, IAP, False),
        ({}, None, IAP, False),
        ({"user": DEV.email}, None, AUDIENCE, False),
        (None, DEV.email, IAP, False),
    ],
)
def test_which_receivers_take_it(
    gcloud: Gcloud, installed: dict[str, Any] | None, account: str | None, audience: str, *, objects: bool
) -> None:
    if installed is not None:
        gcloud.installed(**installed)
    source = gcloud.source(account)
    assert isinstance(source, RestrictedAudience)
    error = source.objection(audience, "app.example.com" if audience == IAP else "x.run.app")
    assert (error is not None) == objects
    if error is not None:
        assert error.detail == (
            f"the gcloud login of {DEV.email} gives a token for its own client ID, whatever the audience: "
            "IAP takes its own client ID alone"
        )
        assert f"--member=user:{DEV.email} " in (error.remedy or "")
