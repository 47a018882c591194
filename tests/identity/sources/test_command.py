from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.command import CommandSource
from tests.cases import for_each
from tests.identity.fakes import AUDIENCE, EMAIL, jwt
from tests.identity.sources.emulated import CALLER, Google, fails

TOKEN = jwt({"aud": AUDIENCE, "exp": 2_000_000_000, "email": EMAIL})


def program(path: Path, script: str) -> str:
    path.write_text(f"#!{sys.executable} -I\n{script}\n")
    path.chmod(0o700)
    return str(path)


def command(*argv: str, deadline: float = 9.5, **environ: str) -> CommandSource:
    return CommandSource(argv, environ, deadline)


async def test_a_private_service_takes_it(google: Google, tmp_path: Path) -> None:
    token = await asyncio.to_thread(google.emulator.mint, CALLER.email, google.audience)
    source = command(program(tmp_path / "p", f"print({token!r})"))
    await google.accepts(source, email=CALLER.email)


def test_what_it_is_told(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"import os, sys\nopen({str(said)!r}, 'w').write(repr((sys.argv[1:], dict(os.environ))))\nprint({TOKEN!r})"
    source = command(program(tmp_path / "p", script), "--for={audience}", "$A; {audience}", A="b")
    assert source.fetch(AUDIENCE).email == EMAIL
    argv, environ = eval(said.read_text())
    assert argv == [f"--for={AUDIENCE}", f"$A; {AUDIENCE}"]  # no shell
    assert environ.pop("LC_CTYPE", None) in (None, "C.UTF-8")  # Python's own doing
    assert environ == {"A": "b", "IDTOKEN_PROXY_AUDIENCE": AUDIENCE}


def test_its_audience_is_its_own_affair(tmp_path: Path) -> None:
    source = command(program(tmp_path / "p", f"print({TOKEN!r})"))
    assert source.fetch("https://custom.example.com").audience == AUDIENCE


def test_it_is_described_without_its_arguments() -> None:
    assert command("/bin/x", "--password=SENTINEL").describe() == "command /bin/x"


ARGUMENT = "--password=SENTINEL"


@for_each(
    ("script", "expected"),
    [
        (
            "import sys; sys.exit('first\\nno such vault\\n')",
            {
                "cause": "command_failed",
                "detail": "the command {} failed (exit code 1)",
                "remedy": f"See what it says: IDTOKEN_PROXY_AUDIENCE={AUDIENCE} {{}} ...",
                "log_detail": None,
            },
        ),
        (
            f"import sys; sys.exit('failed for {TOKEN}')",
            {"cause": "command_failed", "log_detail": None},
        ),
        (
            "import os; os.kill(os.getpid(), 15)",
            {"detail": "the command {} failed (signal 15)", "log_detail": None},
        ),
        (
            "print('x' * 100_000)",
            {
                "cause": "command_output",
                "detail": "the command {} was stopped: it prints more than a token",
                "remedy": "p must print the token alone; see what it prints: "
                f"IDTOKEN_PROXY_AUDIENCE={AUDIENCE} {{}} ...",
            },
        ),
        (
            "print('SENTINEL')",
            {"cause": "garbage", "detail": "the command p handed out something that is no ID token"},
        ),
        ("", {"cause": "garbage"}),
    ],
    ids=range(6),
)
def test_failures(tmp_path: Path, script: str, expected: dict[str, Any]) -> None:
    path = program(tmp_path / "p", script)
    filled = {name: text.format(path) if isinstance(text, str) else text for name, text in expected.items()}
    fails(command(path, ARGUMENT).fetch, AUDIENCE, fault=Fault.OPERATOR, **filled)


def test_one_that_hangs(tmp_path: Path) -> None:
    path = program(tmp_path / "p", "import time; time.sleep(60)")
    fails(
        command(path, ARGUMENT, deadline=0.6).fetch,
        AUDIENCE,
        cause="command_timeout",
        fault=Fault.OPERATOR,
        detail=f"the command {path} was stopped after 1 s",
        remedy=f"IDTOKEN_PROXY_AUDIENCE={AUDIENCE} {path} ...",
    )


@for_each(
    ("argv", "detail", "remedy"),
    [
        (
            ("/nonexistent", ARGUMENT),
            "the command /nonexistent cannot be started (No such file or directory)",
            "Correct argv: /nonexistent must be a program that this user may run, with a path or on PATH",
        ),
        (("/bin/sh", "a\0b"), "the command /bin/sh cannot be started", "Correct argv"),
    ],
)
def test_one_that_cannot_be_started(argv: tuple[str, ...], detail: str, remedy: str) -> None:
    fails(command(*argv).fetch, AUDIENCE, cause="command_not_started", detail=detail, remedy=remedy)
