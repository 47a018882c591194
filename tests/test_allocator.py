"""Memory that is let go and taken again at once is not given back to the kernel in between."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

GLIBC = platform.libc_ver()[0] == "glibc"
# As a turn of the loop has it: what was read, and what is made of it. Page faults of a hundred turns.
TURNS = """
import resource
from idtoken_proxy.allocator import keep_what_is_let_go
{first}
def turn():
    read = [bytes(250_000) for _ in range(3)]
    return b"".join(read)[:1]
for _ in range(10):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first: str) -> int:
    answer = subprocess.run(
        [sys.executable, "-c", TURNS.format(first=first)], capture_output=True, text=True, check=True
    )
    return int(answer.stdout)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_each_turn_gets_the_memory_of_the_one_before() -> None:
    assert faults("assert keep_what_is_let_go()") < 200
    assert faults("") > 2000  # what it is for


@pytest.mark.skipif(GLIBC, reason="the C library is glibc")
def test_another_allocator_is_left_as_it_is() -> None:
    assert faults("assert not keep_what_is_let_go()") >= 0
