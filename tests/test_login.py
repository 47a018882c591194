"""`idtoken-proxy login` and `logout`, against the emulator's consent page."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from idtoken_proxy.emulator import Account, Emulator, World
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.login_store import LoginStore
from idtoken_proxy.identity.oauth_client import OAuthClient
from idtoken_proxy.login import CONNECTIONS, Attempt, Desk, identity_of
from idtoken_proxy.settings.identities import ImpersonatedIdentity, MetadataIdentity, OauthIdentity
from idtoken_proxy.settings.model import CLOUD_PLATFORM, Route, Settings, Upstream
from tests.cases import for_each
from tests.identity.sources.emulated import consented, write

DEV = Account("dev@example.com")


@pytest.fixture
async def emulator(keys: Keys) -> AsyncIterator[Emulator]:
    async with Emulator(World("proj", (DEV,), ()), keys=keys) as running:
        yield running


def desk_of(emulator: Emulator, directory: Path, *scopes: str) -> Desk:
    path = write(directory / "client.json", emulator.client_file)
    return Desk.of(OauthIdentity(str(path), scopes), None, {"XDG_STATE_HOME": str(directory)}, LoginStore)


class Browser:
    """Goes where it is shown, clicks, and follows the way back."""

    def __init__(self, who: str = DEV.email, *, bend: str | None = None) -> None:
        self.who, self.bend = who, bend
        self.url = ""
        self.answers: list[tuple[int, str]] = []
        self.thread: threading.Thread | None = None

    def show(self, url: str) -> None:
        self.url = url
        self.thread = threading.Thread(target=self._go)
        self.thread.start()

    def browse(self, page: str) -> None:
        """Is led on first."""
        self.url = page
        self.thread = threading.Thread(target=self._follow)
        self.thread.start()

    def _follow(self) -> None:
        with urllib.request.urlopen(self.url, timeout=10) as consent:
            url = consent.url
        self._get(consented(url, self.who))

    def _go(self) -> None:
        back = consented(self.url, self.who)
        if self.bend is not None:  # somebody else's page comes by first
            self._get(back.partition("?")[0] + self.bend)
        self._get(back)

    def _get(self, url: str) -> None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                self.answers.append((answer.status, answer.read().decode()))
        except urllib.error.HTTPError as error:
            self.answers.append((error.code, error.read().decode()))
            error.close()


async def test_a_login_by_the_browser(emulator: Emulator, tmp_path: Path) -> None:
    desk, browser = await asyncio.to_thread(desk_of, emulator, tmp_path, CLOUD_PLATFORM), Browser()
    told = await asyncio.to_thread(desk.log_in, browser.show)
    assert told == f"Logged in as {DEV.email}; kept in {desk.store.path}"
    query = {name: values[0] for name, values in parse_qs(urlsplit(browser.url).query).items()}
    assert query["redirect_uri"].startswith("http://127.0.0.1:")
    assert (query["code_challenge_method"], query["access_type"], query["response_type"]) == (
        "S256",
        "offline",
        "code",
    )
    assert query["scope"] == f"openid email {CLOUD_PLATFORM}"
    login = desk.store.load()
    assert (login.email, CLOUD_PLATFORM in login.scopes) == (DEV.email, True)
    assert browser.thread is not None
    browser.thread.join()
    [(status, page)] = browser.answers
    assert (status, "Logged in" in page) == (200, True)
    assert login.refresh_token not in f"{told}{browser.url}{page}"


@for_each("bend", ["?code=4/evil&state=guessed", "?code=4/evil", "", "?error=access_denied"])
def test_what_is_not_the_answer_changes_nothing(bend: str) -> None:
    attempt = Attempt(_client(), (), "http://127.0.0.1:1/")
    with pytest.raises(ValueError, match="no answer"):
        attempt.code_of(f"/{bend}")


def _client() -> OAuthClient:
    return OAuthClient("a", "b", "https://a/auth", "https://a/token")


async def test_somebody_else_who_comes_by_is_sent_away(emulator: Emulator, tmp_path: Path) -> None:
    desk = await asyncio.to_thread(desk_of, emulator, tmp_path)
    browser = Browser(bend="?code=4/evil&state=guessed")
    await asyncio.to_thread(desk.log_in, browser.show)
    assert browser.thread is not None
    browser.thread.join()
    assert [status for status, _ in browser.answers] == [400, 200]


async def test_a_person_who_says_no(emulator: Emulator, tmp_path: Path) -> None:
    desk = await asyncio.to_thread(desk_of, emulator, tmp_path)

    def refused(url: str) -> str:
        query = parse_qs(urlsplit(url).query)
        return f"{query['redirect_uri'][0]}?error=access_denied&state={query['state'][0]}"

    shown: list[str] = []
    with pytest.raises(TokenError) as caught:
        await asyncio.to_thread(desk.log_in, shown.append, lambda: refused(shown[0]))
    assert (caught.value.cause, "access_denied" in caught.value.detail) == ("login_refused", True)
    with pytest.raises(TokenError):
        desk.store.load()


async def test_a_code_is_good_once_and_for_who_asked(emulator: Emulator, tmp_path: Path) -> None:
    desk = await asyncio.to_thread(desk_of, emulator, tmp_path)
    first, other = (Attempt(desk.client, (), "http://127.0.0.1:1/") for _ in range(2))
    code = first.code_of(await asyncio.to_thread(consented, first.url, DEV.email))
    with pytest.raises(TokenError):
        await asyncio.to_thread(other.exchange, code)  # who has not the verifier
    with pytest.raises(TokenError):
        await asyncio.to_thread(first.exchange, code)  # and now it is gone


async def test_logout_revokes_and_removes(emulator: Emulator, tmp_path: Path) -> None:
    desk = await asyncio.to_thread(desk_of, emulator, tmp_path)
    for again in (False, True):
        await asyncio.to_thread(desk.log_in, Browser().show)
        if again:
            token = desk.store.load().refresh_token
            await asyncio.to_thread(
                urllib.request.urlopen,
                f"{emulator.url}/revoke",
                f"token={token}".encode().replace(b"/", b"%2F"),
            )
        told = await asyncio.to_thread(desk.log_out)
        assert told.endswith("removed; it had ended already" if again else "revoked and removed")
        with pytest.raises(TokenError) as caught:
            await asyncio.to_thread(desk.log_out)
        assert caught.value.cause == "login_missing"


async def test_logout_forgets_a_login_that_others_may_have_read_and_one_that_is_broken(
    emulator: Emulator, tmp_path: Path
) -> None:
    desk = await asyncio.to_thread(desk_of, emulator, tmp_path)
    await asyncio.to_thread(desk.log_in, Browser().show)
    kept = Path(desk.store.path)
    kept.chmod(0o644)
    with pytest.raises(TokenError):
        desk.store.load()
    assert (await asyncio.to_thread(desk.log_out)).endswith("revoked and removed")
    assert not kept.exists()
    kept.write_text("{")
    told = await asyncio.to_thread(desk.log_out)
    assert "removed, and not revoked" in told
    assert CONNECTIONS in told
    assert not kept.exists()


async def test_logout_says_what_it_could_not_remove(emulator: Emulator, tmp_path: Path) -> None:
    desk = await asyncio.to_thread(desk_of, emulator, tmp_path)
    Path(desk.store.path).mkdir(parents=True)
    with pytest.raises(TokenError) as caught:
        await asyncio.to_thread(desk.log_out)
    assert "cannot be removed" in caught.value.detail
    assert caught.value.remedy == f"rm -r {desk.store.path}"


async def test_the_login_s_url_is_on_no_browser_s_command_line(emulator: Emulator, tmp_path: Path) -> None:
    """The process list is for all users of the machine."""
    desk, browser = await asyncio.to_thread(desk_of, emulator, tmp_path), Browser()
    shown: list[str] = []
    await asyncio.to_thread(desk.log_in, shown.append, None, browser.browse)
    query = parse_qs(urlsplit(shown[0]).query)
    assert browser.url.startswith(query["redirect_uri"][0])
    for secret in ("state", "code_challenge"):
        assert query[secret][0] not in browser.url
    assert browser.thread is not None
    browser.thread.join()
    assert [status for status, _ in browser.answers] == [200]


MINE, YOURS = OauthIdentity("/a"), OauthIdentity("/b")


def settings(**routes: object) -> Settings:
    upstream = Upstream("http", "127.0.0.1", 1)
    return Settings(tuple(Route(name, upstream, "a", identity) for name, identity in routes.items()))  # type: ignore[arg-type]


def test_whose_login() -> None:
    nested = ImpersonatedIdentity("a@b", source=MINE)
    assert identity_of(settings(a=MINE, b=MetadataIdentity()), None) == MINE
    assert identity_of(settings(a=MINE, b=nested), None) == MINE
    assert identity_of(settings(a=MINE, b=YOURS), "b") == YOURS


@for_each(
    ("routes", "route", "said"),
    [
        (
            {"a": MINE, "b": YOURS},
            None,
            "there are several logins; name one of their routes with --route: a, b",
        ),
        ({"a": MetadataIdentity()}, None, "no route has an identity of type oauth"),
        ({"a": MetadataIdentity()}, "a", 'route "a" has an identity'),
        ({"a": MINE}, "c", "there is no such route; there are: a"),
    ],
)
def test_a_login_that_cannot_be_told(routes: dict[str, object], route: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        identity_of(settings(**routes), route)


async def test_the_command_keeps_the_refresh_token_to_itself(emulator: Emulator, tmp_path: Path) -> None:
    """Neither on its command line nor in anything that it says; and the other command forgets it."""
    write(tmp_path / "client.json", emulator.client_file)
    route = {
        "name": "a",
        "upstream": "http://127.0.0.1:1",
        "identity": {"type": "oauth", "client_file": "client.json"},
    }
    write(tmp_path / "proxy.yaml", {"routes": [route]})
    environ = {"XDG_STATE_HOME": str(tmp_path), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    argv = [sys.executable, "-m", "idtoken_proxy"]
    file = ["-c", str(tmp_path / "proxy.yaml")]

    def logged_in() -> str:
        with subprocess.Popen(
            [*argv, "login", *file, "--no-browser"],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            said = ""
            while "http" not in said:
                said += process.stderr.readline()
            url = next(word for word in said.split() if word.startswith("http"))
            out, err = process.communicate(consented(url, DEV.email) + "\n", timeout=30)
            assert process.returncode == 0, err
            return said + out + err

    told = await asyncio.to_thread(logged_in)
    assert f"Logged in as {DEV.email}" in told
    [kept] = (tmp_path / "idtoken-proxy" / "logins").iterdir()
    token = json.loads(kept.read_text())["refresh_token"]
    assert token not in told
    ended = await asyncio.to_thread(
        subprocess.run, [*argv, "logout", *file], env=environ, capture_output=True, text=True, check=True
    )
    assert "revoked and removed" in ended.stdout
    assert not kept.exists()
    again = await asyncio.to_thread(
        subprocess.run, [*argv, "logout", *file], env=environ, capture_output=True, text=True, check=False
    )
    assert (again.returncode, "nobody has logged in" in again.stderr) == (1, True)


@pytest.mark.thorough
async def test_the_command_opens_a_browser(emulator: Emulator, tmp_path: Path) -> None:
    """One that the environment names, which keeps its command line, as `ps` would show it."""
    write(tmp_path / "client.json", emulator.client_file)
    route = {
        "name": "a",
        "upstream": "http://127.0.0.1:1",
        "identity": {"type": "oauth", "client_file": "client.json"},
    }
    write(tmp_path / "proxy.yaml", {"routes": [route]})
    browser = tmp_path / "browser"
    browser.write_text(
        f"""#!{sys.executable}
import sys, urllib.parse, urllib.request
open({str(tmp_path / "argv")!r}, "w").write(repr(sys.argv))
page = urllib.request.urlopen(sys.argv[1], timeout=10)
urllib.request.urlopen(page.url, urllib.parse.urlencode({{"account": {DEV.email!r}}}).encode(), timeout=10)
"""
    )
    browser.chmod(0o700)
    environ = {
        "XDG_STATE_HOME": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "BROWSER": str(browser),
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "idtoken_proxy", "login", "-c", str(tmp_path / "proxy.yaml")],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"Logged in as {DEV.email}" in done.stdout
    url = next(word for word in done.stderr.split() if word.startswith("http"))
    state = parse_qs(urlsplit(url).query)["state"][0]
    argv = (tmp_path / "argv").read_text()
    assert "http://127.0.0.1:" in argv
    assert state not in argv
