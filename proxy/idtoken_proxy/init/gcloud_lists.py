"""gcloud, run for the user: what a project's services and functions are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources import process
from idtoken_proxy.init.inventory import LONGEST

_DEADLINE: Final = 60.0  # seconds, for one list
_LISTS: Final = (("run", "services", "list"), ("functions", "list"))


class NoList(TokenError):
    """gcloud has not told; why, and what to do."""

    title = "gcloud"

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail, cause="gcloud_failed", fault=Fault.OPERATOR, remedy=remedy)


def gcloud_lists(
    project: str | None, environ: Mapping[str, str], deadline: float = _DEADLINE
) -> tuple[list[tuple[str, bytes]], list[NoList]]:
    """([(the command, what it printed)], those that failed): a project may have its functions' API disabled."""
    printed: list[tuple[str, bytes]] = []
    failed: list[NoList] = []
    for words in _LISTS:
        argv = ("gcloud", *words, *(() if project is None else (f"--project={project}",)), "--format=json")
        try:
            printed.append((" ".join(argv), _run(argv, environ, deadline)))
        except NoList as error:
            failed.append(error)
    return printed, failed


def _run(argv: tuple[str, ...], environ: Mapping[str, str], deadline: float) -> bytes:
    told = " ".join(argv)
    try:
        ended = process.run(argv, {**environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}, deadline, LONGEST)
    except OSError:
        raise NoList("gcloud is not installed, or not on PATH", "Install it, or pass --from FILE") from None
    except process.TimedOut:
        raise NoList(f"{told}: no answer within {deadline:g} s", f"See what it waits for: {told}") from None
    except process.TooMuch:
        raise NoList(f"{told}: it prints too much", "Pass a part of it with --from FILE") from None
    if ended.code != 0:
        # Nothing of its own words: they quote what servers answered.
        raise NoList(
            f"{told}: exit code {ended.code}", f"See what it says: {told}; perhaps gcloud auth login"
        )
    return ended.stdout.encode("latin-1")
