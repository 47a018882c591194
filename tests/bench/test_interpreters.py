from __future__ import annotations

import sys
from pathlib import Path

from bench.interpreters import Interpreter, ask, build_options, distribution_of, first_guided
from tests.cases import for_each


@for_each(
    ("arguments", "flags", "said"),
    [
        ("'--enable-optimizations' '--with-lto'", "", "with PGO, with LTO"),
        ("", "-O3 -fprofile-use -flto=auto", "with PGO, with LTO"),
        ("'--enable-optimizations'", "-O3", "with PGO, without LTO"),
        ("", "-O3", "without PGO, without LTO"),
    ],
)
def test_how_an_interpreter_was_built(arguments: str, flags: str, said: str) -> None:
    assert build_options(arguments, flags) == said


def test_a_distribution_s_own_python_is_built_by_its_rules() -> None:
    assert build_options("", "-O2", distribution="debian").startswith("with PGO (by Debian's build rules")
    assert build_options("", "-O2", distribution="alpine") == "without PGO, without LTO"


@for_each(
    ("prefix", "os_release", "said"),
    [
        ("/usr", 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\n', "debian"),
        ("/usr", 'ID="ubuntu"\nID_LIKE=debian\n', "ubuntu"),
        ("/usr/local", "ID=debian\n", ""),
        ("/usr", "", ""),
    ],
)
def test_whose_python_it_is(prefix: str, os_release: str, said: str) -> None:
    assert distribution_of(prefix, os_release) == said


def test_a_python_is_asked_itself() -> None:
    told = ask(Path(sys.executable))
    assert told is not None
    assert told.minor == sys.version_info[:2]
    assert "PGO" in told.options
    assert ask(Path("/bin/true")) is None
    assert ask(Path("/nonexistent")) is None


def test_only_one_of_the_same_version_runs_what_is_installed_here() -> None:
    def one(minor: int, options: str) -> Interpreter:
        return Interpreter(Path(f"/python3.{minor}"), f"3.{minor}.1", (3, minor), options)

    without, other, good = one(11, "without PGO"), one(12, "with PGO"), one(11, "with PGO, with LTO")
    assert first_guided([without, other, good], (3, 11)) is good
    assert first_guided([without, other], (3, 11)) is None
