"""Which configuration a command means: the options that select it, and the settings they result in.

A decorator of this module stands under `@commands.command()`, adds its options there, and passes the result to the
command. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click
from click.shell_completion import CompletionItem

from idtoken_proxy.settings.model import Settings

if TYPE_CHECKING:
    from idtoken_proxy.settings.file import ConfigFile

Command: TypeAlias = Callable[..., int]
Decorator: TypeAlias = Callable[[Command], Command]


def completed_files(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    """For shell completion. Not click.Path: its message about a name that is not text ends in a traceback."""
    return [CompletionItem(begun, type="file")]


def completed_routes(ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """For shell completion: routes of the configuration named so far, else of the one that would be found."""
    from idtoken_proxy.settings.environment import found_path  # noqa: PLC0415
    from idtoken_proxy.settings.route_names import route_names  # noqa: PLC0415 -- yaml

    path = ctx.params.get("file") or found_path(os.environ)
    return [name for name in route_names(path, os.environ) if name.startswith(begun)] if path else []


_FILE = click.option(
    "-c",
    "--config",
    "file",
    shell_complete=completed_files,
    metavar="FILE",
    help="The configuration file, or - for standard input. Default: $IDTOKEN_PROXY_CONFIG, then ./config/proxy.yaml, "
    "then ./proxy.yaml, then /etc/idtoken-proxy/proxy.yaml.",
)


# Used by `--metadata` if the file has no such section.
_METADATA: Final[Mapping[str, object]] = {"metadata": {"listen": "localhost:0"}}


@dataclass(frozen=True, slots=True)
class Configuration:
    """`source`: the file the settings came from, if any. A reload reads it again the way it was read first."""

    settings: Settings
    source: ConfigFile | None = None


def of_file(command: Command) -> Command:
    """`-c`, passed on as `configuration`."""

    @functools.wraps(command)
    def configured(file: str | None, **others: Any) -> int:
        return command(configuration=_read(file, ""), **others)

    return _FILE(configured)


def of_file_if_found(command: Command) -> Command:
    """`-c`, passed on as `configuration`. If none is named or found, there are no routes."""

    @functools.wraps(command)
    def configured(file: str | None, **others: Any) -> int:
        configuration = _read_if_found() if file is None else _read(file, "")
        return command(configuration=configuration, **others)

    return _FILE(configured)


def of_file_or_upstream(
    *,
    upstream_help: str = "as for serve",
    listen_help: str | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Decorator:
    """`-c`, or `--upstream` and `--route` with `--audience`, passed on as `configuration`. With `listen_help`, all
    options that say who may connect, too. A command that has `--metadata` gets that section even if the file lacks it.
    """
    serves = listen_help is not None
    added = [
        _FILE,
        click.option("--upstream", metavar="URL", help=f"One receiver and no file, {upstream_help}."),
        click.option(
            "--route",
            "routes",
            metavar="/PATH=URL",
            multiple=True,
            help="A receiver under a path, which comes off, or as HOST=URL under a name. May be repeated, and stand "
            "beside --upstream.",
        ),
        click.option(
            "--audience",
            metavar="AUD",
            help="With --upstream, where the audience is not the receiver's URL.",
        ),
        *(_of_listeners(str(listen_help)) if serves else ()),
    ]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def configured(
            file: str | None,
            upstream: str | None,
            routes: tuple[str, ...],
            audience: str | None,
            **others: Any,
        ) -> int:
            from idtoken_proxy.settings.command_line import ANYWHERE, CommandLine  # noqa: PLC0415 -- not for all

            keys = _said(others) if serves else {}
            usual = {**(defaults or {}), **(_METADATA if others.get("metadata") else {})}
            if upstream is None and (audience is not None or not routes):
                alone = ["--audience"] if audience is not None else []
                alone += [name for name in keys if name not in ANYWHERE]
                if alone:
                    verb = "goes" if len(alone) == 1 else "go"
                    raise click.UsageError(
                        f"{' and '.join(alone)} {verb} with --upstream; with a file, say it there"
                    )
            if upstream is None and not routes:
                configuration = _read(file, ", or one receiver with --upstream URL", usual, keys)
            elif file is not None:
                named = "--upstream" if upstream is not None else "--route"
                raise click.UsageError(f"{named} makes a configuration of its own; leave out -c")
            else:
                from idtoken_proxy.settings.load import settings_from_options  # noqa: PLC0415 -- ssl

                said = CommandLine(upstream, audience, routes, keys)
                configuration = Configuration(settings_from_options(said, os.environ, usual))
            return command(configuration=configuration, **others)

        return functools.reduce(lambda made, add: add(made), reversed(added), configured)

    return decorate


def _of_listeners(listen_help: str) -> list[Decorator]:
    return [
        click.option("--listen", metavar="ADDR", help=f"With --upstream; {listen_help}."),
        click.option(
            "--admin",
            metavar="ADDR|off",
            help="Where health, metrics and the status page are, in place of the file's and of $IDTOKEN_PROXY_ADMIN.",
        ),
        click.option(
            "--allow-origin",
            metavar="ORIGIN",
            multiple=True,
            help="With --upstream: pages that may send requests, such as http://localhost:5173. May be repeated.",
        ),
        click.option(
            "--allow-host",
            metavar="NAME",
            multiple=True,
            help="With --upstream: a name of the proxy besides localhost. May be repeated.",
        ),
        click.option(
            "--allow-remote",
            is_flag=True,
            help="With --upstream: let --listen and --admin take addresses that other machines reach. Wants "
            "--caller-token-file.",
        ),
        click.option(
            "--caller-token-file",
            metavar="FILE",
            help="With --upstream: holds the secret that requests must carry as X-Idtoken-Proxy-Caller.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            help="In place of the file's and of $IDTOKEN_PROXY_LOG_LEVEL.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors alone."),
    ]


def _said(others: dict[str, Any]) -> dict[str, object]:
    """Removes the options that stand for keys from `others`, and returns those that were given, by option."""
    from idtoken_proxy.settings.command_line import KEYS  # noqa: PLC0415 -- not for every command

    given = {name: others.pop(name[2:].replace("-", "_")) for name in KEYS}
    if others.pop("quiet"):
        if given["--log-level"] is not None:
            raise click.UsageError("--quiet is --log-level warning; leave out one of the two")
        given["--log-level"] = "warning"
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if value not in (None, (), False)
    }


def of_a_running_proxy(command: Command) -> Command:
    """`--admin`, else the variable, else what `-c` says, passed on as `admin`. Imports little: a probe has no time."""

    @functools.wraps(command)
    def addressed(file: str | None, admin: str | None, **others: Any) -> int:
        from idtoken_proxy.settings.admin import running_admin  # noqa: PLC0415
        from idtoken_proxy.settings.environment import found_path  # noqa: PLC0415

        address = running_admin(admin, file or found_path(os.environ), os.environ)
        return command(admin=address, **others)

    admin_option = click.option(
        "--admin", metavar="ADDR", help="Where the proxy's admin listener is, in place of the file's."
    )
    return _FILE(admin_option(addressed))


def _read(
    file: str | None,
    instead: str,
    defaults: Mapping[str, object] | None = None,
    keys: Mapping[str, object] | None = None,
) -> Configuration:
    from idtoken_proxy.settings.file import ConfigFile  # noqa: PLC0415 -- ssl
    from idtoken_proxy.settings.load import default_config_path, settings_from_bytes  # noqa: PLC0415

    path = file if file is not None else default_config_path(os.environ, instead)
    source = ConfigFile(path, lambda content: settings_from_bytes(content, path, os.environ, defaults, keys))
    return Configuration(source.load(), source)


def _read_if_found() -> Configuration:
    from idtoken_proxy.settings.environment import found_path  # noqa: PLC0415

    path = found_path(os.environ)
    return Configuration(Settings(routes=())) if path is None else _read(path, "")


def up_to(said: str) -> Decorator:
    """`--max`, passed on as `limit`, in seconds."""
    return click.option(
        "--max", "limit", callback=_seconds, default="30s", show_default=True, metavar="TIME", help=said
    )


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    from idtoken_proxy.settings.values import duration  # noqa: PLC0415 -- not for all

    try:
        return duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
