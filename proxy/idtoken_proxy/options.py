"""Which configuration a command means: the options that say it, and what they come to.

A decorator of this module stands under `@commands.command()`, adds its options where it stands, and hands its command
what they mean. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from idtoken_proxy.settings.model import Settings

if TYPE_CHECKING:
    from idtoken_proxy.settings.file import ConfigFile

Command: TypeAlias = Callable[..., int]
Decorator: TypeAlias = Callable[[Command], Command]

_FILE = click.option(
    "-c",
    "--config",
    "file",
    metavar="FILE",
    help="The configuration file. Default: $IDTOKEN_PROXY_CONFIG, then ./config/proxy.yaml, then "
    "/etc/idtoken-proxy/proxy.yaml.",
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """`source`: the file that the settings are of, if any; for a reload, which reads it as it was read the first time."""

    settings: Settings
    source: ConfigFile | None = None


def of_file(*, required: bool = True) -> Decorator:
    """`-c`, as `configuration`. Where none is `required`, and none is named or found, there are no routes."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def configured(file: str | None, **others: Any) -> int:
            configuration = _read(file) if required or file is not None else _read_if_found()
            return command(configuration=configuration, **others)

        return _FILE(configured)

    return decorate


def of_file_or_upstream(
    *,
    upstream_help: str = "as for serve",
    listen_help: str | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Decorator:
    """`-c`, or `--upstream` with `--audience`, and with `--listen` where its help is given; as `configuration`."""
    added = [
        _FILE,
        click.option("--upstream", metavar="URL", help=f"One receiver and no file, {upstream_help}."),
        click.option(
            "--audience",
            metavar="AUD",
            help="With --upstream, where the audience is not the receiver's URL.",
        ),
    ]
    beside = "--audience goes"
    if listen_help is not None:
        added.append(click.option("--listen", metavar="ADDR", help=f"With --upstream; {listen_help}."))
        beside = "--audience and --listen go"

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def configured(
            file: str | None,
            upstream: str | None,
            audience: str | None,
            listen: str | None = None,
            **others: Any,
        ) -> int:
            if upstream is None:
                if audience is not None or listen is not None:
                    raise click.UsageError(f"{beside} with --upstream; with a file, say it there")
                configuration = _read(file, defaults)
            elif file is not None:
                raise click.UsageError("--upstream makes a configuration of its own; leave out -c")
            else:
                from idtoken_proxy.settings.load import settings_from_upstream  # noqa: PLC0415 -- ssl

                configuration = Configuration(
                    settings_from_upstream(upstream, audience, listen, os.environ, defaults)
                )
            return command(configuration=configuration, **others)

        return functools.reduce(lambda made, add: add(made), reversed(added), configured)

    return decorate


def of_a_running_proxy(command: Command) -> Command:
    """`--admin`, else what the variable or `-c` says, as `admin`. Without what a probe has no time for."""

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


def _read(file: str | None, defaults: Mapping[str, str] | None = None) -> Configuration:
    from idtoken_proxy.settings.file import ConfigFile  # noqa: PLC0415 -- ssl
    from idtoken_proxy.settings.load import default_config_path, settings_from_bytes  # noqa: PLC0415

    path = file if file is not None else default_config_path(os.environ)
    source = ConfigFile(path, lambda content: settings_from_bytes(content, path, os.environ, defaults))
    return Configuration(source.load(), source)


def _read_if_found() -> Configuration:
    from idtoken_proxy.settings.environment import found_path  # noqa: PLC0415

    path = found_path(os.environ)
    return Configuration(Settings(routes=())) if path is None else _read(path)
