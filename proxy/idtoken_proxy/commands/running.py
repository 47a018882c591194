"""`wait` and `probe`: what a running proxy is asked."""

from __future__ import annotations

import click

from idtoken_proxy.options import of_a_running_proxy, up_to
from idtoken_proxy.settings.model import Address
from idtoken_proxy.terminal import say


@click.command(short_help="Wait until a running proxy is ready.")
@of_a_running_proxy
@up_to("How long, such as 30s or 2m.")
def wait(admin: Address, limit: float) -> int:
    """Wait until a running proxy is ready: a valid token for every route.

    \b
    idtoken-proxy wait --max 60s && ./app
    idtoken-proxy wait --admin unix:/run/idtoken-proxy/admin.sock

    Exits with 0, or with 1 and what is missing.
    """
    from idtoken_proxy.admin import client  # noqa: PLC0415

    lacking = client.wait(admin, limit)
    if lacking:
        say(f"not ready within {limit:g} s", err=True)
    for line in lacking:
        say(line, err=True)
    return 1 if lacking else 0


@click.command(short_help="Ask a running proxy's admin listener once.")
@click.argument("what", type=click.Choice(["startup", "readiness", "liveness"]))
@of_a_running_proxy
def probe(admin: Address, what: str) -> int:
    """Ask a running proxy's admin listener once, where an image has neither a shell nor curl.

    \b
    idtoken-proxy probe readiness
    idtoken-proxy probe liveness --admin localhost:9090

    Exits with 0, or with 1 and what is wrong.
    """
    from idtoken_proxy.admin import client  # noqa: PLC0415

    wrong = client.probe(admin, what)
    if wrong is not None:
        say(wrong, err=True)
    return 0 if wrong is None else 1
