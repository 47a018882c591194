"""Processor time and memory of a process and all its descendants (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    pid: int
    parent: int
    ticks: int  # of this process, and of its children that have ended and were waited for


def parse_stat(text: str) -> Stat:
    """/proc/PID/stat. The command's name stands in parentheses and may itself hold spaces and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    # fields[0] is the state, field 3 in proc(5): field n is fields[n - 3]
    return Stat(int(pid), int(fields[1]), sum(int(fields[n - 3]) for n in (14, 15, 16, 17)))


def parse_rss(text: str) -> int:
    """Resident bytes out of /proc/PID/status; 0 for a process that has none (a zombie)."""
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def descendants(stats: Iterable[Stat], root: int) -> list[Stat]:
    """`root` itself and everything below it."""
    children: dict[int, list[Stat]] = {}
    found: list[Stat] = []
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
        if stat.pid == root:
            found.append(stat)
    for stat in found:  # grows as it is walked
        found.extend(children.get(stat.pid, ()))
    return found


def _tree(root: int) -> list[Stat]:
    stats = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats.append(parse_stat((entry / "stat").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
    return descendants(stats, root)


def cpu_seconds(root: int) -> float:
    return sum(stat.ticks for stat in _tree(root)) / TICKS


def rss_bytes(root: int) -> int:
    total = 0
    for stat in _tree(root):
        try:
            total += parse_rss(Path(f"/proc/{stat.pid}/status").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total
