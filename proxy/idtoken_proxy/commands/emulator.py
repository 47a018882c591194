"""`emulate` and `demo`: the local Google, alone or with the proxy before it."""

from __future__ import annotations

import click

from idtoken_proxy.breakable import Breakable, break_option


@click.command(cls=Breakable, short_help="Run the local Google: tokens, keys and receivers.")
@click.option(
    "-c", "--config", "file", metavar="FILE", help="The world: services, accounts, who may invoke what."
)
@click.option(
    "--host",
    help="Where it listens; a loopback address, unless --allow-remote. Default 127.0.0.1, or ::1 on a machine without.",
)
@click.option("--allow-remote", is_flag=True, help="Let other machines at its keys and tokens.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="Of the issuers; the services follow from 11 above it on. 0: free ones.",
)
@click.option(
    "--service",
    "backends",
    metavar="NAME=URL",
    multiple=True,
    help="Your own app, such as http://localhost:3000, behind that service. May be repeated.",
)
@break_option
def emulate(
    file: str | None,
    host: str | None,
    allow_remote: bool,  # noqa: FBT001 -- click's
    port: int,
    backends: tuple[str, ...],
    break_kind: str | None,
) -> int:
    """Run the local Google: token issuers, public keys, and private receivers that check tokens.

    \b
    idtoken-proxy emulate
    idtoken-proxy emulate -c world.yaml
    idtoken-proxy emulate --service my-app=http://localhost:3000
    idtoken-proxy emulate --break outage

    Prints what to export, so that the proxy, or any of Google's libraries, finds it.
    """
    from idtoken_proxy.emulator.command import run_emulator  # noqa: PLC0415 -- aiohttp and google-auth
    from idtoken_proxy.settings.addresses import is_loopback  # noqa: PLC0415

    host = None if host is None else host.strip("[]")
    if host is not None and not allow_remote and not is_loopback(host):
        raise click.UsageError(
            f"--host {host} is no loopback address: any machine that reaches it gets tokens and keys; write"
            " --host 127.0.0.1, or add --allow-remote"
        )
    return run_emulator(file, host, port, break_kind, backends)


@click.command(cls=Breakable, short_help="Emulator, services and proxy, with lines to paste.")
@break_option
@click.option(
    "--receive", is_flag=True, help="Both ends of a call: a listener that checks the token, before an app."
)
def demo(break_kind: str | None, receive: bool) -> int:  # noqa: FBT001 -- click's
    """Emulator, three private services and the proxy in one process, with lines to paste into a second terminal.

    \b
    idtoken-proxy demo
    idtoken-proxy demo --break login-expired
    idtoken-proxy demo --receive
    """
    if receive:
        if break_kind is not None:
            raise click.UsageError("--receive and --break do not go together; leave one of them out")
        from idtoken_proxy import demo_receive  # noqa: PLC0415 -- as above

        return demo_receive.run()
    from idtoken_proxy import demo as demonstration  # noqa: PLC0415 -- as above

    return demonstration.run(break_kind)
