"""What has to be so before anything else is imported, however this process was started."""

from __future__ import annotations

import signal


def prepare() -> None:
    """First of all."""
    # Where it is ignored, the kernel reaps children by itself: no exit code reaches whoever waits for one, and a failed
    # gcloud would count as 0. A wrapped app gets the default, too.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
