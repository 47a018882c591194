"""`python first_call.py COMMAND...`: starts a demo, makes the call that it tells to paste, and stops it. Within a minute."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
import urllib.request

A_MINUTE = 60.0
CALL = re.compile(rb"^curl -i (http://localhost:\d+/user-profiles/42)$", re.MULTILINE)
CALLER = b"login@demo-project.iam.gserviceaccount.com"


def main(command: list[str]) -> None:
    begun = time.monotonic()
    demo = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert demo.stdout is not None
    told = b""
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(demo.stdout, selectors.EVENT_READ)
            while not (through := CALL.search(told)):
                if not waiting.select(begun + A_MINUTE - time.monotonic()):
                    sys.exit("It is not up within a minute.")
                read = os.read(demo.stdout.fileno(), 65536)
                if not read:
                    sys.exit(f"It has ended by itself: {demo.wait(A_MINUTE)}")
                told += read
        with urllib.request.urlopen(through[1].decode(), timeout=10) as answer:
            if CALLER not in answer.read():
                sys.exit("The receiver does not know the caller.")
        took = time.monotonic() - begun
        if took > A_MINUTE:
            sys.exit(f"The first call took {took:.1f} s.")
        sys.stdout.write(f"The first call took {took:.1f} s.\n")
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=20)
    sys.exit(demo.returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
