"""Programs that only some tests need, from the package index into an environment of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

OUT_OF_REACH = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|Read timed out"
    r"|Temporary failure in name resolution|Network is unreachable"  # pip's words
    r"|dns error|error sending request|Failed to fetch|client error \(Connect\)"  # uv's
)


def install(environment: Path, *packages: str) -> Path:
    """The directory of its programs. A test that needs the index is skipped where there is none."""
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=60)
    programs = environment / "bin"
    answer = subprocess.run(
        [str(programs / "python"), "-m", "pip", "install", "--quiet", "--only-binary=:all:", *packages],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    skip_without_an_index(answer.returncode, answer.stderr)
    assert answer.returncode == 0, answer.stderr
    return programs


def skip_without_an_index(code: int, told: str) -> None:
    if code and OUT_OF_REACH.search(told):
        pytest.skip("the package index cannot be reached from here")
