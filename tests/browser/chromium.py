"""Chromium without a window, as Debian has it: opens one page, and is ended with the block."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING: Final = "needs Chromium: apt-get install chromium"

OPTIONS: Final = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    *("--disable-default-apps", "--mute-audio", "--no-proxy-server", "--disable-popup-blocking"),
    # A page on another port of this machine is a page like any other here; the guard has to hold by itself.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights",
)


@contextlib.asynccontextmanager
async def opened(url: str, directory: Path) -> AsyncIterator[None]:
    """Every name but those of this machine is 127.0.0.1, so that other sites are at hand."""
    assert BROWSER is not None
    with (directory / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            BROWSER,
            *OPTIONS,
            f"--user-data-dir={directory / 'profile'}",
            "--host-resolver-rules=MAP *.example 127.0.0.1",
            url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "HOME": str(directory)},
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
