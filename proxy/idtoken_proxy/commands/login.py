"""`login` and `logout`: a person's own login, with an OAuth client of an organisation."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import click

from idtoken_proxy.errors import TokenError
from idtoken_proxy.options import Configuration, of_file
from idtoken_proxy.terminal import say


@contextlib.contextmanager
def _of_login(title: str = "No login") -> Iterator[None]:
    """What fails is no token's affair yet; and a directory that cannot be written has words of its own."""
    try:
        yield
    except TokenError as error:
        error.title = "No login" if error.cause == "login_missing" else title
        raise
    except OSError as error:
        raise click.ClickException(f"the login cannot be kept: {error.strerror}") from None


@click.command(short_help="Log in as yourself, with an OAuth client of your organisation.")
@of_file
@click.option("--route", metavar="NAME", help="The route whose login it is, where there are several.")
@click.option(
    "--no-browser", is_flag=True, help="For a browser on another machine: paste what it came back to."
)
def login(configuration: Configuration, route: str | None, no_browser: bool) -> int:  # noqa: FBT001 -- click's
    """Log in as yourself, for routes with identity: {type: oauth, client_file: client.json}.

    \b
    idtoken-proxy login -c proxy.yaml
    idtoken-proxy login --route intranet --no-browser

    What it gets stays on this machine: in the system's keyring, or in a file that you alone can read. A running proxy takes
    it up within a second.
    """
    from idtoken_proxy.login import Desk, identity_of  # noqa: PLC0415

    def show(url: str) -> None:
        say(f"Open this page, and log in:\n\n{url}\n", err=True)
        if no_browser:
            say(
                "Then the browser comes back to a page that it cannot open. Paste that page's address here:",
                err=True,
            )

    def browse(page: str) -> None:
        import webbrowser  # noqa: PLC0415

        webbrowser.open(page)

    try:
        identity = identity_of(configuration.settings, route)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _of_login():
        desk = Desk.of(identity, configuration.settings.google.token_endpoint, os.environ)
        say(desk.log_in(show, sys.stdin.readline if no_browser else None, browse))
    return 0


@click.command(short_help="Revoke and forget what login got.")
@of_file
@click.option("--route", metavar="NAME", help="The route whose login it is, where there are several.")
def logout(configuration: Configuration, route: str | None) -> int:
    """Revoke what login got, and remove it from this machine."""
    from idtoken_proxy.login import Desk, identity_of  # noqa: PLC0415

    try:
        identity = identity_of(configuration.settings, route)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _of_login("Not logged out"):
        say(Desk.of(identity, configuration.settings.google.token_endpoint, os.environ).log_out())
    return 0
