"""`mcp`: a local MCP server that stands for a private one."""

from __future__ import annotations

import os

import click

CLIENTS = ("claude", "claude-desktop", "cursor", "vscode", "gemini")


@click.command(short_help="A local MCP server (stdio) for a private one on Cloud Run.")
@click.argument("url")
@click.option(
    "--audience", metavar="AUD", help="Where it is not the server's URL, such as behind a custom domain."
)
@click.option(
    "--identity",
    metavar="IDENTITY",
    help="As the key identity: takes it: metadata, gcloud, {type: file, path: ...}; or a service account's email, to act as "
    "it by impersonation. Default auto.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="On standard error.",
)
@click.option("--tools", is_flag=True, help="List the server's tools, and end: to see that it works.")
@click.option(
    "--print-config",
    "client",
    type=click.Choice(CLIENTS),
    help="Print what to paste into that client's configuration, and end.",
)
@click.option(
    "--name", metavar="NAME", help="With --print-config: the server's name there. Default its service's."
)
def mcp(
    url: str,
    audience: str | None,
    identity: str | None,
    log_level: str,
    tools: bool,  # noqa: FBT001 -- click's
    client: str | None,
    name: str | None,
) -> int:
    """Stand for a private MCP server on this client's standard input and output.

    \b
    idtoken-proxy mcp --tools https://MCP-HASH-REGION.a.run.app/mcp
    idtoken-proxy mcp --print-config cursor https://MCP-HASH-REGION.a.run.app/mcp
    claude mcp add private -- idtoken-proxy mcp https://MCP-HASH-REGION.a.run.app/mcp

    URL is the server's endpoint, by Streamable HTTP or, of older ones, HTTP with SSE. Each request carries a token; a session
    that a redeployed server has forgotten is begun anew. What goes wrong is the answer to the request that it hits, with what
    mends it. It ends with its client.
    """
    from idtoken_proxy import logs  # noqa: PLC0415 -- not for every command
    from idtoken_proxy.mcp.listener import Target  # noqa: PLC0415 -- aiohttp
    from idtoken_proxy.settings.model import LogSettings  # noqa: PLC0415

    if name is not None and client is None:
        raise click.UsageError("--name goes with --print-config")
    if tools and client is not None:
        raise click.UsageError("--tools and --print-config are two commands; leave out one")
    target = Target.of(url, audience, _identity(identity), os.environ)
    if client is not None:
        from idtoken_proxy.mcp import client_config  # noqa: PLC0415

        return client_config.show(client, url, audience, identity, name, os.environ)
    logs.configure(LogSettings(level=log_level))  # type: ignore[arg-type]  # click has looked
    if tools:
        from idtoken_proxy.mcp import tool_list  # noqa: PLC0415

        return tool_list.run(target, os.environ)
    from idtoken_proxy.mcp import command  # noqa: PLC0415

    return command.run(target, os.environ)


def _identity(said: str | None) -> object:
    """An email, a word, or a mapping in one line."""
    from idtoken_proxy.settings.yaml_lines import YamlError, read_yaml  # noqa: PLC0415

    if said is None:
        return None
    if not said.lstrip().startswith("{"):
        return {"type": "impersonated", "service_account": said} if "@" in said else said
    try:
        return read_yaml(said, lambda value: value).tree
    except YamlError as error:
        raise click.UsageError(f"--identity {error.message}") from None
