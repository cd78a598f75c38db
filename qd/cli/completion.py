"""`qd completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import click

from qd.cli.frame import Command


@click.command(
    "completion",
    cls=Command,
    short_help="Print the completion script of a shell.",
    examples=(
        "qd completion bash > ~/.local/share/bash-completion/completions/qd",
        "qd completion zsh > ~/.zfunc/_qd",
        "qd completion fish > ~/.config/fish/completions/qd.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """
    Print the completion script of a shell.

    Put it where the shell looks for completions, as below, and start a new shell.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"No completion for {shell}.", ctx)
    click.echo(kind(ctx.find_root().command, {}, "qd", "_QD_COMPLETE").source())
