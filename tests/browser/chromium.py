"""Chromium without a window, as Debian has it."""

from __future__ import annotations

import shutil
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
    "--host-resolver-rules=MAP *.example 127.0.0.1",  # so that other sites are at hand
    # A page on another port of this machine is a page like any other here; the guard has to hold by itself.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights",
)
