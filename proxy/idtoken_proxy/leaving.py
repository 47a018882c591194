"""A look-up whose name server is silent cannot be taken back, and an event loop waits for it as it closes: longer than whoever
ends the proxy does, or than `doctor` has promised.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

PATIENCE: Final = 1.0  # seconds


def run(main: Coroutine[Any, Any, int], patience: float = PATIENCE) -> int:
    """What `main` returns is the process's exit code, and there is nothing left to do: where the loop takes longer to close
    than `patience`, the process ends without it.
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
