"""The local Google and a proxy as processes of their own, as a deployment has them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

PATIENCE = 20.0


def outside() -> dict[str, str]:
    """The environment, less what would lead coverage or this project's tree into another process."""
    ours = ("COV", "PYTHON", "VIRTUAL_ENV", "IDTOKEN_PROXY", "GOOGLE", "GCE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@contextlib.contextmanager
def emulated() -> Iterator[dict[str, str]]:
    """What it prints to export: GCE_METADATA_HOST, USER_PROFILES_URL, BILLING_URL and others."""
    process = subprocess.Popen(
        [sys.executable, "-m", "idtoken_proxy", "emulate", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed: dict[str, str] = {}
    try:
        while "BILLING_URL" not in printed:
            line = process.stdout.readline()
            assert line, "the emulator ended"
            if match := re.match(r"export (\w+)=(\S+)", line):
                printed[match[1]] = match[2]
        yield printed
    finally:
        process.kill()
        process.communicate()


@dataclass(slots=True)
class Proxy:
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def wait_for(self, message: str) -> None:
        """Reads its log until it says so. AssertionError where it ends before."""
        assert self.process.stderr is not None
        while not self.told(message):
            line = self.process.stderr.readline()
            assert line, f"ended without {message!r}: {''.join(self.lines)}"
            self.lines.append(line)

    def told(self, message: str) -> list[dict[str, str]]:
        records: list[dict[str, str]] = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [record for record in records if record["message"] == message]

    @property
    def url(self) -> str:
        return self.told("listening")[0]["address"]


@contextlib.contextmanager
def serving(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Proxy]:
    """Ready, when it is yielded; its log must be JSON."""
    proxy = Proxy(subprocess.Popen(command, env=dict(environ), cwd="/", stderr=subprocess.PIPE, text=True))
    try:
        proxy.wait_for("ready")
        yield proxy
    finally:
        proxy.process.kill()
        proxy.process.communicate()
