"""Ends the process although the loop cannot close. A look-up at a silent name server cannot be cancelled, and a closing
event loop waits for it: longer than whoever stops the proxy will, or than `doctor` has promised.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

PATIENCE: Final = 1.0  # seconds


def run(main: Coroutine[Any, Any, int], patience: float = PATIENCE) -> int:
    """Runs `main` and returns its result, the process's exit code. If the loop then takes longer than `patience`
    seconds to close, ends the process: nothing is left to do.
    """
    import uvloop  # noqa: PLC0415

    begun: list[threading.Timer] = []

    async def watched() -> int:
        code = await main
        timer = threading.Timer(patience, at_once, (code,))
        timer.daemon = True
        timer.start()
        begun.append(timer)
        return code

    try:
        return uvloop.run(watched())
    finally:
        for timer in begun:
            timer.cancel()


def at_once(code: int) -> NoReturn:
    """Whoever has nothing left to do need not take the interpreter apart, which is a tenth of a second of CPU, and far more on
    a busy machine.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
