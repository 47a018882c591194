"""What a case is, and the request that stands behind each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

CANARY: Final = b"GET /canary HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST: Final = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
GET: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKS: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """`cut`: the head is in order, so it may have gone upstream by the time that the body turns out not to be.
    `mendable`: the grammar does not know it, but the RFCs let a recipient mend it (bare LF, folds, controls in values,
    a length beside a coding), or leave it open; refused here, and counted apart where others are looked at.
    """

    name: str
    wire: bytes
    status: int = 400
    cut: bool = False
    mendable: bool = False


def octet_name(octet: int) -> str:
    return f"{octet:#04x}"


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


def tabled(cases: Iterable[T]) -> dict[str, T]:
    """By name, and no two of one name."""
    table: dict[str, T] = {}
    for case in cases:
        assert case.name not in table, case.name
        table[case.name] = case
    return table
