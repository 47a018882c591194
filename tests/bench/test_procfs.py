from __future__ import annotations

import os

from bench.procfs import Stat, cpu_seconds, descendants, parse_rss, parse_stat, rss_bytes
from tests.cases import for_each

STAT = "{pid} ({name}) S {parent} 42 42 0 -1 4194560 3187 9001 4 7 {own} {system} {waited} {waited_system} 20 0 3 0 99"


def stat(name: str) -> Stat:
    return parse_stat(
        STAT.format(pid=43, name=name, parent=42, own=100, system=20, waited=3, waited_system=4)
    )


@for_each("name", ["envoy", "idtoken-proxy: w", "a (b) c", ") S 1 (", ""])
def test_the_name_may_hold_anything(name: str) -> None:
    assert stat(name) == Stat(pid=43, parent=42, ticks=127)


def test_resident_memory_is_in_bytes() -> None:
    assert parse_rss("Name:\tnginx\nVmHWM:\t   14000 kB\nVmRSS:\t   12345 kB\nThreads:\t1\n") == 12345 * 1024


def test_a_zombie_has_no_memory() -> None:
    assert parse_rss("Name:\tnginx\nState:\tZ (zombie)\n") == 0


def test_a_tree_is_the_root_and_all_below_it() -> None:
    stats = [Stat(pid, parent, 1) for pid, parent in [(9, 5), (1, 0), (5, 3), (3, 1), (4, 1), (6, 5), (7, 4)]]
    assert {s.pid for s in descendants(stats, 3)} == {3, 5, 6, 9}
    assert descendants(stats, 99) == []


def test_this_very_process_can_be_read() -> None:
    assert cpu_seconds(os.getpid()) > 0
    assert rss_bytes(os.getpid()) > 1_000_000
