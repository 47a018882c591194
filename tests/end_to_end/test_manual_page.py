"""`man idtoken-proxy`: what the commands' help says, without a word of its own, and as man, groff and mandoc take it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import click
import pytest

from idtoken_proxy.cli import commands
from manual_page import PAGE, current, page, undated

TEXT = PAGE.read_text(encoding="utf-8")


def shown() -> str:
    """As a reader has it, wide enough that nothing breaks, without overstriking."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed; .ci/run installs it")
    answer = subprocess.run(
        [
            "man",
            "--local-file",
            "--encoding=ascii",
            "--no-hyphenation",
            "--no-justification",
            "--warnings=w",
            str(PAGE),
        ],
        env={
            **os.environ,
            "MANWIDTH": "1000",
            "MAN_KEEP_FORMATTING": "",
            "LC_ALL": "C.UTF-8",
            "GROFF_NO_SGR": "1",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert answer.stderr == ""
    return re.sub(".\b", "", answer.stdout)


def test_it_is_what_the_commands_say() -> None:
    assert undated(current("")) == undated(TEXT), "run `make manual`"


def test_it_does_not_depend_on_who_asked_a_command_before() -> None:
    command = commands.commands["check"]
    command.get_params(click.Context(command))
    assert undated(current("")) == undated(TEXT)


def test_every_command_and_option_can_be_read_and_pasted() -> None:
    text = shown()
    for name, command in commands.commands.items():
        assert f"\n   {name}\n" in text
        for option in command.params:
            for spelling in option.opts if isinstance(option, click.Option) else ():
                assert re.search(rf"(^|\s){re.escape(spelling)}\b", text), f"{name} {spelling}"
    assert "idtoken-proxy check -c proxy.yaml && idtoken-proxy serve -c proxy.yaml" in text
    assert "connection-age" in text  # of the table that emulate adds to its help


@pytest.mark.parametrize(
    "lint", [["mandoc", "-Tlint", "-Wwarning"], ["groff", "-man", "-ww", "-Tutf8", "-Z"]]
)
def test_a_formatter_has_nothing_to_say(lint: list[str]) -> None:
    if shutil.which(lint[0]) is None:
        pytest.skip(f"{lint[0]} is not installed; .ci/run installs it")
    answer = subprocess.run([*lint, str(PAGE)], capture_output=True, text=True, check=False, timeout=30)
    told = answer.stdout if lint[0] == "mandoc" else ""
    assert (answer.returncode, told, answer.stderr) == (0, "", "")


def test_what_roff_would_obey_is_text() -> None:
    """A request, an escape and a comment in a command's help."""

    @click.group()
    def some() -> None:
        r"""First.

        .so /etc/passwd
        'tis \n[x] and \" and "quoted".
        """

    lines = page(some, "1", "2026-01-01", (), ()).splitlines()
    assert "\\&.so /etc/passwd" in lines
    assert "\\(aqtis \\en[x] and \\e\\(dq and \\(dqquoted\\(dq." in lines
