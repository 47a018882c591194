"""`idtoken-proxy init`: what is known is read, the caller found, the configuration written, and checked before it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from idtoken_proxy.errors import ConfigError, Fault, Problem, ProxyError
from idtoken_proxy.generation import rehearse
from idtoken_proxy.init.caller import Caller, find_caller
from idtoken_proxy.init.configuration import Planned, as_text, planned
from idtoken_proxy.init.gcloud_lists import gcloud_lists
from idtoken_proxy.init.inventory import read, receivers_of
from idtoken_proxy.init.questions import GaveUp, asked
from idtoken_proxy.init.receivers import Door, Receiver, distinct
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.plausible import path_objection, shown_path
from idtoken_proxy.terminal import say

STDOUT: Final = "-"
_ANY_AUDIENCE: Final = "https://SERVICE.a.run.app"  # a token for nobody, where no route has a receiver
_REMEDY: Final = (
    "pass what is known: --from FILE with what `gcloud run services list --format=json` or `gcloud functions list "
    "--format=json` prints, a Cloud Run service.yaml or a Compose file (- is standard input); or run it on a terminal, where it asks"
)


class NothingToWrite(ProxyError):
    title = "No configuration was written"
    fault = Fault.OPERATOR


@dataclass(frozen=True, slots=True)
class InitOptions:
    """`files`: `--from`. `output`: where the configuration goes, `-` for standard output."""

    files: tuple[str, ...]
    output: str
    project: str | None = None
    service_account: str | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    receivers: list[Receiver]
    sources: list[str]
    service_account: str | None


def run(options: InitOptions, environ: Mapping[str, str]) -> int:
    """ConfigError for a mistaken file, or one that is in the way; NothingToWrite."""
    _refuse_what_is_there(options.output)
    known = _known(options, environ)
    receivers = distinct(known.receivers)
    if not receivers:
        raise NothingToWrite(
            f"there is no service and no function in {', '.join(known.sources)}", remedy=_REMEDY
        )
    # Of its URL: a custom audience would have a login told that it takes an impersonation.
    audience = next((one.url for one in receivers if one.url and one.door is Door.PRIVATE), _ANY_AUDIENCE)
    caller = asyncio.run(find_caller(audience, environ, known.service_account))
    routes = planned(receivers, caller)
    if all(route.lacking is not None for route in routes):
        lines = "; ".join(f"{route.name}: {route.lacking}" for route in routes[:20])
        raise NothingToWrite(f"none of what was found can be a route yet: {lines}")
    text = as_text(routes, caller, known.sources)
    # What `check` would refuse is refused here, before there is a file.
    rehearse(settings_from_text(text, options.output, {"HOME": environ.get("HOME", "/")}), environ)
    if options.output == STDOUT:
        say(text.removesuffix("\n"))
    else:
        _write(options.output, text)
    _tell(options.output, routes, caller)
    return 0


def _known(options: InitOptions, environ: Mapping[str, str]) -> _Known:
    account = options.service_account
    if options.files:
        contents = [read(path) for path in options.files]
        found = [one for name, content in contents for one in receivers_of(name, content)]
        return _Known(found, [name for name, _ in contents], account)
    remedy = None
    if shutil.which("gcloud", path=environ.get("PATH", os.defpath)) is not None:
        say("asking gcloud for this project's services and functions", err=True)
        printed, failed = gcloud_lists(options.project, environ)
        for error in failed:
            say(f"{error.detail}. {error.remedy}", err=True)
        found = [one for name, content in printed for one in receivers_of(name, content)]
        if found:
            return _Known(found, [name for name, _ in printed], account)
        remedy = failed[0].remedy if failed else None
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        why = "there is no gcloud on PATH" if remedy is None else "gcloud told of no service"
        raise NothingToWrite(
            f"{why}, and no file was passed",
            remedy=f"{remedy}; or {_REMEDY}" if remedy else _REMEDY,
        )
    try:
        receiver, asked_account = asked(_ask, lambda line: say(line, err=True))
    except GaveUp:
        raise NothingToWrite("the questions were not answered", remedy=_REMEDY) from None
    return _Known([receiver], ["three answers"], account or asked_account)


def _ask(question: str) -> str:
    say(question, err=True, ends=False)
    line = sys.stdin.readline(4096)
    if not line:
        raise EOFError
    return line


def _refuse_what_is_there(output: str) -> None:
    """Early, before anybody waits for gcloud; that nothing is overwritten is O_EXCL's to hold."""
    if output == STDOUT:
        return
    refused = path_objection(output, home=False)
    if refused is not None:
        raise ConfigError((Problem("--output", 0, "", refused),))
    if os.path.lexists(output):
        raise _in_the_way(output)


def _in_the_way(output: str) -> ConfigError:
    return ConfigError(
        (
            Problem(
                shown_path(output),
                0,
                "",
                "is there already, and is never overwritten; name another file with --output, or - for standard output",
            ),
        )
    )


def _write(output: str, text: str) -> None:
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise _in_the_way(output) from None
    except OSError as error:
        raise _unwritten(output, error) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:  # half a configuration is none
        with contextlib.suppress(OSError):
            os.unlink(output)  # noqa: PTH108 -- as it was opened
        raise _unwritten(output, error) from None


def _unwritten(output: str, error: OSError) -> ConfigError:
    return ConfigError((Problem(shown_path(output), 0, "", f"cannot be written: {error.strerror}"),))


def _tell(output: str, routes: list[Planned], caller: Caller) -> None:
    """On standard error where the configuration itself is on the other."""
    err = output == STDOUT

    def told(line: str) -> None:
        say(line, err=err)

    live = sum(route.lacking is None for route in routes)
    kept = len(routes) - live
    told(
        f"{'written' if err else shown_path(output)}: {live} {'route' if live == 1 else 'routes'}"
        + (f", and {kept} in comments" if kept else "")
    )
    for route in routes:
        receiver = route.receiver
        told(
            f"{route.name}: "
            + (f"{route.url} -> {receiver.url}" if route.lacking is None else "no route yet")
        )
        if route.lacking is not None:
            told(f"  {route.lacking}")
        for note in receiver.notes:
            told(f"  {note}")
        if route.needs is not None:
            told(f"  {route.needs}")
        for unknown in receiver.unknown:
            told(f"  not known: {unknown}")
    if caller.error is None:
        told(f"identity: {caller.described}" + (f", as {caller.email}" if caller.email else ""))
    else:
        told(f"no token yet: {caller.error.detail}")
        if caller.error.remedy is not None:
            told(f"  {caller.error.remedy}")
    told("not known: whether it may call them, which doctor tells. Next:")
    name = "proxy.yaml" if err else shlex.quote(output)
    told(f"idtoken-proxy doctor -c {name} && idtoken-proxy serve -c {name}")
