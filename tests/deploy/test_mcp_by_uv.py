"""From a machine with Python and nothing else: uv, one line to a running demo, one line to a private MCP server's tools."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.processes import outside
from tests.deploy.test_image import ROOT, said

LONGEST = 60.0  # seconds for each of the two lines, what uv installs for it included


@pytest.fixture(scope="module")
def uvx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a cache of its own: nothing is there yet."""
    directory = tmp_path_factory.mktemp("nothing-but-uv")
    for command in (
        [sys.executable, "-m", "venv", directory],
        [directory / "bin" / "pip", "install", "--quiet", "uv"],
    ):
        said(subprocess.run(command, capture_output=True, text=True, check=False, timeout=300))  # type: ignore[arg-type]
    return directory / "bin" / "uvx"


@contextmanager
def demo(program: Sequence[str], environ: Mapping[str, str]) -> Iterator[tuple[list[str], float]]:
    """What it prints to paste, and the seconds that it took."""
    began = time.monotonic()
    process = subprocess.Popen(
        [*program, "demo"], stdout=subprocess.PIPE, text=True, env=environ, cwd="/", start_new_session=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        while not lines or "Ctrl-C" not in lines[-1]:
            line = process.stdout.readline()
            assert line, "the demo ended"
            lines.append(line)
        yield lines, time.monotonic() - began
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        process.communicate(timeout=30)


@pytest.mark.index
def test_two_lines_lead_from_uv_to_the_tools_of_a_private_mcp_server(
    uvx: Path, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    environ = {**outside(), "UV_CACHE_DIR": str(tmp_path / "cache"), "PYTHONUNBUFFERED": "1"}
    program = [str(uvx), "--from", str(ROOT), "idtoken-proxy"]
    with demo(program, environ) as (lines, first):
        (pasted,) = (line for line in lines if " --tools " in line)
        words = shlex.split(pasted)
        variable, arguments = words[0], words[words.index("mcp") :]
        name, _, value = variable.partition("=")
        # Of the same checkout, with nothing in uv's cache: as on a machine that has not run the demo.
        alone = {**environ, name: value, "UV_CACHE_DIR": str(tmp_path / "other-cache")}
        began = time.monotonic()
        listed = said(
            subprocess.run(
                [*program, *arguments],
                capture_output=True,
                text=True,
                env=alone,
                cwd="/",
                check=False,
                timeout=120,
            )
        )
        second = time.monotonic() - began
    assert "echo: Says the text again.\n" in listed
    record_testsuite_property("uvx_demo_seconds", round(first, 1))
    record_testsuite_property("uvx_mcp_seconds", round(second, 1))
    print(f"uvx to a running demo: {first:.1f} s; to the tools of a private MCP server: {second:.1f} s")  # noqa: T201 -- what it is for
    assert first < LONGEST
    assert second < LONGEST
