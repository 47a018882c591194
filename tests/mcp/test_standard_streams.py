from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from idtoken_proxy.mcp.standard_streams import StandardStreams


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """A client's writing end, and what it leads to; then what the client reads, the writing end first."""
    source, say = os.pipe()
    hear, sink = os.pipe()
    yield say, source, sink, hear
    for descriptor in (say, hear, sink):
        try:
            os.close(descriptor)
        except OSError:  # the test has closed it
            continue


async def test_lines_in_and_lines_out_until_the_input_ends(pipes: tuple[int, int, int, int]) -> None:
    say, source, sink, hear = pipes
    streams = StandardStreams(source, sink)
    os.write(say, b'{"a": 1}\n{"b"')
    os.write(say, b": 2}\nlast")
    os.close(say)
    assert [line async for line in streams.lines()] == [b'{"a": 1}\n', b'{"b": 2}\n', b"last"]
    await asyncio.gather(*(streams.write(f"line {number}") for number in range(3)))
    assert os.read(hear, 1000) == b"line 0\nline 1\nline 2\n"
    assert not streams.gone.is_set()


async def test_what_does_not_fit_waits_and_stays_whole(pipes: tuple[int, int, int, int]) -> None:
    _, source, sink, hear = pipes
    streams = StandardStreams(source, sink)
    large = "a" * 300_000  # more than a pipe holds
    writing = asyncio.ensure_future(streams.write(large))
    await asyncio.sleep(0.02)
    assert not writing.done()
    heard = b""
    while len(heard) <= len(large):
        heard += await asyncio.to_thread(os.read, hear, 65536)
    await writing
    assert heard == large.encode() + b"\n"


async def test_who_takes_nothing_is_not_read_ahead_of_without_end(pipes: tuple[int, int, int, int]) -> None:
    say, source, sink, _ = pipes
    streams = StandardStreams(source, sink)

    def talk() -> None:
        for _ in range(20_000):  # far more than a pipe and what is read ahead hold
            os.write(say, b"a line of some length\n")

    talking = asyncio.ensure_future(asyncio.to_thread(talk))
    await asyncio.sleep(0.05)
    assert not talking.done()
    taken = 0
    async for _ in streams.lines():
        taken += 1
        if taken == 20_000:
            break
    await talking


async def test_a_client_that_has_gone_is_noticed_by_the_next_word(pipes: tuple[int, int, int, int]) -> None:
    _, source, sink, hear = pipes
    streams = StandardStreams(source, sink)
    os.close(hear)
    await streams.write("hello")
    await asyncio.wait_for(streams.gone.wait(), 5)
    await streams.write("again")


PRINTS = """
import os, subprocess, sys
from idtoken_proxy.mcp.standard_streams import claimed
source, sink = claimed()
print("a library", flush=True)
subprocess.run(["sh", "-c", "echo a helper; cat"])
os.write(sink, b"wire: " + os.read(source, 100))
"""


def test_what_others_print_is_not_on_the_wire() -> None:
    """Nor do they read from it."""
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], input=b"hello", capture_output=True, timeout=20, check=True
    )
    assert done.stdout == b"wire: hello"
    assert done.stderr == b"a library\na helper\n"
