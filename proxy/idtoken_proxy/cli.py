"""The commands. Exit codes: 0 done; 1 failed at run time; 2 bad usage or configuration."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from idtoken_proxy import __version__
from idtoken_proxy.build import BUILD
from idtoken_proxy.commands.completion import completion
from idtoken_proxy.commands.emulator import demo, emulate
from idtoken_proxy.commands.init import init
from idtoken_proxy.commands.login import login, logout
from idtoken_proxy.commands.mcp import mcp
from idtoken_proxy.commands.running import probe, wait
from idtoken_proxy.errors import ConfigError, ProxyError
from idtoken_proxy.options import (
    Configuration,
    completed_files,
    completed_routes,
    of_file_if_found,
    of_file_or_upstream,
    up_to,
)
from idtoken_proxy.terminal import colors, printable_lines, say


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(
    __version__, prog_name="idtoken-proxy", message=f"%(prog)s, version %(version)s ({BUILD})"
)
def commands() -> None:
    """Call private Google Cloud services as plain localhost URLs.

    \b
    Without Google, to see it work:   idtoken-proxy demo
    One service, no file:             idtoken-proxy serve --upstream https://SERVICE.a.run.app
    A first configuration:            idtoken-proxy init
    A private server, for MCP:        idtoken-proxy mcp https://SERVICE.a.run.app/mcp
    Several routes:                   idtoken-proxy check -c proxy.yaml && idtoken-proxy serve -c proxy.yaml
    """


@commands.command(short_help="Run the proxy.")
@of_file_or_upstream(
    upstream_help="such as https://SERVICE.a.run.app",
    listen_help="default localhost:8080. Port 0 takes a free one",
)
def serve(configuration: Configuration) -> int:
    """Run the proxy.

    \b
    idtoken-proxy serve --upstream https://user-profiles-x7f3kq-uc.a.run.app
    idtoken-proxy serve --route /profiles=https://PROFILES.a.run.app --route /search=https://SEARCH.a.run.app
    curl http://localhost:8080/

    A change of the file, or SIGHUP, takes the new settings over without losing a request, or, where they hold a
    mistake, says so and stays with the old ones. SIGTERM and SIGINT let open requests finish and exit with 0; a second one ends at once.
    """
    from idtoken_proxy.tls_trust import trust_ahead  # noqa: PLC0415 -- ssl: not for every command

    trusted = trust_ahead(configuration.settings)
    from idtoken_proxy import logs, serving  # noqa: PLC0415 -- meanwhile

    said = configuration.settings.log
    logs.configure(said)
    greets = logs.read_along(said, sys.stderr) and said.level in ("debug", "info")
    return serving.run(configuration.settings, configuration.source, trusted=trusted, greets=greets)


@commands.command(short_help="Tell every mistake of the configuration at once.")
@of_file_or_upstream()
def check(configuration: Configuration) -> int:
    """Validate the configuration: every mistake at once, each with its file, line and key.

    \b
    idtoken-proxy check -c proxy.yaml && idtoken-proxy serve -c proxy.yaml
    idtoken-proxy check --upstream https://user-profiles-x7f3kq-uc.a.run.app

    Prints one line a route, or the mistakes, and exits with 0 or 2. What is no mistake and looks like one is a warning,
    on standard error.
    """
    from idtoken_proxy.admin.report import EACH_SERVICE  # noqa: PLC0415 -- not for all
    from idtoken_proxy.generation import rehearse  # noqa: PLC0415 -- ssl, and the kinds of credentials
    from idtoken_proxy.settings.model import asked_for, kind_of  # noqa: PLC0415

    routes = configuration.settings.routes
    exposed = rehearse(configuration.settings, os.environ)
    for warning in (*configuration.settings.warnings, *exposed):
        say(f"warning: {warning}", err=True)
    for route in routes:
        match = f"{route.host or ''}{route.path}"
        own = f"{EACH_SERVICE} audience"
        wanted = own if route.is_pattern else f"{kind_of(route.wanted)} {asked_for(route.wanted)}"
        say(f"{route.name}: {match} -> {route.upstream}, {wanted}, identity {route.identity.type}")
    metadata = configuration.settings.metadata
    if metadata is not None:
        access = "no access tokens" if metadata.scopes is None else f"access tokens {metadata.scopes}"
        audiences = ", ".join(metadata.audiences) or "none"
        say(
            f"metadata: {metadata.listen}, audiences {audiences}, {access}, identity {metadata.identity.type}"
        )
    for inbound in configuration.settings.receive:
        invokers = inbound.rules[0].invokers
        who = (
            "everybody" if invokers is None else f"{len(invokers)} invoker{'' if len(invokers) == 1 else 's'}"
        )
        say(f"{inbound.name}: {who} -> {inbound.upstream}, audiences {', '.join(inbound.audiences)}")
    listeners = (
        f", {len(configuration.settings.receive)} before apps" if configuration.settings.receive else ""
    )
    say(f"OK: {len(routes)} {'route' if len(routes) == 1 else 'routes'}{listeners}")
    return 0


@commands.command(short_help="Try every route's identity, token and receiver.")
@of_file_or_upstream()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(configuration: Configuration, as_json: bool) -> int:  # noqa: FBT001 -- click's
    """Try every route: its identity, its token, its receiver; and say what mends what is wrong.

    \b
    idtoken-proxy doctor -c proxy.yaml
    idtoken-proxy doctor --upstream https://user-profiles-x7f3kq-uc.a.run.app

    For each route it sends one GET of its receiver's first page, with the token. Exits with 0 when all is well, else 1; 2 for a
    mistaken configuration.
    """
    from idtoken_proxy import leaving, logs  # noqa: PLC0415
    from idtoken_proxy.admin import doctor as examination  # noqa: PLC0415
    from idtoken_proxy.admin import report  # noqa: PLC0415
    from idtoken_proxy.settings.model import LogSettings  # noqa: PLC0415
    from idtoken_proxy.tracing.pipeline import collector_doubts  # noqa: PLC0415

    logs.configure(LogSettings(level="error"))  # the report says what the log would

    async def examine() -> int:
        found = await examination.examine(configuration.settings, os.environ)
        exposed = await examination.exposed_files(configuration.settings)
        untaken = await collector_doubts(configuration.settings) if configuration.settings.tracing else ()
        for warning in (*configuration.settings.warnings, *exposed, *untaken):
            if not warning.key.endswith("].audience"):  # the route's own lines say it
                say(f"warning: {warning}", err=True)
        if as_json:
            say(report.as_json(found))
        else:
            for line in report.as_text(found, colors=colors(sys.stdout)):
                say(line)
        return 0 if found.all_ok else 1

    return leaving.run(examine())


@commands.command(
    context_settings={"allow_interspersed_args": False},
    short_help="Start the proxy and an app, and end with the app.",
)
@of_file_or_upstream(
    listen_help="default a free port of localhost", defaults={"listen": "localhost:0", "admin": "off"}
)
@click.option(
    "--http-proxy", is_flag=True, help="Set HTTP_PROXY too: the app names its receivers as http://HOST/..."
)
@click.option(
    "--metadata",
    is_flag=True,
    help="Let Google's libraries in the app find an identity: a metadata server on a free port, and GCE_METADATA_HOST set.",
)
@up_to("For it to become ready, such as 30s or 2m.")
@click.option(
    "--unset", multiple=True, metavar="NAME", help="A variable that the app is not to have; may be repeated."
)
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="A variable of the configuration's ${...} that the app is to have too.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=completed_files)
def run(
    configuration: Configuration,
    http_proxy: bool,  # noqa: FBT001 -- click's
    metadata: bool,  # noqa: ARG001, FBT001 -- click's; the configuration has it by now
    limit: float,
    unset: tuple[str, ...],
    keep: tuple[str, ...],
    command: tuple[str, ...],
) -> int:
    """Start the proxy, then an app with its environment set, and end with the app's exit code.

    \b
    idtoken-proxy run --upstream https://user-profiles-x7f3kq-uc.a.run.app -- ./legacy-app --its-options
    idtoken-proxy run -c proxy.yaml --http-proxy -- sh -c 'curl "$USER_PROFILES_URL/42"'
    idtoken-proxy run -c proxy.yaml --metadata -- python app.py

    The app finds IDTOKEN_PROXY_URL, and for each route its name's: USER_PROFILES_URL for user-profiles. Without listen:
    and admin: the proxy takes a free port, and has no admin listener. Variables that the configuration takes in by ${NAME}
    are the proxy's alone, unless --keep gives one back. Signals go to the app; when it ends, so does the
    proxy. 127 and 126 as in a shell: there is no such command, or it cannot be run. 1: the proxy did not become ready.
    """
    from idtoken_proxy import logs  # noqa: PLC0415
    from idtoken_proxy.wrapper import run as wrapper  # noqa: PLC0415

    logs.configure(configuration.settings.log)
    wrapped = wrapper.Wrapped(
        configuration.settings,
        configuration.source,
        command,
        http_proxy,
        limit,
        frozenset(unset),
        frozenset(keep),
    )
    return wrapper.run(wrapped, os.environ)


@commands.command(short_help="Print one token.")
@click.option("--audience", metavar="AUD", help="Whom the token is for, such as https://SERVICE.a.run.app.")
@click.option(
    "--scopes", metavar="SCOPE,...", help="Print an access token, good for these, such as cloud-platform."
)
@of_file_if_found
@click.option(
    "--route",
    metavar="NAME",
    shell_complete=completed_routes,
    help="The route whose identity, and, without --audience and --scopes, whose kind of token to take.",
)
@click.option("--claims", "claims_only", is_flag=True, help="Print what the token says, and not the token.")
def token(
    configuration: Configuration,
    audience: str | None,
    scopes: str | None,
    route: str | None,
    claims_only: bool,  # noqa: FBT001 -- click's
) -> int:
    """Print one token: whoever has it is you, for an hour. Nothing else ever prints one.

    \b
    idtoken-proxy token --audience https://user-profiles-x7f3kq-uc.a.run.app --claims
    curl -H "Authorization: Bearer $(idtoken-proxy token --route user-profiles)" ...

    Without a configuration, the identity is auto: GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, the metadata server.
    """
    import asyncio  # noqa: PLC0415
    import json  # noqa: PLC0415

    from idtoken_proxy import logs  # noqa: PLC0415
    from idtoken_proxy.admin.one_token import claims_of, identity_for, one_token  # noqa: PLC0415
    from idtoken_proxy.identity.token import IdToken  # noqa: PLC0415
    from idtoken_proxy.settings.model import LogSettings  # noqa: PLC0415

    try:
        identity, wanted = identity_for(configuration.settings, audience, route, scopes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    logs.configure(LogSettings(level="error"))
    minted = asyncio.run(one_token(identity, wanted, configuration.settings.google, os.environ))
    if isinstance(minted, IdToken) and isinstance(wanted, str) and not minted.is_for(wanted):
        say(f"The token is for {minted.audiences!a}, not for {wanted}", err=True)
    say(json.dumps(claims_of(minted), indent=2) if claims_only else minted.value)
    return 0


@commands.command(short_help="Print the configuration's JSON Schema.")
@click.option("--world", is_flag=True, help="Of the file that emulate -c takes.")
def schema(world: bool) -> int:  # noqa: FBT001 -- click's
    """Print the JSON Schema of the configuration, for editors.

    \b
    idtoken-proxy schema > proxy.schema.json
    and as the first line of the file:   # yaml-language-server: $schema=proxy.schema.json
    """
    from idtoken_proxy.settings.schema import schema_text  # noqa: PLC0415

    if world:
        from idtoken_proxy.emulator.world_entries import world_schema  # noqa: PLC0415 -- aiohttp and google-auth

        say(schema_text(world_schema()))
        return 0
    say(schema_text())
    return 0


for command in (init, mcp, wait, probe, login, logout, emulate, demo, completion):
    commands.add_command(command)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run a command and exit."""
    try:
        code = commands.main(args=argv, prog_name="idtoken-proxy", standalone_mode=False)
    except click.ClickException as error:
        from idtoken_proxy.settings.plausible import unechoed  # noqa: PLC0415 -- for a mistake alone

        # Click repeats what it did not understand, which may be a secret typed in the wrong place.
        message = unechoed(error.format_message(), sys.argv[1:] if argv is None else argv)
        context = error.ctx if isinstance(error, click.UsageError) else None
        click.UsageError(printable_lines(message), context).show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except ConfigError as error:
        say(error.detail, err=True)
        sys.exit(2)
    except ProxyError as error:
        say(f"{error.title}: {error.detail}", err=True)
        if error.remedy is not None:
            say(f"  {error.remedy}", err=True)
        sys.exit(1)
    sys.exit(code or 0)
