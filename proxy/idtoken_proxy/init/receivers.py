"""What is known of a receiver, and what is not."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Door(enum.Enum):
    """Who judges a request's token."""

    PRIVATE = "private"
    PUBLIC = "public"
    IAP = "iap"


@dataclass(frozen=True, slots=True)
class Receiver:
    """`url`: origin and base path, None where it cannot be told, which `lacking` says. `audience`: None only beside `url`
    None or where the door is not PRIVATE. `what`: it, in words. `notes`: what should be known of it. `unknown`: what its
    source does not tell. `aliases`: other URLs of the same. All of it is checked and printable.
    """

    name: str
    what: str
    url: str | None
    audience: str | None = None
    door: Door = Door.PRIVATE
    region: str | None = None
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    lacking: str | None = None
    aliases: frozenset[str] = frozenset()


def distinct(receivers: Iterable[Receiver]) -> list[Receiver]:
    """A 2nd-generation function is a Cloud Run service too: what was named first, which knows more, stays."""
    known: set[str] = set()
    kept: list[Receiver] = []
    for receiver in receivers:
        names = receiver.aliases | ({receiver.url} if receiver.url is not None else set())
        if names & known:
            continue
        known |= names
        kept.append(receiver)
    return kept
