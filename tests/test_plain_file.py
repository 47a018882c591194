from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from idtoken_proxy.plain_file import NotPlain, check_plain, read_plain, version


def test_what_it_holds_and_what_it_looked_like(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    read = read_plain(path, 100)
    assert (read.content, read.version) == (b"hello", version(path))
    assert "hello" not in repr(read)
    path.write_bytes(b"hello, world")
    assert version(path) != read.version


def test_no_more_than_the_limit_and_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room
    assert read_plain(path, 10).content == bytes(11)


def test_what_is_written_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    pread, contents = os.pread, [b"newer", b"newest"]

    def busy(descriptor: int, count: int, offset: int) -> bytes:
        read = pread(descriptor, count, offset)
        if contents:
            path.write_bytes(contents.pop(0))
        return read

    monkeypatch.setattr(os, "pread", busy)
    assert read_plain(path, 100).content == b"newest"


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.close()
    for reads in (check_plain, lambda path: read_plain(path, 10)):
        with pytest.raises(OSError, match=f"it is a {kind}, and no file|No such device") as caught:
            reads(path)
        assert isinstance(caught.value, NotPlain) == (kind != "socket")


def test_other_errors_are_the_kernel_s(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        check_plain(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_plain(tmp_path / "x")
    with pytest.raises(ValueError, match="null"):
        check_plain("a\0b")
