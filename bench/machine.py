"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import interpreters
from bench.processes import Cores
from bench.targets import Target


def facts(cores: Cores, targets: Iterable[Target]) -> dict[str, str]:
    found = {
        "processor": f"{cpu_model(_read('/proc/cpuinfo'))}, {os.cpu_count()} cores; proxy on {_list(cores.proxy)}, "
        f"load and receiver on {_list(cores.load)}",
        "kernel": platform.release(),
        "load before the run": f"{os.getloadavg()[0]:.2f}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {interpreters.this_one()}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in ("uvloop", "aiohttp")),
    }
    found.update({target.name: target.version() for target in targets})
    return found


def cpu_model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _list(cores: frozenset[int]) -> str:
    return "core " + ", ".join(map(str, sorted(cores)))


def warnings(cores: Cores) -> list[str]:
    found = []
    if sys.platform != "linux":
        found.append("this was written for Linux")
    if cores.shared:
        found.append(
            "there is only one core: the load takes its time from the proxy, and the figures say little"
        )
    if os.getloadavg()[0] > 0.5:
        found.append("this machine was busy before the run: trust the ratios rather than the figures")
    return found
