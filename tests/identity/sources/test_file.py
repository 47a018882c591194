from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.file import FileSource
from tests.identity.fakes import AUDIENCE, START, jwt


def write(path: Path, *, exp: float = START, audience: str = AUDIENCE) -> str:
    value = jwt({"aud": audience, "exp": exp})
    path.write_text(value + "\n")
    return value


def fails(source: FileSource) -> TokenError:
    with pytest.raises(TokenError) as caught:
        source.fetch(AUDIENCE)
    return caught.value


def test_reads_the_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    value = write(path)
    source = FileSource(str(path))
    token = source.fetch(AUDIENCE)
    assert (token.value, token.audience, token.expires_at) == (value, AUDIENCE, START)
    assert source.fetch(AUDIENCE) is token  # unchanged: not read again
    assert source.describe() == f"token file {path}"


def test_reads_again_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write(path)
    source = FileSource(str(path))
    first = source.fetch(AUDIENCE)
    write(path, exp=START + 1)
    os.utime(path, ns=(1, 1))
    assert source.fetch(AUDIENCE).expires_at == START + 1
    assert first.expires_at == START


def test_reads_again_when_the_file_is_replaced(tmp_path: Path) -> None:
    """As Kubernetes and every careful writer do it; the time stamp may well be the same."""
    path, beside = tmp_path / "token", tmp_path / "new"
    write(path)
    source = FileSource(str(path))
    source.fetch(AUDIENCE)
    write(beside, exp=START + 1)
    stat = path.stat()
    os.utime(beside, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    beside.rename(path)
    assert source.fetch(AUDIENCE).expires_at == START + 1


def test_another_audience_is_a_warning_given_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    value = write(path, audience="https://custom.example")
    source = FileSource(str(path))
    with capture_logs() as logs:
        assert source.fetch(AUDIENCE).audience == "https://custom.example"
        write(path, audience="https://custom.example", exp=START + 1)
        source.fetch(AUDIENCE)
    assert [(line["event"], line["audience"], line["token_audience"]) for line in logs] == [
        ("token file for another audience", AUDIENCE, "https://custom.example")
    ]
    assert value not in repr(logs)


def test_each_route_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write(path, audience="https://custom.example")
    source = FileSource(str(path))
    with capture_logs() as logs:
        source.fetch("https://one")
        source.fetch("https://two")
        source.fetch("https://two")
    assert [line["audience"] for line in logs] == ["https://one", "https://two"]


def test_missing(tmp_path: Path) -> None:
    error = fails(FileSource(str(tmp_path / "token")))
    assert (error.cause, error.fault) == ("file_missing", Fault.OPERATOR)
    assert str(tmp_path / "token") in error.detail
    assert str(tmp_path / "token") in (error.remedy or "")


def test_unreadable(tmp_path: Path) -> None:
    error = fails(FileSource(str(tmp_path)))
    assert (error.cause, error.fault) == ("file_unreadable", Fault.OPERATOR)
    assert "Is a directory" in error.detail


@pytest.mark.parametrize("text", [b"", b"SENTINEL", b"\xff\xfe" * 100_000], ids=["empty", "text", "bytes"])
def test_garbage(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(text)
    error = fails(FileSource(str(path)))
    assert (error.cause, error.fault) == ("garbage", Fault.OPERATOR)
    assert str(path) in error.detail
    assert "SENTINEL" not in error.detail
