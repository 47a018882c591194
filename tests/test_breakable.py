"""What `--break` takes, tells and completes; what breaks by it is in test_demo.py and emulator/test_command.py."""

from __future__ import annotations

import click
from click.testing import CliRunner

from idtoken_proxy.breakable import Breakable, break_option
from idtoken_proxy.emulator import BREAKS
from tests.cases import for_each


@click.command(cls=Breakable)
@break_option
def broken(break_kind: str | None) -> None:
    click.echo(str(break_kind))


@for_each("kind", BREAKS)
def test_each_kind_is_taken_and_told_of(kind: str) -> None:
    assert CliRunner().invoke(broken, ["--break", kind]).output == f"{kind}\n"
    assert kind in CliRunner().invoke(broken, ["--help"]).output


def test_without_it_nothing_is_broken() -> None:
    assert CliRunner().invoke(broken, []).output == "None\n"


def test_any_other_is_told_all() -> None:
    told = CliRunner().invoke(broken, ["--break", "Hang"])
    assert told.exit_code == 2
    assert "'Hang' is none of hang, slow," in told.output


@for_each(("begun", "kinds"), [("login-", ["login-expired", "login-again"]), ("x", []), ("", list(BREAKS))])
def test_a_shell_completes_them(begun: str, kinds: list[str]) -> None:
    (option,) = broken.params
    offered = option.shell_complete(click.Context(broken), begun)
    assert sorted(one.value for one in offered) == sorted(kinds)
