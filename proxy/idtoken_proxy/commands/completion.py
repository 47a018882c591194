"""`completion`: what a shell is to source, so that it completes commands, options, files and the names of routes."""

from __future__ import annotations

import click

from idtoken_proxy.terminal import say


@click.command(short_help="Print what a shell completes the commands by.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print what makes a shell complete commands, options, files and the names of routes.

    \b
    eval "$(idtoken-proxy completion bash)"         in ~/.bashrc
    eval "$(idtoken-proxy completion zsh)"          in ~/.zshrc, after compinit
    idtoken-proxy completion fish | source          in ~/.config/fish/config.fish

    Or write it to where the shell looks by itself, such as ~/.local/share/bash-completion/completions/idtoken-proxy or
    ~/.config/fish/completions/idtoken-proxy.fish.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 -- not for every command

    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    made = found(root.command, {}, "idtoken-proxy", "_IDTOKEN_PROXY_COMPLETE")
    say(made.source())
    return 0
