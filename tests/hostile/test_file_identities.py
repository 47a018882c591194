"""A token's file in a place where others write: whatever its path leads to by now, nobody waits and nothing else is sent."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from idtoken_proxy.errors import ConfigError, Fault, TokenError
from idtoken_proxy.generation import load
from idtoken_proxy.identity.sources.aws_container import read_token
from idtoken_proxy.identity.sources.credential_file import CredentialFile
from idtoken_proxy.identity.sources.file import FileSource
from idtoken_proxy.settings.load import load_settings
from tests.identity.fakes import AUDIENCE, START, jwt
from tests.identity.sources.test_executable import GOOD, Scene

PATIENCE: Final = 10.0
MASTERS: Final[list[int]] = []  # of terminals: one that is closed is none any more


def token(number: int) -> str:
    return jwt({"aud": AUDIENCE, "exp": START + number, "sub": "x" * 2000})


def in_time(read: Callable[[], object]) -> object:
    """What it returns or raises, which must not depend on anybody else."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(read())
        except Exception as error:  # noqa: BLE001 -- for whoever asked
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it waits for somebody"
    return outcome[0]


# -- what a path may lead to ----------------------------------------------------------


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def loop(path: Path) -> None:
    other = path.with_name("other")
    other.symlink_to(path)
    path.symlink_to(other)


def fifo_behind_a_link(path: Path) -> None:
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to(path.with_name("fifo"))


def fifo_with_a_writer(path: Path) -> None:
    """Who has it open, and says nothing."""
    os.mkfifo(path)
    MASTERS.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def terminal(path: Path) -> None:
    """Which would wait for a key, and might become the proxy's own."""
    master, slave = os.openpty()
    path.symlink_to(os.ttyname(slave))
    MASTERS.extend((master, slave))


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"x" * 100_000)
        file.truncate(1 << 40)


ODD: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "nothing": (lambda _: None, "No such file"),
    "a dangling link": (dangling, "No such file"),
    "a loop of links": (loop, "Too many levels of symbolic links"),
    "a directory": (Path.mkdir, "Is a directory"),
    "a directory behind a link": (lambda path: path.symlink_to(path.parent), "Is a directory"),
    "a pipe": (os.mkfifo, "a pipe"),
    "a pipe behind a link": (fifo_behind_a_link, "a pipe"),
    "a pipe with a silent writer": (fifo_with_a_writer, "a pipe"),
    "a socket": (unix_socket, "No such device or address"),
    "an endless device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "random octets": (lambda path: path.symlink_to("/dev/urandom"), "a device"),
    "nothing at all": (lambda path: path.symlink_to("/dev/null"), "a device"),
    "a terminal": (terminal, "a device"),
    "the controlling terminal": (lambda path: path.symlink_to("/dev/tty"), ""),
    "a process's memory": (lambda path: path.symlink_to("/proc/self/mem"), ""),
    "a huge file": (huge, ""),
}  # fmt: skip


@pytest.fixture
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    make, why = ODD[request.param]
    path = tmp_path / "token"
    make(path)
    return path, why


EACH = pytest.mark.parametrize("odd", ODD, indirect=True)


@EACH
def test_a_token_file_that_is_none(odd: tuple[Path, str]) -> None:
    path, why = odd
    error = in_time(lambda: FileSource(str(path)).fetch(AUDIENCE))
    assert isinstance(error, TokenError)
    assert error.fault is Fault.OPERATOR
    assert error.cause in ("file_missing", "file_unreadable", "garbage")
    assert why in error.detail
    assert str(path) in error.detail


@EACH
def test_a_credential_file_that_is_none(odd: tuple[Path, str]) -> None:
    path, why = odd
    error = in_time(CredentialFile(str(path)).read)
    assert isinstance(error, TokenError)
    assert error.fault is Fault.OPERATOR
    assert why in error.detail or error.cause == "credential_file_missing"


@EACH
def test_a_web_identity_token_that_is_none(odd: tuple[Path, str]) -> None:
    path, _ = odd
    outcome = in_time(lambda: read_token("AWS_WEB_IDENTITY_TOKEN_FILE", str(path)))
    assert isinstance(outcome, TokenError) or "huge" in str(outcome) or set(str(outcome)) == {"x"}


@EACH
def test_an_executable_s_output_file_that_is_none(odd: tuple[Path, str], tmp_path: Path) -> None:
    """It runs, as where there is no such file."""
    scene = Scene(tmp_path).prints(GOOD)
    assert in_time(scene.executable(output_file=str(odd[0])).subject_token) == "SENTINEL"


@EACH
@pytest.mark.parametrize("key", ["guard: {caller_token_file: token}", "tls: {ca_file: token}"])
def test_what_the_configuration_names_and_is_none(odd: tuple[Path, str], tmp_path: Path, key: str) -> None:
    """At a reload too, whose thread would be the one that waits."""
    file = tmp_path / "proxy.yaml"
    file.write_text(
        f"routes: [{{name: a, upstream: 'https://a.example', audience: x}}]\nidentity: none\n{key}\n"
    )
    outcome = in_time(lambda: load(load_settings(str(file), {}), {}))
    assert isinstance(outcome, ConfigError)


# -- what becomes of one that is good ---------------------------------------------------


def swap(volume: Path, number: int) -> None:
    """As the kubelet changes a Secret: a new directory, and one link that is renamed onto the old one."""
    directory = volume / f"..{number}"
    directory.mkdir()
    (directory / "token").write_text(token(number))
    (volume / "..new").symlink_to(directory.name)
    (volume / "..new").rename(volume / "..data")


def test_kubernetes_swaps_its_link_while_it_is_read(tmp_path: Path) -> None:
    """Each read gives a whole token, and never one that is older than the last."""
    swap(tmp_path, 0)
    (tmp_path / "token").symlink_to("..data/token")
    source = FileSource(str(tmp_path / "token"))
    done = threading.Event()
    seen: list[float] = []

    def read() -> None:
        while not done.is_set():
            seen.append(source.fetch(AUDIENCE).expires_at - START)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(1, 200):
            swap(tmp_path, number)
    finally:
        done.set()
        thread.join(PATIENCE)
    assert source.fetch(AUDIENCE).expires_at == START + 199
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


def test_the_link_dangles_for_a_while(tmp_path: Path) -> None:
    """As where a volume is made anew: an error, and then the new one, not the one that was kept."""
    swap(tmp_path, 1)
    path = tmp_path / "token"
    path.symlink_to("..data/token")
    source = FileSource(str(path))
    source.fetch(AUDIENCE)
    (tmp_path / "..data").unlink()
    with pytest.raises(TokenError, match="No such file"):
        source.fetch(AUDIENCE)
    swap(tmp_path, 2)
    assert source.fetch(AUDIENCE).expires_at == START + 2


def test_another_user_s_file_in_its_place_is_what_the_directory_allows(tmp_path: Path) -> None:
    """Whoever may rename in its directory chooses the token; the check of its form and time is the same for all. What
    leads to a file that this user may not read is an error, and its content is in none.
    """
    path = tmp_path / "token"
    path.write_text(token(1))
    source = FileSource(str(path))
    source.fetch(AUDIENCE)
    (tmp_path / "other").write_text(json.dumps({"private_key": "SENTINEL"}))
    (tmp_path / "other").rename(path)
    with pytest.raises(TokenError) as caught:
        source.fetch(AUDIENCE)
    assert "SENTINEL" not in f"{caught.value}{caught.value.remedy}{caught.value.log_detail}"
    if os.geteuid():
        path.chmod(0)
        with pytest.raises(TokenError, match="Permission denied"):
            source.fetch(AUDIENCE)
