"""Starts the proxy, waits for it, starts the app, and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Final

from idtoken_proxy.errors import Fault, ProxyError
from idtoken_proxy.notify import notify
from idtoken_proxy.reload import Source
from idtoken_proxy.settings.addresses import listen_address
from idtoken_proxy.settings.model import Settings
from idtoken_proxy.wrapper import supervise, variables
from idtoken_proxy.wrapper.launch import become
from idtoken_proxy.wrapper.signal_witness import Witness

if TYPE_CHECKING:
    from idtoken_proxy.server import Server

_NOTIFY: Final = "NOTIFY_SOCKET"
_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # while there is no app yet


class NotReady(ProxyError):
    """The app was not started."""

    title = "Not ready"
    fault = Fault.OPERATOR


class _Told(Exception):
    def __init__(self, signum: int) -> None:
        self.signum = signum


@dataclass(frozen=True, slots=True)
class Wrapped:
    """`limit`: seconds for the proxy to become ready. `unset`: variables that are the proxy's alone; so is what its
    configuration takes in, such as a password, but for `keep`.
    """

    settings: Settings
    source: Source | None
    command: Sequence[str]
    http_proxy: bool
    limit: float
    unset: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()


def run(wrapped: Wrapped, environ: MutableMapping[str, str]) -> int:
    """The exit code, of the app, and, in a process of its own, of the proxy. Raises ProxyError there; before the fork,
    ConfigError.
    """
    variables.check(wrapped.settings, http_proxy=wrapped.http_proxy)
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2)
    )  # they are for the app
    ready, tell_ready = os.pipe()
    alive, keep_alive = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    wrapper = os.getpid()
    proxy = os.fork()
    if proxy == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(ready)
        os.close(keep_alive)
        return _serve(wrapped, environ, tell_ready, alive)
    os.close(tell_ready)
    os.close(alive)
    ignored = {signum for signum in supervise.FORWARDED if signal.getsignal(signum) is signal.SIG_IGN}
    try:
        for signum in set(_ENDING) - ignored:
            signal.signal(signum, _raise)
        with open(ready, "rb") as answer:  # noqa: PTH123 -- a descriptor
            bound = answer.read()
        signal.pthread_sigmask(signal.SIG_BLOCK, supervise.WATCHED)
    except _Told as told:
        return _give_up(proxy, told.signum)
    if not bound:  # it has said why
        _, status = os.waitpid(proxy, 0)
        return os.waitstatus_to_exitcode(status) or 1
    told_bound = json.loads(bound)
    addresses = [listen_address(said) for said in told_bound["listen"]]
    added = variables.variables(
        wrapped.settings, addresses, http_proxy=wrapped.http_proxy, from_options=wrapped.source is None
    )
    of_metadata = variables.metadata([listen_address(said) for said in told_bound["metadata"]])
    added |= of_metadata
    receivers = {route.upstream.host for route in wrapped.settings.routes} if wrapped.http_proxy else ()
    added |= variables.direct(environ, added, receivers)
    told_manager = {name: value for name, value in environ.items() if name == _NOTIFY}
    # An app of a service that is told of by the wrapper would be heard by nobody.
    # The proxy's URL goes before what it was made of.
    own = variables.own(wrapped.settings.taken_in) - added.keys()
    if of_metadata:
        own |= variables.BEFORE_METADATA
    hidden = (own - wrapped.keep) | wrapped.unset | {_NOTIFY}
    for_app = {name: value for name, value in (*environ.items(), *added.items()) if name not in hidden}
    app = os.fork()
    if app == 0:
        become(wrapped.command, for_app, handled=supervise.WATCHED - ignored, mask=before, parent=wrapper)
    _let_go_of_the_terminal()
    witness = Witness(supervise.FORWARDED)
    notify(told_manager, "READY=1", "STATUS=serving")
    return supervise.supervise(
        app,
        proxy,
        drain=wrapped.settings.timeouts.drain,
        end_proxy=lambda: _end(keep_alive),
        sent_to_all=witness.saw,
        told=lambda: notify(told_manager, "STOPPING=1"),
    )


def _end(keep_alive: int) -> None:
    """The proxy drains when the pipe ends; a last word tells it that the wrapper is still there."""
    with contextlib.suppress(BrokenPipeError):  # it has gone meanwhile
        os.write(keep_alive, b".")
    os.close(keep_alive)


def _raise(signum: int, _frame: FrameType | None) -> None:
    raise _Told(signum)


def _give_up(proxy: int, signum: int) -> int:
    for ending in _ENDING:
        signal.signal(ending, signal.SIG_IGN)
    supervise.send(proxy, signal.SIGKILL)  # nothing is under way
    os.waitpid(proxy, 0)
    return 128 + signum


def _let_go_of_the_terminal() -> None:
    """Input and output are the app's alone: whoever is at the other end of a pipe sees it end with the app."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)


def _serve(wrapped: Wrapped, environ: MutableMapping[str, str], tell_ready: int, alive: int) -> int:
    os.setpgid(0, 0)  # the terminal's keys are the app's
    # What is sent to the whole control group does not mean it, since it ends after the app. Not SIG_IGN, which the
    # programs that print tokens would inherit.
    for signum in supervise.FORWARDED:
        signal.signal(signum, _leave_alone)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # to tell something there is not
    _let_go_of_the_terminal()
    environ.pop(_NOTIFY, None)

    from idtoken_proxy.tls_trust import trust_ahead  # noqa: PLC0415 -- the event loop and all: in this process alone

    trusted = trust_ahead(wrapped.settings)
    from idtoken_proxy import serving  # noqa: PLC0415 -- meanwhile
    from idtoken_proxy.admin.client import missing  # noqa: PLC0415

    async def attend(running: Server) -> None:
        asyncio.get_running_loop().add_reader(alive, _released, running, alive)
        try:
            async with asyncio.timeout(wrapped.limit):
                await running.lifecycle.settled.wait()
        except TimeoutError:
            lacking = "\n".join(missing({**running.status(), "routes": list(running.route_statuses())}))
            raise NotReady(
                f"after {wrapped.limit:g} s, so the app is not started\n{lacking}",
                remedy="--max gives it more time",
            ) from None
        if running.started:
            places = {"listen": running.bound, "metadata": running.metadata}
            told = {key: [str(address) for address in bound] for key, bound in places.items()}
            os.write(tell_ready, json.dumps(told).encode())
        os.close(tell_ready)

    return serving.run(wrapped.settings, wrapped.source, attend, trusted)


def _leave_alone(_signum: int, _frame: FrameType | None) -> None:
    pass


def _released(running: Server, alive: int) -> None:
    asyncio.get_running_loop().remove_reader(alive)
    running.quit(reason="the app has ended" if os.read(alive, 1) else "the wrapper was killed")
