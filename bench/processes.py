"""Starting, pinning and ending processes. Only what was started here is ever ended, by its process group."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"  # where Debian puts servers; not on every user's PATH


# Of the proxy, the load and the receiver: the proxy alone on its core, all of them on that one, or all of them on all cores.
Layout = Literal["apart", "one core", "all cores"]


class StartError(Exception):
    """A process could not be started, or ended before it served."""


@dataclass(frozen=True)
class Cores:
    """The proxy's core, and those of the load and the receiver."""

    proxy: frozenset[int]
    load: frozenset[int]

    @classmethod
    def split(cls, cores: Sequence[int]) -> Cores:
        """The first is the proxy's. A lone core is shared, and the figures then say little."""
        first, *rest = sorted(cores)
        return cls(frozenset({first}), frozenset(rest or {first}))

    def laid_out(self, layout: Layout) -> Cores:
        if layout == "apart":
            return self
        both = frozenset({min(self.proxy)}) if layout == "one core" else self.proxy | self.load
        return Cores(both, both)

    @property
    def shared(self) -> bool:
        return self.proxy == self.load


def allowed() -> frozenset[int]:
    """The cores that this process may use."""
    known: Collection[int] = range(os.cpu_count() or 1)
    if sys.platform == "linux":
        known = os.sched_getaffinity(0)
    return frozenset(known)


def pin(cores: frozenset[int]) -> None:
    """Keeps this process, and what it starts, on these cores; macOS leaves no choice."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """What is started inside stays on these cores; a child inherits the affinity of the thread that starts it."""
    before = allowed()
    pin(cores)
    try:
        yield
    finally:
        pin(before)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, cores: frozenset[int], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The process for as long as the block runs. `log` takes all it prints."""
    with log.open("ab") as output, pinned(cores):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], *, grace: float = 3.0) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it left behind in its group
        process.wait()


def output_of(command: Sequence[str], *, cores: frozenset[int], timeout: float) -> str:
    """Standard output and error of a command that ends by itself; StartError where it fails or takes too long."""
    with pinned(cores):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise StartError(f"{command[0]} did not end within {timeout:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise StartError(f"{command[0]} ended with {process.returncode}: {output.strip()[-400:]}")
    return output


@contextlib.contextmanager
def alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Two runs at a time would measure each other: the second waits, and says so first."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find(name: str) -> Path | None:
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + SBIN)
    return Path(found) if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
