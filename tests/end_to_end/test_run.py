"""`idtoken-proxy run` as a process: what the app sees, who dies with whom, and every exit code."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
import yaml

from idtoken_proxy.emulator import Emulator
from tests.end_to_end.conftest import PATIENCE, ROOT, Process, _environ, config_for
from tests.end_to_end.test_services import audience_of
from tests.engine.egress import relaying
from tests.engine.test_http2_pool import server_tls
from tests.engine.wire import Ended, Receiver, answering, ok

Run = Callable[..., Awaitable[Process]]

PUBLIC = {
    "log": {"level": "warning"},
    "routes": [{"name": "it", "upstream": "http://127.0.0.1:1", "identity": "none"}],
}
needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed; .ci/run installs it"
)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """`run(config, *command)`; options of the wrapper's own, and of the subprocess, by name."""
    started: list[Process] = []

    async def begin(
        config: dict[str, Any],
        *command: str | Path,
        options: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        before: tuple[str, ...] = (),
        **how: Any,
    ) -> Process:
        file = tmp_path / f"run-{len(started)}.yaml"
        await asyncio.to_thread(file.write_text, yaml.safe_dump(config))
        how = {"stdin": asyncio.subprocess.DEVNULL, **how}
        process = await asyncio.create_subprocess_exec(
            *before,
            *(
                sys.executable,
                "-W",
                "error",
                "-m",
                "idtoken_proxy",
                "run",
                "-c",
                str(file),
                *options,
                "--",
                *map(str, command),
            ),
            cwd=ROOT,
            env={**_environ(), "PYTHONUNBUFFERED": "1", **(env or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            **how,
        )
        started.append(Process(process))
        return started[-1]

    yield begin
    for process in started:
        await process.end()


async def printed(process: Process, text: str) -> str:
    """The first line that holds it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for line in process.lines:
                if text in line:
                    return line
            if process.silent:
                raise Ended(process.output)
            await asyncio.sleep(0.01)


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


async def gone(pid: int) -> None:
    """Dead, if not yet reaped by whoever has to."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                    return
            except (FileNotFoundError, ProcessLookupError):
                return
            await asyncio.sleep(0.01)


# -- what an app sees ----------------------------------------------------------------

SHELL = """#!/bin/sh
set -e
curl -sS --fail "$USER_PROFILES_URL/from-sh"
echo
curl -sS --fail "$IDTOKEN_PROXY_URL/billing/from-sh"
exit 3
"""
PYTHON = """
import os, sys, urllib.request
print(urllib.request.urlopen(os.environ["USER_PROFILES_URL"] + "/from-python").read().decode())
print(urllib.request.urlopen(os.environ["IDTOKEN_PROXY_URL"] + "/billing/from-python").read().decode())
sys.exit(3)
"""
NODE = """
const {USER_PROFILES_URL, IDTOKEN_PROXY_URL} = process.env;
const read = async url => (await fetch(url)).text();
console.log(await read(`${USER_PROFILES_URL}/from-node`));
console.log(await read(`${IDTOKEN_PROXY_URL}/billing/from-node`));
process.exit(3);
"""


APPS = {
    "sh": (SHELL, ["/bin/sh"], "curl"),
    "py": (PYTHON, [sys.executable], sys.executable),
    "mjs": (NODE, ["node"], "node"),
}


async def test_apps_call_private_services_by_their_environment(
    emulator: Emulator, run: Run, tmp_path: Path
) -> None:
    """One after the other, those whose language is installed."""
    script, kinds = "", {kind: one for kind, one in APPS.items() if shutil.which(one[2])}
    for kind, (program, with_, _) in kinds.items():
        app = tmp_path / f"app.{kind}"
        await asyncio.to_thread(app.write_text, program)
        script += f"{' '.join(with_)} {app}; test $? = 3 || exit 1\n"
    process = await run(config_for(emulator), "sh", "-c", f"{script} exit 3")
    assert await process.ended() == 3, process.output
    for kind in kinds:
        assert (
            process.output.count(f"/from-{'python' if kind == 'py' else 'node' if kind == 'mjs' else 'sh'}")
            == 2
        )
    by_the_login = process.output.count('"caller": "login@') + process.output.count('"caller":"login@')
    assert by_the_login == 2 * len(kinds)


@needs_curl
async def test_http_proxy_is_all_that_an_app_needs(emulator: Emulator, run: Run) -> None:
    urls = " ".join(f"{emulator.urls[name]}/x" for name in ("user-profiles", "billing"))
    script = f'test "$HTTP_PROXY" = "$http_proxy" && curl -sS --fail {urls}; curl -s http://evil.example/; curl -s https://evil.example/'
    process = await run(
        config_for(emulator), "sh", "-c", script, options=("--http-proxy",), env={"no_proxy": "a.example"}
    )
    await process.ended()
    answers = [line for line in process.lines if '"service"' in line]
    assert '"service": "user-profiles"' in process.output
    assert '"service": "billing"' in process.output
    assert len(answers) == 2
    assert "is no host that this proxy forwards to" in process.output


@needs_curl
async def test_http_proxy_leads_to_every_service_of_a_project_by_its_real_name(
    emulator: Emulator, run: Run, tmp_path: Path
) -> None:
    """Each with a token of its own, over TLS; another project's is none of this proxy's."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = server_tls(ca, "http/1.1")
    ca.issue_cert("*.europe-west1.run.app").configure_cert(tls)
    async with Receiver(answering(ok()), tls=tls) as receiver, Receiver(relaying(receiver)) as egress:
        config = config_for(
            emulator,
            tls={"ca_file": str(tmp_path / "ca.pem")},
            egress_proxy=f"http://127.0.0.1:{egress.port}",
            routes=[
                {
                    "name": "project",
                    "match": {"host": "*.run.localhost"},
                    "upstream": "https://*-123456789012.europe-west1.run.app",
                }
            ],
        )
        hosts = [f"{name}.europe-west1.run.app" for name in ("orders-123456789012", "orders-999999999999")]
        script = "; ".join(
            f"curl -sS -o /dev/null -w 'status %{{http_code}}\\n' http://{host}/x" for host in hosts
        )
        process = await run(config, "sh", "-c", script, options=("--http-proxy",))
        await process.ended()
        assert [line.strip() for line in process.lines if line.startswith("status")] == [
            "status 200",
            "status 403",
        ], process.output
        asked = [(one.one("host"), audience_of(one.one("authorization"))) for one in receiver.requests]
    assert asked == [(hosts[0], f"https://{hosts[0]}")]


async def test_the_variables(run: Run) -> None:
    config = {
        **PUBLIC,
        "routes": [
            {
                "name": "user-profiles",
                "match": {"path": "/p"},
                "upstream": "http://127.0.0.1:1",
                "identity": "none",
            },
            {
                "name": "web",
                "match": {"host": "web.localhost"},
                "upstream": "http://127.0.0.1:1",
                "identity": "none",
            },
        ],
    }
    process = await run(config, "env", env={"NOTIFY_SOCKET": "/nowhere", "NO_PROXY": "mine"})
    assert await process.ended() == 0
    told = dict(line.strip().split("=", 1) for line in process.lines if "=" in line)
    own = told["IDTOKEN_PROXY_URL"]
    assert own.startswith("http://localhost:")
    assert told["USER_PROFILES_URL"] == f"{own}/p"
    assert told["WEB_URL"] == own.replace("localhost", "web.localhost")
    assert told["NO_PROXY"] == "mine,localhost,.localhost,127.0.0.1,::1"
    assert {"HTTP_PROXY", "http_proxy", "NOTIFY_SOCKET"}.isdisjoint(told)


async def test_what_is_unset_or_in_the_configuration_is_the_proxy_s_alone(run: Run) -> None:
    """Its configuration has it still; the app has neither that nor what the wrapper would add under such a name. What the
    configuration takes in is the proxy's unless somebody says otherwise, or every program has it.
    """
    password = "correct-horse-battery"
    config = {
        **PUBLIC,
        "egress_proxy": "http://${EGRESS_USER:-me}:${EGRESS_PASSWORD}@127.0.0.1:${EGRESS_PORT}",
        "log": {"level": "${HOME_LEVEL:-info}", "format": "${TERM:-json}"},
        "routes": [{"name": "it", "upstream": "http://127.0.0.1:${IT_PORT}", "identity": "none"}],
    }
    names = ("EGRESS_PASSWORD", "EGRESS_USER", "EGRESS_PORT", "IT_PORT", "TERM", "OTHER", "UNSET")
    process = await run(
        config,
        "env",
        options=(
            *(
                "--unset",
                "EGRESS_PASSWORD",
                "--unset",
                "NO_PROXY",
                "--unset",
                "UNSET",
                "--unset",
                "NEVER_THERE",
            ),
            *("--keep", "IT_PORT"),
        ),
        env=dict(zip(names, (password, "me", "9", "1", "json", "kept", "here"), strict=True)),
    )
    assert await process.ended() == 0
    assert password not in process.output
    there = {line.partition("=")[0] for line in process.lines}
    assert {"OTHER", "TERM", "IT_PORT", "IDTOKEN_PROXY_URL"} <= there
    assert {"EGRESS_USER", "EGRESS_PASSWORD", "EGRESS_PORT", "NO_PROXY", "UNSET"}.isdisjoint(there)


@pytest.mark.thorough
async def test_the_proxy_s_url_goes_before_the_receiver_s_of_which_it_was_made(run: Run) -> None:
    """A legacy app reads the receiver's URL in a variable, and so does the proxy; and HTTP_PROXY may be the network's."""
    there = "http://127.0.0.1:9"
    config = {**PUBLIC, "routes": [{"name": "shop", "upstream": "${SHOP_URL}", "identity": "none"}]}
    process = await run(config, "env", options=("--http-proxy",), env={"SHOP_URL": there})
    assert await process.ended() == 0
    told = dict(line.split("=", 1) for line in process.lines if "=" in line)
    assert told["SHOP_URL"] == told["IDTOKEN_PROXY_URL"] != there
    assert "HTTP_PROXY" in told


async def test_what_the_file_says_of_its_listeners_counts(run: Run, client: aiohttp.ClientSession) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {**PUBLIC, "listen": "127.0.0.1:0", "admin": f"127.0.0.1:{port}"}
    process = await run(config, "sh", "-c", "echo at $IDTOKEN_PROXY_URL; exec sleep 60")
    assert "http://127.0.0.1:" in await printed(process, "at http")
    async with client.get(f"http://127.0.0.1:{port}/readiness") as answer:
        assert answer.status == 200
    # Whoever ends the proxy ends the app; and the exit code is the app's.
    async with client.post(f"http://127.0.0.1:{port}/quitquitquit") as answer:
        assert answer.status == 200
    assert await process.ended() == 128 + signal.SIGTERM


async def test_input_and_output_are_the_app_s(run: Run) -> None:
    process = await run(PUBLIC, "cat", stdin=asyncio.subprocess.PIPE)
    assert process.process.stdin is not None
    process.process.stdin.write(b"one\ntwo\n")
    process.process.stdin.close()
    assert await process.ended() == 0
    assert process.lines == ["one\n", "two\n"]


@pytest.mark.thorough
def test_an_app_that_closes_its_output_has_closed_it(tmp_path: Path) -> None:
    """Nobody else holds it open."""
    file = tmp_path / "proxy.yaml"
    file.write_text(yaml.safe_dump(PUBLIC))
    wrapper = (sys.executable, "-m", "idtoken_proxy", "run", "-c", str(file), "--")
    with subprocess.Popen(
        [*wrapper, "sh", "-c", "echo before; exec >&- <&- sleep 60"],
        cwd=ROOT,
        env=_environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read() == b"before\n"
        with pytest.raises(BrokenPipeError):
            os.write(process.stdin.fileno(), b"anybody?")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


# SIGPIPE is its default again in what is not Python; a shell tells what it was started with.
DISPOSITIONS = """
grep SigIgn /proc/self/status
exec "$0" -c 'import signal
ignored = [s.name for s in signal.Signals if s not in (signal.SIGKILL, signal.SIGSTOP)
           and signal.getsignal(s) == signal.SIG_IGN]
print("ignored", ignored, "blocked", list(signal.pthread_sigmask(signal.SIG_BLOCK, ())))'
"""


@pytest.mark.thorough
@pytest.mark.parametrize("nohup", [False, True])
async def test_signals_are_as_they_would_be_without_a_wrapper(run: Run, *, nohup: bool) -> None:
    """But for the two that Python itself ignores as it starts, in the wrapper as in the app that looks."""
    before = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh") if nohup else ()
    look = ("sh", "-c", DISPOSITIONS, sys.executable)
    process = await run(PUBLIC, *look, before=before)
    assert await process.ended() == 0
    ignored = ["SIGHUP"] * nohup + ["SIGPIPE", "SIGXFSZ"]
    assert process.lines[1:] == [f"ignored {ignored} blocked []\n"]
    # What whoever runs this test ignores stays so, as it would without the wrapper.
    bare = await asyncio.create_subprocess_exec(*before, *look, stdout=asyncio.subprocess.PIPE)
    assert process.output == (await bare.communicate())[0].decode()


# -- exit codes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 42", 42), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)],
)
async def test_the_app_s_exit_code_is_the_wrapper_s(run: Run, script: str, code: int) -> None:
    """0 and SIGTERM's 143 are those of other tests here."""
    process = await run(PUBLIC, "sh", "-c", script)
    assert await process.ended() == code
    assert process.output == ""


async def test_127_and_126_as_in_a_shell(run: Run, tmp_path: Path) -> None:
    """Of other things that cannot be run: tests/wrapper/test_launch.py."""
    plain = tmp_path / "plain"
    await asyncio.to_thread(plain.write_text, "exit 5")
    for command, code, said in (
        ("no-such-command", 127, "idtoken-proxy: no-such-command: not found\n"),
        (str(plain), 126, "plain: Permission denied\n"),
    ):
        process = await run(PUBLIC, command)
        assert await process.ended() == code
        assert process.output.endswith(said)
    plain.chmod(0o755)
    process = await run(PUBLIC, plain)  # no #!: a shell's, as a shell would take it
    assert await process.ended() == 5


async def test_a_proxy_that_cannot_start_starts_no_app(run: Run, tmp_path: Path) -> None:
    touch = ("touch", str(tmp_path / "started"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await run({**PUBLIC, "listen": address}, *touch)
        assert await process.ended() == 1
        assert f"Cannot listen: {address}" in process.output
    process = await run({**PUBLIC, "lisen": address}, *touch)
    assert await process.ended() == 2
    assert 'did you mean "listen"' in process.output
    process = await run({**PUBLIC, "listen": f"unix:{tmp_path}/s"}, *touch, options=("--http-proxy",))
    assert await process.ended() == 2
    assert "--http-proxy needs a TCP port" in process.output
    assert not (tmp_path / "started").exists()
    assert "Traceback" not in process.output


def without_token(tmp_path: Path) -> dict[str, Any]:
    route = {
        "name": "it",
        "upstream": "http://127.0.0.1:1",
        "identity": {"type": "file", "path": str(tmp_path / "token")},
    }
    return {"routes": [route]}


async def test_a_proxy_that_does_not_become_ready_says_why(run: Run, tmp_path: Path) -> None:
    process = await run(without_token(tmp_path), "touch", tmp_path / "started", options=("--max", "300ms"))
    assert await process.ended() == 1
    assert "Not ready: after 0.3 s, so the app is not started\n" in process.output
    assert 'route "it": ' in process.output
    assert str(tmp_path / "token") in process.output
    assert "--max gives it more time" in process.output
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_before_it_is_ready_ends_it(run: Run, tmp_path: Path, number: signal.Signals) -> None:
    process = await run(without_token(tmp_path), "touch", tmp_path / "started")
    await printed(process, "token fetch failed")
    (proxy,) = children_of(process.process.pid)
    process.signal(number)
    assert await process.ended() == 128 + number
    await gone(proxy)
    assert not (tmp_path / "started").exists()


@pytest.mark.thorough
async def test_a_wrapper_that_is_killed_before_it_is_ready_leaves_nothing(run: Run, tmp_path: Path) -> None:
    process = await run(without_token(tmp_path), "touch", tmp_path / "started")
    await printed(process, "token fetch failed")
    (proxy,) = children_of(process.process.pid)
    process.signal(signal.SIGKILL)
    await gone(proxy)
    assert await process.ended() == -signal.SIGKILL
    assert "the wrapper was killed" in process.output
    assert not (tmp_path / "started").exists()


# -- signals -------------------------------------------------------------------------------

COUNTING = """
import os, signal, sys, time
def heard(number, frame):
    os.write(1, f"heard {signal.Signals(number).name}\\n".encode())  # whole, whatever interrupts it
    if number == signal.SIGTERM:
        sys.exit(9)
for name in ("TERM", "INT", "HUP", "USR1", "USR2", "QUIT"):
    signal.signal(getattr(signal, "SIG" + name), heard)
print("listening for signals", flush=True)
while True:
    time.sleep(0.05)  # CPython runs a handler before it sleeps or when it wakes: one that comes between the two waits for that
"""


async def test_signals_are_passed_on(run: Run) -> None:
    process = await run(PUBLIC, sys.executable, "-c", COUNTING)
    await printed(process, "listening for signals")
    for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"):
        process.signal(signal.Signals[name])
        await printed(process, f"heard {name}")
    assert await process.ended() == 9
    assert [line for line in process.lines if "heard" in line] == [
        f"heard {name}\n" for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
    ]


def on_a_terminal(*command: str) -> tuple[subprocess.Popen[bytes], int]:
    """In the foreground of a terminal of its own, whose other side is returned."""
    ours, its = pty.openpty()
    modes = termios.tcgetattr(its)
    modes[3] |= termios.NOFLSH  # or Ctrl-C throws away what the app has just said of it
    termios.tcsetattr(its, termios.TCSANOW, modes)

    def take() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=ROOT,
        env=_environ(),
        start_new_session=True,
        preexec_fn=take,  # noqa: PLW1509 -- an ioctl alone
    )
    os.close(its)
    return process, ours


def awaits(pid: int, signum: int) -> bool:
    """Whether it was sent the signal and has not taken it yet."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return bool(int(status.partition("\nShdPnd:")[2].partition("\n")[0], 16) >> (signum - 1) & 1)


async def test_control_c_in_a_terminal_reaches_the_app_once(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(PUBLIC))
    process, terminal = await asyncio.to_thread(
        on_a_terminal,
        *(
            sys.executable,
            "-m",
            "idtoken_proxy",
            "run",
            "-c",
            str(file),
            "--",
            sys.executable,
            "-c",
            COUNTING,
        ),
    )
    said = b""

    def read_until(text: bytes, times: int = 1) -> None:
        nonlocal said
        while said.count(text) < times:
            said += os.read(terminal, 4096)

    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(read_until, b"listening for signals")
            os.write(terminal, b"\x03")
            await asyncio.to_thread(read_until, b"heard SIGINT")
            os.kill(process.pid, signal.SIGUSR1)  # behind it: had there been two, the second came before
            await asyncio.to_thread(read_until, b"heard SIGUSR1")
            assert said.count(b"heard SIGINT") == 1
            # On a busy machine the witness may not have had its turn, and the next would be one with what awaits it.
            while any(awaits(pid, signal.SIGINT) for pid in children_of(process.pid)):
                await asyncio.sleep(0.01)
            os.kill(process.pid, signal.SIGINT)  # by hand, and to the wrapper alone
            await asyncio.to_thread(read_until, b"heard SIGINT", 2)
            os.kill(process.pid, signal.SIGTERM)
            assert await asyncio.to_thread(process.wait) == 9
    finally:
        process.kill()
        os.close(terminal)


@pytest.mark.thorough
async def test_the_terminal_s_hang_up_reaches_the_app(tmp_path: Path) -> None:
    """The kernel tells the session's leader alone, which is the wrapper here."""
    file = tmp_path / "proxy.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(PUBLIC))
    app = ("sh", "-c", "trap 'exit 5' HUP; echo here; while :; do sleep 0.05; done")
    process, terminal = await asyncio.to_thread(
        on_a_terminal, *(sys.executable, "-m", "idtoken_proxy", "run", "-c", str(file), "--", *app)
    )
    try:
        assert await asyncio.to_thread(os.read, terminal, 4096) == b"here\r\n"
        os.close(terminal)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 5
    finally:
        process.kill()


STOPPING = """
import os, signal, sys, time, urllib.error, urllib.request
told = []
def heard(number, frame):
    os.write(1, b"heard\\n")
    told.append(number)
signal.signal(signal.SIGTERM, heard)
print("listening for signals", flush=True)
while not told:
    time.sleep(0.05)
time.sleep(0.7)
try:
    urllib.request.urlopen(os.environ["IT_URL"])
except urllib.error.HTTPError as error:  # the proxy's own answer: there is no such receiver
    sys.exit(error.code - 500)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="the witness is for Linux")
@pytest.mark.parametrize("whom", ["the control group", "the process group", "its like by name"])
async def test_a_stop_that_reaches_more_than_the_wrapper_is_one(run: Run, whom: str) -> None:
    """The app hears it once, still makes its last calls, and takes longer than a drain."""
    config = {**PUBLIC, "timeouts": {"drain": "200ms"}}
    process = await run(config, sys.executable, "-c", STOPPING, start_new_session=True)
    await printed(process, "listening for signals")
    wrapper = process.process.pid
    if whom == "the process group":
        os.killpg(wrapper, signal.SIGTERM)
    else:
        for pid in (wrapper, *children_of(wrapper)):
            command = await asyncio.to_thread(Path(f"/proc/{pid}/cmdline").read_bytes)
            like_it = b"\0idtoken_proxy\0run\0" in command  # not the app, and not the witness
            if like_it or whom == "the control group":
                os.kill(pid, signal.SIGTERM)
    assert await process.ended() == 2
    assert process.output.count("heard") == 1
    assert "the proxy has ended" not in process.output


# -- who dies with whom ----------------------------------------------------------------------


async def test_the_proxy_ends_with_the_app_once_it_has_drained(emulator: Emulator, run: Run) -> None:
    """What the app has left running still gets to the end of what it reads."""
    script = 'curl -sN "$USER_PROFILES_URL/events?interval=0.1&count=5" & sleep 0.2; exit 4'
    process = await run(config_for(emulator), "sh", "-c", script)
    await printed(process, "id: 1")
    proxy = min(children_of(process.process.pid))
    assert await process.ended() == 4
    assert "id: 5" in process.output
    await gone(proxy)


async def test_a_second_signal_cuts_the_drain_short(emulator: Emulator, run: Run) -> None:
    script = 'curl -sN "$USER_PROFILES_URL/events?interval=0.1" & sleep 0.2; exit 4'
    process = await run(config_for(emulator, timeouts={"drain": "60s"}), "sh", "-c", script)
    await printed(process, "draining")
    process.signal(signal.SIGTERM)
    assert await process.ended() == 4


def roles(process: Process) -> tuple[int, int]:
    """(proxy, app): in the order in which they were started, and the witness behind them."""
    proxy, app, *_ = sorted(children_of(process.process.pid))
    return proxy, app


async def test_a_proxy_that_is_killed_takes_the_app_along(run: Run) -> None:
    process = await run(PUBLIC, sys.executable, "-c", COUNTING)
    await printed(process, "listening for signals")
    proxy, app = roles(process)
    os.kill(proxy, signal.SIGKILL)
    assert await process.ended() == 1
    assert "heard SIGTERM" in process.output  # it could say goodbye
    assert "the proxy has ended, and takes the app along" in process.output
    await gone(app)


@pytest.mark.thorough
async def test_and_one_that_does_not_want_to_go_is_killed(run: Run) -> None:
    config = {**PUBLIC, "timeouts": {"drain": "200ms"}}
    process = await run(config, "sh", "-c", "trap '' TERM; echo here; while :; do sleep 1; done")
    await printed(process, "here")
    proxy, app = roles(process)
    os.kill(proxy, signal.SIGKILL)
    assert await process.ended() == 1
    assert "killed, since it did not end" in process.output
    await gone(app)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_a_wrapper_that_is_killed_takes_both_along(run: Run) -> None:
    process = await run(PUBLIC, "sh", "-c", "trap '' TERM HUP INT; echo here; exec sleep 60")
    await printed(process, "here")
    proxy, app = roles(process)
    process.signal(signal.SIGKILL)
    await gone(app)
    await gone(proxy)
    assert await process.ended() == -signal.SIGKILL


ORPHANS = """
import os, subprocess, sys, time
assert os.getppid() == 1
for _ in range(5):
    subprocess.run(["sh", "-c", "sleep 0.05 &"], check=True)  # left to PID 1
def left():
    states = []
    for one in os.listdir("/proc"):
        if one.isdigit():
            try:
                states.append(open(f"/proc/{one}/stat").read().rpartition(")")[2].split()[:2])
            except OSError:
                pass
    return [state for state, parent in states if parent == "1"]
deadline = time.monotonic() + 15
while len(left()) > 3:  # the proxy, the witness and this
    assert time.monotonic() < deadline, left()
    time.sleep(0.02)
print("all reaped")
sys.exit(6)
"""


def _can_unshare() -> bool:
    found = shutil.which("unshare")
    return (
        found is not None
        and subprocess.run(
            [found, "-pf", "--mount-proc", "true"], check=False, capture_output=True
        ).returncode
        == 0
    )


@pytest.mark.thorough
@pytest.mark.skipif(not _can_unshare(), reason="only root may make a PID namespace; CI is root")
async def test_as_pid_1_it_reaps_what_is_left_to_it(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(PUBLIC))
    process = await asyncio.create_subprocess_exec(
        *(
            "unshare",
            "-pf",
            "--mount-proc",
            "--kill-child",
            sys.executable,
            "-m",
            "idtoken_proxy",
            "run",
            "-c",
            str(file),
        ),
        *("--", sys.executable, "-c", ORPHANS),
        cwd=ROOT,
        env=_environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert (process.returncode, out, err) == (6, b"all reaped\n", b"")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


# -- systemd -----------------------------------------------------------------------------------


async def test_systemd_hears_of_the_app_and_of_its_end(run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "n"))
        heard.setblocking(False)
        loop = asyncio.get_running_loop()
        process = await run(PUBLIC, "sleep", "60", env={"NOTIFY_SOCKET": str(tmp_path / "n")})
        async with asyncio.timeout(PATIENCE):
            assert await loop.sock_recv(heard, 4096) == b"READY=1\nSTATUS=serving"
            process.signal(signal.SIGTERM)
            assert await loop.sock_recv(heard, 4096) == b"STOPPING=1"
        assert await process.ended() == 128 + signal.SIGTERM
