"""What the service manager hears."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from idtoken_proxy.notify import notify, reloading, waiting
from tests.cases import for_each


@for_each("abstract", [True, False])
def test_a_datagram_of_assignments(*, abstract: bool) -> None:
    with TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        path = f"@idtoken-proxy-{directory}" if abstract else f"{directory}/notify"
        heard.bind("\0" + path[1:] if abstract else path)
        heard.settimeout(10)
        notify({"NOTIFY_SOCKET": path}, "READY=1", "STATUS=serving")
        assert heard.recv(4096) == b"READY=1\nSTATUS=serving"
        before = time.monotonic_ns() // 1000
        reloading({"NOTIFY_SOCKET": path})
        first, stamp = heard.recv(4096).decode().split("\n")
        assert first == "RELOADING=1"
        assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


@for_each("path", [None, "", "relative", "vsock:2:1234"])
def test_without_a_socket_there_is_nobody_to_tell(path: str | None) -> None:
    notify({} if path is None else {"NOTIFY_SOCKET": path}, "READY=1")


def test_a_service_manager_that_is_gone(tmp_path: Path) -> None:
    notify({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, "READY=1")


def test_a_start_that_is_not_over_says_what_it_waits_for() -> None:
    assert waiting([("a", None), ("b", "login_expired")], 2) == (
        "STATUS=waiting for the first token of a, b (login_expired)"
    )
    five = "STATUS=waiting for the first token of a, b, c, d, e"
    assert waiting([(name, None) for name in "abcde"], 5) == five
    assert waiting([(name, None) for name in "abcde"], 7) == f"{five} and 2 more"
