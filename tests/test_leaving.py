from __future__ import annotations

import subprocess
import sys
import textwrap
from time import monotonic

import pytest

from idtoken_proxy import leaving


def test_what_is_done_is_the_exit_code() -> None:
    async def main() -> int:
        return 3

    assert leaving.run(main()) == 3


def test_a_fault_is_its_callers() -> None:
    async def main() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        leaving.run(main())


def test_what_nobody_can_take_back_does_not_hold_up_the_end() -> None:
    """A blocked thread of the loop's own, as a look-up is."""
    program = """
        import asyncio, time
        from idtoken_proxy import leaving

        async def main():
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
            print("done")
            return 3

        leaving.run(main(), patience=0.1)
    """
    began = monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "done\n", "")
    assert monotonic() - began < 40


def test_who_has_nothing_left_to_do_leaves_at_once_with_all_that_was_said() -> None:
    program = """
        import atexit
        from idtoken_proxy import leaving

        atexit.register(print, "taken apart")
        print("said")
        leaving.at_once(3)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "said\n", "")
