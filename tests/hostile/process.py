"""`idtoken-proxy serve` as a process, with a token from a file, and all that it ever says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import free_port
from tests.engine.proxied import make_token
from tests.engine.wire import eventually


@dataclass
class Process:
    pid: int
    said: bytearray = field(default_factory=bytearray)
    port: int = 0
    admin: int = 0

    def cpu(self) -> float:
        """Seconds so far (proc(5): utime and stime)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def memory(self) -> int:
        """Octets that are resident."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def serving(
    directory: Path,
    upstream: int,
    *,
    token: str | None = None,
    descriptors: int | None = None,
    **settings: Any,
) -> AsyncIterator[Process]:
    (directory / "token").write_text(token or make_token())
    admin = free_port()
    document = {
        "listen": "127.0.0.1:0",
        "admin": f"127.0.0.1:{admin}",
        "identity": {"type": "file", "path": str(directory / "token")},
        "routes": [
            {
                "name": "receiver",
                "upstream": f"http://127.0.0.1:{upstream}",
                "audience": "https://receiver.example",
            },
            {
                "name": "dead",
                "match": {"path": "/dead"},
                "upstream": "http://127.0.0.1:9",
                "audience": "https://receiver.example",
            },
        ],
        "log": {"level": "debug", "format": "json", "access": "all"},
        **settings,
    }
    (directory / "proxy.yaml").write_text(json.dumps(document))  # JSON is YAML

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "idtoken_proxy", "serve", "-c", str(directory / "proxy.yaml")),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=limit,
    )
    process = Process(started.pid, admin=admin)
    assert started.stdout is not None
    output = started.stdout

    async def listen() -> None:
        while line := await output.readline():
            process.said += line

    listening = asyncio.ensure_future(listen())
    try:
        await eventually(
            lambda: b'"ready"' in process.said or started.returncode is not None, "it does not start"
        )
        found = re.search(rb'"listening", "address": "http://127\.0\.0\.1:(\d+)"', bytes(process.said))
        assert found is not None, process.said
        process.port = int(found[1])
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(15):
                await started.wait()
        except TimeoutError:
            os.killpg(started.pid, signal.SIGKILL)
            await started.wait()
        await listening
        assert b"Traceback" not in process.said, bytes(process.said[-3000:]).decode()
