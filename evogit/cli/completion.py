"""`evogit completion`: the lines that teach a shell to complete evogit's commands, options, runs and campaigns."""

from __future__ import annotations

import click

from evogit.cli.command import Command

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_EVOGIT_COMPLETE"  # click looks for it when `evogit` starts


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options, runs and campaigns.

    \b
    bash:  eval "$(evogit completion bash)"        in ~/.bashrc
    zsh:   eval "$(evogit completion zsh)"         in ~/.zshrc
    fish:  evogit completion fish | source         in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no shell {shell}")
    made = kind(ctx.find_root().command, {}, "evogit", VARIABLE)
    click.echo(made.source_template % made.source_vars())  # `source()` asks bash for its version first, which may not be here
