"""A proxy's life, as data. Probes, signals and the service manager read it from here.

    STARTING    the listeners are open, or about to be; some route has never had a token yet
    SERVING     started: from now on /startup is 200, to the end. It may still not be ready: a token may expire while
                Google is down
    DRAINING    not ready any more. After a signal, new requests are still served for timeouts.lameduck; those under
                way may end within timeouts.drain
    STOPPED     nothing is open any more

Requests are served while STARTING too: a route whose token is there need not wait for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

STARTING: Final = "starting"
SERVING: Final = "serving"
DRAINING: Final = "draining"
STOPPED: Final = "stopped"

STARTED: Final = "started"  # listeners are open, and every route has had a token
DRAIN: Final = "drain"  # a signal, POST /quitquitquit, the end of the wrapped app
END: Final = "end"

TRANSITIONS: Final[dict[str, dict[str, str]]] = {
    STARTING: {STARTED: SERVING, DRAIN: DRAINING, END: STOPPED},
    SERVING: {STARTED: SERVING, DRAIN: DRAINING, END: STOPPED},
    DRAINING: {STARTED: DRAINING, DRAIN: DRAINING, END: STOPPED},
    STOPPED: {STARTED: STOPPED, DRAIN: STOPPED, END: STOPPED},
}


class Lifecycle:
    """`on_change` is called with each new state. `started`: has reached SERVING. `settled`: has left STARTING, for
    whatever state. `ending`: DRAINING has begun.
    """

    def __init__(self, on_change: Callable[[str], None] = lambda _: None) -> None:
        self.state = STARTING
        self.started = False
        self.settled = asyncio.Event()
        self.ending = asyncio.Event()
        self._on_change = on_change

    def on(self, event: str) -> None:
        before, self.state = self.state, TRANSITIONS[self.state][event]
        if self.state == before:
            return
        self.settled.set()
        if self.state == SERVING:
            self.started = True
        else:
            self.ending.set()
        self._on_change(self.state)
