"""How much all connections of HTTP/2 may hold together for peers that do not read, and whose streams give way beyond it.

A connection of HTTP/1.1 holds one request's share, and their number is limited. One of HTTP/2 has 256 streams, each of which
may keep a window's worth in either direction: 128 MiB. To withhold the connection's own credit would bound that, but then a few
calls to a receiver that hangs would stop every other upload of an app, since libraries of gRPC share one connection for all
services behind one address; and windows small enough for 256 of them would cost each answer a round trip to Google. So
windows stay as they are, whoever stalls holds up nobody else, and what all hold is limited instead: by a mebibyte for each connection of
`limits.connections`, as for HTTP/1.1, whoever uses it. Beyond that the connection that holds most loses those of its streams that
hold most, as Envoy's overload manager resets streams by their memory; who holds little is never among them.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Final, Protocol

from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.errors import HeldTooMuch

EACH: Final = 1024 * 1024  # for each of limits.connections, as docs/configuration.md reckons
# What a connection takes beside what it holds: its tables and memos, buffers of the transports, 31 streams at rest.
AT_REST: Final = 448 * 1024
# Further streams at rest: 0.7 KiB was measured for each, with its upstream side, and 1.3 where no head comes again. In steps,
# so that a stream more or less changes nothing. With all 256, and a transport's usual 64 KiB, a connection has EACH: what is beyond the limit can be given back.
STEP: Final = 32
STEP_OCTETS: Final = STEP * 2 * 1024
# A connection of HTTP/1.1 to a receiver, which one stream has for itself.
DOWNWARDS: Final = 384 * 1024
# Heads below this are among what a stream takes at rest.
USUAL_HEAD: Final = 2048


def held_too_much() -> HeldTooMuch:
    return HeldTooMuch(
        "more waits to be read than this proxy may hold, and this connection's share is the largest",
        remedy="have both sides read; or raise limits: {connections: ...}, with 1 MiB of memory for each",
    )


class Holder(Protocol):
    """A connection of HTTP/2 from an app. `holds`: octets, as of `look`."""

    holds: int

    def look(self) -> int:
        """What it holds now."""

    def relieve(self, octets: int) -> None:
        """Ends those of its streams that hold most, until so much is free or none holds anything; or itself."""


class AdmissionContext(Protocol):
    """What is asked of the ServerContext."""

    max_connections: int

    @property
    def connections(self) -> Sized: ...

    @property
    def tunnels(self) -> Sized: ...


class MemoryBudget:
    """`octets`: what is held."""

    def __init__(self, house: AdmissionContext, stats: Stats) -> None:
        self._house = house
        self._stats = stats
        self._holders: set[Holder] = set()
        self.octets = 0

    def enter(self, holder: Holder) -> None:
        self._holders.add(holder)

    def leave(self, holder: Holder) -> None:
        self._holders.discard(holder)
        self.octets -= holder.holds
        holder.holds = 0

    @property
    def limit(self) -> int:
        """Each connection of HTTP/1.1, and each tunnel, is taken to be at its worst."""
        house, own = self._house, len(self._holders)
        others = len(house.connections) + len(house.tunnels) - own
        return max((house.max_connections - others) * EACH - own * AT_REST, own * (EACH - AT_REST))

    def change(self, holder: Holder, octets: int) -> None:
        """It holds so much now. Ends streams where that is too much: not to be called from within what one of them does."""
        grown = octets - holder.holds
        self._note(holder, octets)
        if grown > 0 and self.octets > self.limit:
            self._relieve()

    def admits(self, holder: Holder, octets: int) -> bool:
        """Whether a stream that takes so much from the beginning may be one more; if so, it is counted."""
        if self.octets + octets > self.limit:
            self._stats.hit("memory")
            return False
        self._note(holder, holder.holds + octets)
        return True

    def _note(self, holder: Holder, octets: int) -> None:
        self.octets += octets - holder.holds
        holder.holds = octets

    def _relieve(self) -> None:
        for one in self._holders:
            self._note(one, one.look())  # what has been written since it told
        enough = self.limit * 7 // 8  # lest the next octet need all this again
        for one in sorted(self._holders, key=lambda holder: holder.holds, reverse=True):
            if self.octets <= enough:
                break
            self._stats.hit("memory")
            one.relieve(self.octets - enough)
            self._note(one, one.look())
