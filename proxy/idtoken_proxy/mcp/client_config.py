"""What to paste into a client's configuration, in the form in which each has it.

Sources: https://code.claude.com/docs/en/mcp, https://modelcontextprotocol.io/docs/develop/connect-local-servers (Claude Desktop),
https://cursor.com/docs/mcp, https://code.visualstudio.com/docs/copilot/reference/mcp-configuration,
https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any, Final
from urllib.parse import urlsplit

from idtoken_proxy.terminal import say

# Clients start a server with few variables of their own; the bridge needs these, where they are set.
_PATHS: Final = ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR")
_NAMES: Final = (
    *("GOOGLE_CLOUD_QUOTA_PROJECT", "GCE_METADATA_HOST"),
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
)
_WHERE: Final[Mapping[str, str]] = {
    "claude": "Run this; --scope user for all projects, --scope project for .mcp.json:",
    "claude-desktop": "In claude_desktop_config.json (Settings, Developer, Edit Config), then restart Claude Desktop:",
    "cursor": "In ~/.cursor/mcp.json, or .cursor/mcp.json of a project:",
    "vscode": "In .vscode/mcp.json, or where MCP: Open User Configuration leads:",
    "gemini": "In ~/.gemini/settings.json, or .gemini/settings.json of a project:",
}
# NAME-HASH-REGION and NAME-PROJECTNUMBER of *.run.app.
_HASH: Final = re.compile(r"-(?:[a-z0-9]{10}-[a-z]{2}|[0-9]+)$")
_EPHEMERAL: Final = re.compile(r"/(?:archive-v\d+|builds-v\d+)/")  # uvx's, which its cache gives up some day


@dataclass(frozen=True, slots=True)
class Start:
    """How a client starts this server."""

    name: str
    command: str
    arguments: Sequence[str]
    environ: Mapping[str, str]

    @property
    def entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"command": self.command, "args": list(self.arguments)}
        return {**entry, "env": dict(self.environ)} if self.environ else entry


def show(
    client: str,
    url: str,
    audience: str | None,
    identity: str | None,
    name: str | None,
    environ: Mapping[str, str],
) -> int:
    """The snippet on standard output, and where it goes on standard error. The exit code."""
    command, *before = program_of(sys.argv[0])
    options = [*_option("--audience", audience), *_option("--identity", identity)]
    start = Start(name or name_of(url), command, (*before, "mcp", url, *options), carried(environ))
    say(_WHERE[client], err=True)
    say(snippet(client, start))
    return 0


def snippet(client: str, start: Start) -> str:
    match client:
        case "claude":
            variables = [
                word for name, value in start.environ.items() for word in ("--env", f"{name}={value}")
            ]
            # The options have values without end, so that the name stands before them.
            return join(
                ["claude", "mcp", "add", start.name, *variables, "--", start.command, *start.arguments]
            )
        case "vscode":
            return _json({"servers": {start.name: {"type": "stdio", **start.entry}}})
        case "cursor":
            return _json({"mcpServers": {start.name: {"type": "stdio", **start.entry}}})
        case _:
            return _json({"mcpServers": {start.name: start.entry}})


def carried(environ: Mapping[str, str]) -> dict[str, str]:
    """No secret among them: where an egress proxy's URL holds a password, that is left to whoever pastes."""
    there = {name: value for name, value in environ.items() if value}
    paths = {name: str(Path(value).absolute()) for name, value in there.items() if name in _PATHS}
    names = {name: value for name, value in there.items() if name in _NAMES and "@" not in value}
    return paths | names


def name_of(url: str) -> str:
    """The service's: `tools` of https://tools-x7f3kq2abc-uc.a.run.app/mcp."""
    host = urlsplit(url).hostname or ""
    label = host.partition(".")[0].rpartition("---")[2]
    if not label or ":" in host or label.isdigit() or label == "localhost":
        return "private"
    return _HASH.sub("", label) if host.endswith(".run.app") else label


def program_of(started: str) -> tuple[str, ...]:
    """By its whole path, as a client on a desktop has no shell's PATH."""
    if _EPHEMERAL.search(started):
        return shutil.which("uvx") or "uvx", "idtoken-proxy"
    if Path(started).name == "idtoken-proxy":
        return (str(Path(shutil.which(started) or started).absolute()),)
    return sys.executable, "-m", "idtoken_proxy"


def _option(name: str, value: str | None) -> list[str]:
    return [] if value is None else [name, value]


def _json(tree: object) -> str:
    return json.dumps(tree, indent=2)
