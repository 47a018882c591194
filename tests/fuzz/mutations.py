"""Inputs that are made of seeds without coverage to go by: for compiled modules, which atheris cannot instrument. The same
number gives the same inputs, on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

LONGEST: Final = 4096  # as the other fuzzers have it
MOST_CHANGES: Final = 4  # of one input; each of them alone finds little, and many leave nothing whole

# What parsers look for.
_TOKENS: Final = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"%", b"/", b"//", b"..", b"\xff"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Connection: keep-alive, x-a\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"Cookie: a=b\r\n"),
    *(b"Authorization: Bearer x.y.z\r\n", b"Host: localhost\r\n", b"HTTP/1.1", b"HTTP/1.0", b"0\r\n\r\n", b"5\r\nhello\r\n"),
    *(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"ffffffffffffffff"),
    *(b"9223372036854775807", b"9223372036854775808", b"4611686018427387904", b"-1", b"00"),  # where tagged integers end
    *(b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0", b"\0\0\4\3\0\0\0\0\1\0\0\0\x08", b"\0\0\x08\6\0\0\0\0\0pingpong"),
    *(b"\0\0\4\x08\0\0\0\0\0\x7f\xff\xff\xff", b"\x82\x86\x84", b"\x3f\xe1\x1f", b"\x20", b"\x7f\xff\xff\xff\xff\x0f"),
)  # fmt: skip


def mutated(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` inputs: every seed as it is, as far as they go, and then changed ones."""
    chance = random.Random(seed)
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, MOST_CHANGES)):
            chance.choice(_CHANGES)(data, chance, seeds)
        yield bytes(data[:LONGEST])


Change = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def _flip(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def _drop(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    begin, end = _range(data, chance)
    del data[begin:end]


def _double(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    begin, end = _range(data, chance)
    data[begin:begin] = data[begin:end]


def _token(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at = chance.randint(0, len(data))
    token = chance.choice(_TOKENS)
    data[at : at + len(token) * chance.randrange(2)] = token  # between, or in place of, what is there


def _splice(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    data[chance.randint(0, len(data)) :] = other[chance.randint(0, len(other)) :]


def _range(data: bytearray, chance: random.Random) -> tuple[int, int]:
    begin = chance.randint(0, len(data))
    return begin, min(len(data), begin + chance.choice((1, 2, 4, 16, 256)))


_CHANGES: Final[tuple[Change, ...]] = (_flip, _set, _drop, _double, _token, _splice)
