"""The manual page, made of what the commands' own help says: `make manual` writes it, the wheel brings it to share/man."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

PAGE: Final = Path(__file__).parent / "man" / "idtoken-proxy.1"
PROGRAM: Final = "idtoken-proxy"
_DATE: Final = re.compile(r"(?<=^\.TH IDTOKEN\\-PROXY 1 )\S+", re.MULTILINE)
_VERBATIM: Final = "\b\n"  # click's mark: https://click.palletsprojects.com/en/stable/documentation/
_EXIT: Final = {
    "0": "It is done, or was told to end.",
    "1": "It failed at run time.",
    "2": "The command line or the configuration is mistaken; nothing was begun.",
}


def page(
    commands: click.Group, version: str, date: str, files: Iterable[str], variables: Iterable[str]
) -> str:
    """In roff's man macros (man(7)). `date`: of the page, such as 2026-11-29. `files`: where a configuration is looked for.
    `variables`: those that stand for a key of it.
    """
    context = _context(commands, PROGRAM)
    summary, *rest = _paragraphs(commands.help or "")
    sections: Mapping[str, Iterable[str]] = {
        "NAME": [f"{_text(PROGRAM)} \\- {_text(summary[0].lower() + summary[1:].rstrip('.'))}"],
        "SYNOPSIS": [f".B {_text(PROGRAM)}", f".I {_text(' '.join(commands.collect_usage_pieces(context)))}"],
        "DESCRIPTION": _body([summary, *rest]),
        "OPTIONS": _options(commands, context),
        "COMMANDS": _commands(commands, context),
        "ENVIRONMENT": _variables(variables),
        "FILES": [
            line
            for path in files
            for line in (".TP", f".I {_text(path)}", "A configuration, where none is named.")
        ],
        "EXIT STATUS": [
            line for code, means in _EXIT.items() for line in (".TP", f".B {code}", _text(means))
        ],
    }
    lines = [f'.TH IDTOKEN\\-PROXY 1 {date} "{_text(f"{PROGRAM} {version}")}" "User Commands"']
    for name, body in sections.items():
        lines += [f'.SH "{name}"', *body]
    return "\n".join(lines) + "\n"


def _commands(commands: click.Group, outer: click.Context) -> Iterator[str]:
    for name in commands.list_commands(outer):
        command = commands.commands[name]
        if command.hidden:
            continue
        context = _context(command, name, outer)
        yield f'.SS "{_text(name)}"'
        yield f".B {_text(context.command_path)}"
        yield f".I {_text(' '.join(command.collect_usage_pieces(context)))}"
        yield ".PP"
        yield from _body(_paragraphs(command.help or ""))
        yield from _options(command, context)
        added = _Recorder()
        command.format_epilog(context, added)
        yield from added.lines


def _context(command: click.Command, name: str, outer: click.Context | None = None) -> click.Context:
    return click.Context(command, info_name=name, parent=outer, **command.context_settings)


class _Recorder(click.HelpFormatter):
    """Takes in what a command adds to its help by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self.lines += [".PP", f"{_text(name)}:"]
        yield

    def write_dl(
        self,
        rows: Sequence[tuple[str, str]],
        col_max: int = 30,  # noqa: ARG002 -- click's
        col_spacing: int = 2,  # noqa: ARG002 -- as above
    ) -> None:
        self.lines += [line for name, means in rows for line in (".TP", f".B {_text(name)}", _text(means))]


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    # Not get_params(): click keeps the help option of the first context that asked, whatever its names were there.
    records = [parameter.get_help_record(context) for parameter in command.params]
    records.append((", ".join(context.help_option_names), "Show this message and exit."))
    for record in records:
        if record is not None:
            names, help_text = record
            yield from (".TP", f".B {_text(names)}", _text(help_text))


def _variables(variables: Iterable[str]) -> Iterator[str]:
    for name in variables:
        yield from (".TP", f".B {_text(name)}", "Stands for a key of the configuration.")


def _paragraphs(help_text: str) -> list[str]:
    return inspect.cleandoc(help_text).split("\n\n")


def _body(paragraphs: Iterable[str]) -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        if paragraph.startswith(_VERBATIM):
            lines = map(_text, paragraph.removeprefix(_VERBATIM).splitlines())
            yield from (".PP", ".RS 4", ".nf", *lines, ".fi", ".RE")
        else:
            yield from ([".PP"] if number else [])
            yield from (_text(line.strip()) for line in paragraph.splitlines())


def _text(text: str) -> str:
    """As it is to be read, and to be pasted into a shell: a bare hyphen would become a typographic one."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("`", "\\(ga")
    escaped = escaped.replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def current(date: str) -> str:
    """The page of the tree that it stands in."""
    from idtoken_proxy import __version__  # noqa: PLC0415
    from idtoken_proxy.cli import commands  # noqa: PLC0415
    from idtoken_proxy.settings.environment import OVERRIDES, SEARCHED  # noqa: PLC0415

    return page(commands, __version__, date, SEARCHED, OVERRIDES)


def undated(text: str) -> str:
    return _DATE.sub("", text)


def main() -> None:
    made = current(datetime.now(UTC).date().isoformat())
    if not PAGE.exists() or undated(PAGE.read_text(encoding="utf-8")) != undated(made):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(made, encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} is what the commands say.\n")


if __name__ == "__main__":
    main()
