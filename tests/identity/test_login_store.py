"""The refresh token is in its store, and nowhere else; of two who log in at once one good login is left."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idtoken_proxy.errors import TokenError
from idtoken_proxy.identity.login_store import COMMAND, SERVICE, Login, LoginStore, system_keyring
from tests.cases import for_each

CLIENT = "55-a.apps.googleusercontent.com"
LOGIN = Login("1//SENTINEL", "dev@example.com", ("openid", "email"))


class Ring:
    """A keyring."""

    def __init__(self, *, locked: bool = False) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = locked

    def get_password(self, service: str, username: str) -> str | None:
        self._open()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._open()
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._open()
        del self.kept[service, username]

    def _open(self) -> None:
        if self.locked:
            raise RuntimeError("locked")


def store(directory: Path, ring: Ring | None = None) -> LoginStore:
    return LoginStore(CLIENT, {"XDG_STATE_HOME": str(directory)}, ring)


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_without_a_keyring_it_is_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        kept = store(tmp_path)
        assert kept.save(LOGIN) == kept.path
    finally:
        os.umask(before)
    [file] = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert store(tmp_path).load() == LOGIN
    assert "SENTINEL" not in f"{LOGIN!r}{kept!r}{kept.path}"


def test_in_a_keyring_no_file_holds_it(tmp_path: Path) -> None:
    ring = Ring()
    assert store(tmp_path, ring).save(LOGIN) == "the system's keyring"
    assert ring.kept == {(SERVICE, CLIENT): "1//SENTINEL"}
    [file] = files(tmp_path)
    assert "SENTINEL" not in file.read_text()
    assert store(tmp_path, ring).load() == LOGIN
    store(tmp_path, ring).remove()
    assert (ring.kept, files(tmp_path)) == ({}, [])


def test_a_keyring_that_does_not_take_it_leaves_the_file(tmp_path: Path) -> None:
    ring = Ring(locked=True)
    kept = store(tmp_path, ring)
    assert kept.save(LOGIN) == kept.path
    assert kept.load() == LOGIN


def fails(kept: LoginStore) -> TokenError:
    with pytest.raises(TokenError) as caught:
        kept.load()
    assert "SENTINEL" not in f"{caught.value}{caught.value.remedy}"
    return caught.value


def test_what_cannot_be_had_says_so(tmp_path: Path) -> None:
    missing = fails(store(tmp_path))
    assert (missing.cause, missing.login, missing.remedy) == ("login_missing", COMMAND, COMMAND)
    ring = Ring()
    store(tmp_path, ring).save(LOGIN)
    ring.locked = True
    locked = fails(store(tmp_path, ring))
    assert "locked" in locked.detail
    assert (locked.remedy, locked.login) == (f"Unlock it, or {COMMAND}", COMMAND)
    assert fails(store(tmp_path)).cause == "login_store"  # the library is gone


def test_one_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    store(tmp_path).save(LOGIN)
    [file] = files(tmp_path)
    file.chmod(0o640)
    assert str(fails(store(tmp_path)).remedy).startswith(f"chmod 600 {file}")


def test_a_directory_that_others_may_write_to_is_mended_and_one_with_a_login_refused(tmp_path: Path) -> None:
    directory = tmp_path / "idtoken-proxy" / "logins"
    directory.mkdir(parents=True)
    for path in (directory, directory.parent):
        path.chmod(0o777)
    store(tmp_path).save(LOGIN)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (directory, directory.parent)] == [0o700, 0o755]
    assert store(tmp_path).load() == LOGIN
    directory.chmod(0o770)
    told = fails(store(tmp_path))
    assert str(told.remedy).startswith(f"chmod 700 {directory}")
    assert store(tmp_path).found() == LOGIN  # which logout revokes


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away")
def test_a_directory_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    directory = tmp_path / "idtoken-proxy" / "logins"
    directory.mkdir(parents=True)
    os.chown(directory, 12345, 12345)
    with pytest.raises(OSError, match="belongs to another user"):
        store(tmp_path).save(LOGIN)
    assert files(tmp_path) == []


def test_what_is_locked_stays_and_is_named(tmp_path: Path) -> None:
    ring = Ring()
    store(tmp_path, ring).save(LOGIN)
    ring.locked = True
    kept = store(tmp_path, ring)
    for _ in range(2):
        what, how = left_of(kept)
        assert "locked" in what
        assert f"keyring del {SERVICE} {CLIENT}" in how
    ring.locked = False
    assert kept.remove() is None
    assert (ring.kept, files(tmp_path), fails(kept).cause) == ({}, [], "login_missing")


def test_what_the_keyring_alone_is_left_of_is_found_and_removed(tmp_path: Path) -> None:
    ring = Ring()
    kept = store(tmp_path, ring)
    kept.save(LOGIN)
    Path(kept.path).unlink()
    assert fails(kept).cause == "login_missing"  # nobody uses it
    assert kept.found().refresh_token == LOGIN.refresh_token  # but logout, which revokes it
    assert kept.remove() is None
    assert ring.kept == {}


def test_a_file_with_the_token_in_it_goes_whatever_the_keyring_does(tmp_path: Path) -> None:
    kept = store(tmp_path, Ring(locked=True))
    kept.save(LOGIN)
    assert kept.remove() is None
    assert files(tmp_path) == []


def test_what_a_library_that_is_gone_has_kept_is_named(tmp_path: Path) -> None:
    store(tmp_path, Ring()).save(LOGIN)
    assert "keyring del" in left_of(store(tmp_path))[1]


def test_what_is_in_the_file_s_place_is_named(tmp_path: Path) -> None:
    kept = store(tmp_path)
    Path(kept.path).mkdir(parents=True)
    what, how = left_of(kept)
    assert "cannot be removed" in what
    assert how == f"rm -r {kept.path}"


def left_of(kept: LoginStore) -> tuple[str, str]:
    left = kept.remove()
    assert left is not None
    return left


@for_each(
    "content", ["", "{", "[]", '{"kept_in": "file"}', '{"kept_in": "file", "refresh_token": 7}', "[" * 50_000]
)
def test_one_that_is_broken(content: str) -> None:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory:
        kept = store(Path(directory))
        kept.save(LOGIN)
        [file] = files(Path(directory))
        file.write_text(content)
        assert fails(kept).cause == "login_store"


def test_a_change_shows_in_its_version(tmp_path: Path) -> None:
    kept = store(tmp_path, Ring())
    versions = [kept.version()]
    for act in (lambda: kept.save(LOGIN), lambda: kept.save(LOGIN), kept.remove):
        cast_act: Callable[[], Any] = act
        cast_act()
        versions.append(kept.version())
    assert versions[0] is versions[3] is None
    assert len({versions[1], versions[2]}) == 2


def _again_and_again(directory: str, number: int) -> None:
    for turn in range(60):
        store(Path(directory)).save(Login(f"1//{number}", f"{number}@example.com", (str(turn),)))


def test_two_processes_that_log_in_at_once_leave_one_good_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_again_and_again, args=(str(tmp_path), number)) for number in (1, 2)]
    for one in both:
        one.start()
    seen = set()
    while any(one.is_alive() for one in both):
        try:
            found = store(tmp_path).load()
        except TokenError as error:
            assert error.cause == "login_missing"  # neither has been there yet  # noqa: PT017
            continue
        assert found.refresh_token.removeprefix("1//") == str(found.email).removesuffix("@example.com")
        seen.add(found.refresh_token)
    for one in both:
        one.join()
        assert one.exitcode == 0
    [file] = files(tmp_path)
    assert json.loads(file.read_text())["kept_in"] == "file"
    assert store(tmp_path).load().refresh_token in ("1//1", "1//2")


def test_the_system_s_keyring_is_one_that_encrypts_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring  # noqa: PLC0415
    from keyring.backends import fail, null  # noqa: PLC0415

    for backend in (fail.Keyring(), null.Keyring()):  # type: ignore[no-untyped-call]
        monkeypatch.setattr(keyring, "get_keyring", lambda backend=backend: backend)
        assert system_keyring() is None
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert system_keyring() is None
