"""Sockets in directories of all kinds; whom a mode lets in is for test_listeners.py and end_to_end/test_unix_sockets.py."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.engine.socket_file import bind

ROOT = os.geteuid() == 0
ANOTHER = 12345


@pytest.fixture
def home() -> Iterator[Path]:
    """Short: a unix socket's path has 107 octets at the most."""
    made = Path(mkdtemp())
    yield made
    shutil.rmtree(made)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o1777, 0o1770])
def test_a_directory_that_others_cannot_rearrange(home: Path, mode: int) -> None:
    (home / "run").mkdir()
    (home / "run").chmod(mode)
    bound, file = bind(home / "run" / "s")
    with bound:
        assert mode_of(home / "run" / "s") == 0o600
        assert mode_of(home / "run") == mode
        file.share(shared=True)
        assert mode_of(home / "run" / "s") == 0o666
        assert mode_of(home / "run") == mode
    file.remove()
    assert not (home / "run" / "s").exists()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o770, 0o707, 0o2777])
def test_a_directory_that_others_may_write_to_is_none(home: Path, mode: int) -> None:
    (home / "run").mkdir()
    (home / "run").chmod(mode)
    with pytest.raises(OSError, match=f"others may write to its directory {home}/run"):
        bind(home / "run" / "s")
    assert not (home / "run" / "s").exists()


@pytest.mark.skipif(not ROOT, reason="root alone can give a directory away")
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777])
def test_a_directory_of_another_user_is_none(home: Path, mode: int) -> None:
    (home / "run").mkdir()
    (home / "run").chmod(mode)
    os.chown(home / "run", ANOTHER, -1)
    with pytest.raises(OSError, match=rf"its directory {home}/run is another user's \(uid {ANOTHER}\)"):
        bind(home / "run" / "s")


def test_a_link_to_such_a_directory_is_none_either(home: Path) -> None:
    (home / "open").mkdir()
    (home / "open").chmod(0o777)
    (home / "run").symlink_to(home / "open")
    with pytest.raises(OSError, match="others may write"):
        bind(home / "run" / "s")


def told_of(path: Path) -> list[str]:
    with capture_logs() as logs:
        bound, file = bind(path)
    bound.close()
    file.remove()
    return [line["reason"] for line in logs]


def test_of_a_directory_above_that_others_may_rearrange_it_is_warned(home: Path) -> None:
    (home / "open").mkdir()
    above = home / "open"
    for mode, told in ((0o755, []), (0o1777, []), (0o775, []), (0o777, ["open to every user"])):
        above.chmod(mode)
        for path in (above / "a" / "s", above / "a" / "b" / "s"):
            assert told_of(path) == [f"{above}, above its directory, is {one}" for one in told]
    (home / "link").symlink_to(above / "a")
    assert told_of(home / "link" / "b" / "s") == [f"{above}, above its directory, is open to every user"]


@pytest.mark.skipif(not ROOT, reason="root alone can give a directory away")
def test_of_one_that_is_another_user_s_too(home: Path) -> None:
    (home / "theirs").mkdir()
    os.chown(home / "theirs", ANOTHER, -1)
    assert told_of(home / "theirs" / "a" / "s") == [
        f"{home}/theirs, above its directory, is another user's (uid {ANOTHER})"
    ]


def test_what_is_made_on_the_way_is_nobody_else_s_to_write_whatever_the_umask(home: Path) -> None:
    before = os.umask(0)
    try:
        bound, file = bind(home / "a" / "b" / "c" / "s")
    finally:
        os.umask(before)
    with bound:
        modes = [mode_of(home / path) for path in ("a", "a/b", "a/b/c", "a/b/c/s")]
        assert modes == [0o755, 0o755, 0o700, 0o600]
        file.share(shared=True)
        assert [mode_of(home / path) for path in ("a/b/c", "a/b/c/s")] == [0o755, 0o666]
        file.share(shared=False)
        assert [mode_of(home / path) for path in ("a/b/c", "a/b/c/s")] == [0o700, 0o600]
    file.remove()


def test_modes_are_set_on_what_was_made_and_not_on_what_its_path_leads_to_since(home: Path) -> None:
    bound, file = bind(home / "run" / "s")
    with bound:
        (home / "run").rename(home / "moved")
        (home / "run").mkdir(mode=0o700)
        (home / "run" / "s").write_text("another's")
        (home / "run" / "s").chmod(0o600)
        file.share(shared=True)
        assert (mode_of(home / "run"), mode_of(home / "run" / "s")) == (0o700, 0o600)
        assert (mode_of(home / "moved"), mode_of(home / "moved" / "s")) == (0o755, 0o666)
    file.remove()
    assert (home / "run" / "s").exists()
    assert not (home / "moved" / "s").exists()


def test_a_link_in_its_place_is_neither_opened_nor_removed(home: Path) -> None:
    secret = home / "secret"
    secret.write_text("precious")
    secret.chmod(0o600)
    bound, file = bind(home / "run" / "s")
    with bound:
        (home / "run" / "s").rename(home / "run" / "t")
        (home / "run" / "s").symlink_to(secret)
        file.share(shared=True)
        assert mode_of(secret) == 0o600
    file.remove()
    assert (home / "run" / "s").is_symlink()


def test_a_link_where_the_socket_is_to_be_is_no_stale_socket(home: Path) -> None:
    (home / "run").mkdir(mode=0o700)
    (home / "run" / "s").symlink_to(home / "elsewhere")
    with pytest.raises(OSError, match="something that is no socket"):
        bind(home / "run" / "s")


def test_nothing_stays_open(home: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    bound, file = bind(home / "run" / "s")
    bound.listen()
    with pytest.raises(OSError, match="another process listens there"):
        bind(home / "run" / "s")
    bound.close()
    file.remove()
    assert open_files() == before
