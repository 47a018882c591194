from __future__ import annotations

import sys
from pathlib import Path

import pytest

from idtoken_proxy import demo
from idtoken_proxy.demo_file import config_text, doctor_command, program_of, tools_command
from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.settings.load import settings_from_text


@pytest.mark.parametrize("kind", [None, "permission-denied", "login-expired"])
async def test_the_file_says_what_the_demo_runs(kind: str | None, keys: Keys) -> None:
    async with Emulator(keys=keys) as emulator:
        settings = demo.settings_for(emulator, 0, 0, demo.caller_for(emulator, kind))
    read = settings_from_text(config_text(settings), "proxy.yaml", {})
    assert (read.routes, read.google) == (settings.routes, settings.google)


def test_the_program_is_named_as_a_second_terminal_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "idtoken-proxy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_of([str(program)]) == ("idtoken-proxy",)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_of([str(program)]) == (str(program),)
    for other in ("-c", "/x/idtoken_proxy/__main__.py"):
        assert program_of([other]) == (sys.executable, "-m", "idtoken_proxy")


def test_the_command_holds_what_the_other_terminal_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "executable", "/py")
    file = Path("/a b/proxy.yaml")
    assert doctor_command(file, {}) == "/py -m idtoken_proxy doctor -c '/a b/proxy.yaml'"
    environ = {"PYTHONPATH": "proxy:/x", "GOOGLE_APPLICATION_CREDENTIALS": "/c d.json", "OTHER": "1"}
    assert doctor_command(file, environ) == (
        f"GOOGLE_APPLICATION_CREDENTIALS='/c d.json' PYTHONPATH={Path.cwd()}/proxy:/x"
        " /py -m idtoken_proxy doctor -c '/a b/proxy.yaml'"
    )
    assert tools_command("http://[::1]:1/mcp", "[::1]:2", {}) == (
        "GCE_METADATA_HOST='[::1]:2' /py -m idtoken_proxy mcp --identity metadata --tools 'http://[::1]:1/mcp'"
    )
