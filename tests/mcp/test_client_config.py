from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from idtoken_proxy.cli import commands
from idtoken_proxy.commands.mcp import CLIENTS
from idtoken_proxy.mcp.client_config import Start, carried, name_of, program_of, show, snippet
from tests.cases import for_each

URL = "https://tools-x7f3kq2abc-uc.a.run.app/mcp"
START = Start("tools", "/opt/bin/idtoken-proxy", ("mcp", URL), {"CLOUDSDK_CONFIG": "/home/me/g cloud"})
ENTRY = {"command": START.command, "args": ["mcp", URL], "env": dict(START.environ)}


@for_each(
    ("client", "tree"),
    [
        ("claude-desktop", {"mcpServers": {"tools": ENTRY}}),
        ("gemini", {"mcpServers": {"tools": ENTRY}}),
        ("cursor", {"mcpServers": {"tools": {"type": "stdio", **ENTRY}}}),
        ("vscode", {"servers": {"tools": {"type": "stdio", **ENTRY}}}),
    ],
)
def test_each_client_s_form(client: str, tree: object) -> None:
    assert json.loads(snippet(client, START)) == tree


def test_claude_code_s_is_a_command() -> None:
    variables = ["--env", "CLOUDSDK_CONFIG=/home/me/g cloud"]
    assert shlex.split(snippet("claude", START)) == ["claude", "mcp", "add", "tools", *variables, "--", START.command, "mcp", URL]  # fmt: skip


def test_without_variables_there_is_no_env() -> None:
    assert "env" not in snippet("cursor", Start("a", "b", (), {}))


@for_each(
    ("url", "name"),
    [
        (URL, "tools"),
        ("https://my-tools-123456789012.europe-west1.run.app/mcp", "my-tools"),
        ("https://canary---tools-x7f3kq2abc-uc.a.run.app/mcp", "tools"),
        ("https://mcp.example.com/mcp", "mcp"),
        ("http://localhost:8080/mcp", "private"),
        ("http://127.0.0.1:8080/mcp", "private"),
        ("http://[::1]:8080/mcp", "private"),
    ],
)
def test_a_server_is_named_for_its_service(url: str, name: str) -> None:
    assert name_of(url) == name


def test_what_the_bridge_needs_is_carried_and_no_password() -> None:
    environ = {
        "GOOGLE_APPLICATION_CREDENTIALS": "key.json",
        "HTTPS_PROXY": "http://me:secret@proxy:3128",
        "NO_PROXY": "localhost",
        "CLOUDSDK_CONFIG": "",
        "OTHER": "x",
    }
    absolute = str(Path("key.json").absolute())
    assert carried(environ) == {"GOOGLE_APPLICATION_CREDENTIALS": absolute, "NO_PROXY": "localhost"}


def test_the_program_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A desktop's client has no shell's PATH; and what uvx runs from will be gone some day."""
    for name in ("idtoken-proxy", "uvx"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert program_of("idtoken-proxy") == (str(tmp_path / "idtoken-proxy"),)
    assert program_of("/elsewhere/idtoken-proxy") == ("/elsewhere/idtoken-proxy",)
    cached = "/home/me/.cache/uv/archive-v0/Xy/bin/idtoken-proxy"
    assert program_of(cached) == (str(tmp_path / "uvx"), "idtoken-proxy")
    assert program_of("/src/idtoken_proxy/__main__.py") == (sys.executable, "-m", "idtoken_proxy")


def test_the_document_shows_each_and_its_lines_are_ones() -> None:
    document = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text()
    assert re.findall(r"^\| `--print-config ([\w-]+)` ", document, re.MULTILINE) == list(CLIENTS)
    lines = re.findall(r"^idtoken-proxy (\w+) (.*)$", document, re.MULTILINE)
    assert len(lines) >= 3
    for name, arguments in lines:
        command = commands.commands[name]
        command.make_parser(click.Context(command)).parse_args(shlex.split(arguments))


@for_each("client", CLIENTS)
def test_the_snippet_alone_is_on_standard_output(client: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(client, URL, "https://aud", "gcloud", "mine", {}) == 0
    told = capsys.readouterr()
    assert told.err.rstrip().endswith(":")
    words = shlex.split(told.out) if client == "claude" else json.dumps(json.loads(told.out))
    for word in ("mine", URL, "--audience", "https://aud", "--identity", "gcloud"):
        assert word in words
