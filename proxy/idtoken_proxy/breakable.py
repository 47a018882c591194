"""`--break KIND` of `emulate` and `demo`: what goes wrong in real life, on demand. The kinds are the emulator's."""

from __future__ import annotations

import click


def _break_kind(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Checks the name against the emulator's table, which is imported only when somebody asks for it."""
    if value is not None:
        from idtoken_proxy.emulator import BREAKS  # noqa: PLC0415 -- aiohttp and google-auth

        if value not in BREAKS:
            raise click.BadParameter(f"{value!r} is none of {', '.join(BREAKS)}.", ctx, param)
    return value


def _break_kinds(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """For a shell to complete."""
    from idtoken_proxy.emulator import BREAKS  # noqa: PLC0415 -- as above

    return [kind for kind in BREAKS if kind.startswith(begun)]


class Breakable(click.Command):
    """A command whose help ends with the table of kinds."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        from idtoken_proxy.emulator import BREAKS  # noqa: PLC0415

        with formatter.section("Kinds of failure"):
            formatter.write_dl(list(BREAKS.items()))


break_option = click.option(
    "--break",
    "break_kind",
    callback=_break_kind,
    shell_complete=_break_kinds,
    metavar="KIND",
    help="Let that go wrong, all the time; the kinds are below.",
)
