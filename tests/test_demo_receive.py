"""Both ends of a call, as `demo --receive` shows them: its lines do what they say."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from urllib.parse import urlsplit

import aiohttp

RUN = "import sys; from idtoken_proxy.demo_receive import run; sys.exit(run())"
LOGIN = "login@demo-project.iam.gserviceaccount.com"


async def test_its_lines_do_what_they_say_and_it_ends_cleanly() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-u", "-c", RUN),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(30), aiohttp.ClientSession() as client:
        while "Ctrl-C" not in said:
            said += (await process.stdout.readline()).decode()
        bare, asserted, public, through, wrong = (
            line.split(" ")[-1] for line in said.splitlines() if line.startswith("curl -i")
        )
        await asyncio.sleep(0)
        for url, headers, status in (
            (bare, {}, 403),
            (asserted, {"X-Goog-Authenticated-User-Email": "accounts.google.com:root@example.com"}, 403),
            (public, {"X-Goog-Authenticated-User-Id": "0"}, 200),
            (through, {"X-Goog-Authenticated-User-Id": "0"}, 200),
            (wrong, {}, 401),
        ):
            async with client.get(url, headers=headers) as answer:
                told = json.loads(await answer.read())
                assert answer.status == status, (url, told)
            if url == public:
                assert told == {"app": "orders", "path": "/healthz", "Authorization ends in": ""}
            if url == through:
                assert told["path"] == "/42"
                assert told["X-Goog-Authenticated-User-Email"] == f"accounts.google.com:{LOGIN}"
                assert told["X-Goog-Authenticated-User-Id"] not in ("", "0")
                assert told["Authorization ends in"] == "SIGNATURE_REMOVED_BY_GOOGLE"
    assert urlsplit(through).hostname == "localhost"
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert process.returncode == 0
    log = errors.decode()
    assert "search.example.com" in log  # why it was 401
    assert "Traceback" not in log
