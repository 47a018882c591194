"""A wrapped app, or whoever else may, against the wrapper and its witness: the app gets what is sent to it, once, and its
exit code is the wrapper's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.end_to_end.conftest import PATIENCE, Process
from tests.end_to_end.test_run import PUBLIC, Run, children_of, printed, run

__all__ = ["run"]  # a fixture

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(sys.platform != "linux", reason="the witness is for Linux"),
]

APP: Final = """
import os, signal, sys, time
def heard(number, frame):
    os.write(2, f"heard {signal.Signals(number).name}\\n".encode())
    if number == signal.SIGTERM:
        time.sleep(0.3)  # for another one, if there is
        sys.exit(9)
for name in ("TERM", "USR1", "USR2"):
    signal.signal(getattr(signal, "SIG" + name), heard)
BEFORE
os.write(2, b"listening for signals\\n")
while True:
    time.sleep(0.05)  # a handler that comes just before a sleep waits for its end
"""


async def begun(run: Run, before: str = "") -> tuple[Process, dict[str, int]]:
    """The wrapper, once the app has done `before`, and who is who."""
    process = await run(PUBLIC, sys.executable, "-c", APP.replace("BEFORE", before), start_new_session=True)
    await printed(process, "listening for signals")
    who: dict[str, int] = {"wrapper": process.process.pid}
    async with asyncio.timeout(PATIENCE):
        while "witness" not in who:
            for pid in children_of(process.process.pid):
                command = await asyncio.to_thread(Path(f"/proc/{pid}/cmdline").read_bytes)
                if command.startswith(b"signal-witness"):
                    who["witness"] = pid
                elif b"idtoken_proxy" not in command:
                    who["app"] = pid
            await asyncio.sleep(0.01)
    return process, who


def heard(process: Process, name: str) -> int:
    return process.output.count(f"heard {name}\n")


async def state(pid: int, states: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in states:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("fate", ["killed", "stopped", "stopped with one pending"])
async def test_without_its_witness_the_app_still_gets_what_is_sent_to_the_wrapper(
    run: Run, fate: str
) -> None:
    process, who = await begun(run)
    if fate == "killed":
        os.kill(who["witness"], signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while who["witness"] in children_of(who["wrapper"]):
                await asyncio.sleep(0.01)
    else:
        os.kill(who["witness"], signal.SIGSTOP)
        await state(who["witness"], "T")
        if fate != "stopped":
            os.kill(who["witness"], signal.SIGTERM)
    os.kill(who["wrapper"], signal.SIGTERM)
    assert await process.ended() == 9
    assert heard(process, "SIGTERM") == 1


async def test_a_timer_of_somebody_else_s_ends_nothing(run: Run) -> None:
    """SIGALRM is how the wrapper hears that its patience is at an end; from elsewhere it means nothing."""
    process, who = await begun(run)
    for _ in range(3):
        os.kill(who["wrapper"], signal.SIGALRM)
        os.kill(who["wrapper"], signal.SIGCHLD)
    os.kill(who["wrapper"], signal.SIGUSR1)
    await printed(process, "heard SIGUSR1")
    os.kill(who["wrapper"], signal.SIGTERM)
    assert await process.ended() == 9


@pytest.mark.parametrize(
    "before",
    ["os.setpgid(0, 0)", "os.setsid()", "os.closerange(0, 2)", "os.close(0); os.close(1); os.setpgid(0, os.getpgid(0))"],
    ids=["a group of its own", "a session", "no descriptors", "fewer"],
)  # fmt: skip
async def test_an_app_that_changes_its_place_gets_each_signal_once(run: Run, before: str) -> None:
    process, who = await begun(run, before)
    for name in ("SIGUSR1", "SIGUSR2", "SIGTERM"):
        os.kill(who["wrapper"], signal.Signals[name])
        await printed(process, f"heard {name}")
    assert await process.ended() == 9
    assert [heard(process, name) for name in ("SIGUSR1", "SIGUSR2", "SIGTERM")] == [1, 1, 1]


async def test_many_quick_signals_end_nothing_and_lose_no_stop(run: Run) -> None:
    process, who = await begun(run)
    for _ in range(200):
        os.kill(who["wrapper"], signal.SIGUSR1)
        os.kill(who["wrapper"], signal.SIGUSR2)
        os.kill(who["witness"], signal.SIGUSR1)  # as though the group had had it
    os.kill(who["wrapper"], signal.SIGTERM)
    assert await process.ended() == 9
    assert heard(process, "SIGTERM") == 1
    assert heard(process, "SIGUSR2") >= 1


def links(pid: int) -> dict[int, str]:
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(descriptor.name)] = str(descriptor.readlink())
    return found


async def test_it_has_nothing_to_forge_a_message_with(run: Run) -> None:
    """No descriptor of the wrapper's: neither the pipe that tells of the proxy nor the one that ends it."""
    process, who = await begun(run)
    wrappers, apps = links(who["wrapper"]), links(who["app"])
    (ends,) = [
        link for number, link in wrappers.items() if link.startswith("pipe:") and link not in apps.values()
    ]
    assert ends in links(next(pid for pid in children_of(who["wrapper"]) if pid not in who.values())).values()
    async with asyncio.timeout(PATIENCE):
        while links(who["witness"]):  # it closes all that it has
            await asyncio.sleep(0.01)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 9
