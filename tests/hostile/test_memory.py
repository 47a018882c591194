"""A proxy at its full number of connections, each at its worst: the memory that README reckons with is enough."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, Final

from tests.deploy.test_memory import CONNECTION, PROXY
from tests.engine.wire import Receiver, eventually
from tests.hostile.certificates import Issuer, ip
from tests.hostile.process import Process, serving
from tests.hostile.stalled import Crowd, of_small_kernels

MIB: Final = 1024 * 1024
EACH: Final = 24


async def settled(process: Process) -> int:
    """The most that it took, once it takes no more."""
    most, since = process.memory(), 0
    while since < 8:
        await asyncio.sleep(0.05)
        now = process.memory()
        most, since = max(most, now), 0 if now > most else since + 1
    return most


async def test_a_proxy_full_of_the_costliest_connections_keeps_to_the_formula(tmp_path: Path) -> None:
    ca, crowd = Issuer(), Crowd()
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    async with Receiver(crowd.receives, tls=ca.issues(ip("127.0.0.1")).serves()) as receiver:
        of_small_kernels(receiver)
        settings: dict[str, Any] = {
            "tls": {"ca_file": str(tmp_path / "ca.pem")},
            "limits": {"connections": 4 * EACH},
            "timeouts": {"drain": "100ms"},
            "routes": [
                {
                    "name": "receiver",
                    "upstream": f"https://127.0.0.1:{receiver.port}",
                    "audience": "https://receiver.example",
                }
            ],
        }
        async with serving(tmp_path, receiver.port, **settings) as process:
            before = process.memory()
            assert before < PROXY * MIB
            for app in (
                crowd.opens_a_websocket,
                crowd.asks_in_vain,
                crowd.asks_with_a_long_head,
                crowd.begins_a_long_head,
            ):
                await crowd.come(app, process.port, EACH)
            await eventually(lambda: len(receiver.connections) == 2 * EACH, "not all have come through")
            # So that it finds the kernel's buffers full: no read is larger then.
            os.kill(process.pid, signal.SIGSTOP)
            crowd.go.set()
            await asyncio.sleep(0.5)
            os.kill(process.pid, signal.SIGCONT)
            took = await settled(process)
            crowd.leave()
        assert len(crowd) == 4 * EACH
        assert took > before + len(crowd) * MIB // 8  # they were at their worst
        assert took - before < len(crowd) * CONNECTION * MIB
