"""`pysandbox completion`: the script that completes commands, options and targets in a shell."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print the completion script of SHELL; by default, of the shell that $SHELL names.

    \b
    Examples:
      pysandbox completion bash >> ~/.bashrc
      pysandbox completion zsh >> ~/.zshrc
      pysandbox completion fish > ~/.config/fish/completions/pysandbox.fish
    """
    chosen = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(chosen) if chosen in SHELLS else None
    if kind is None:
        raise click.UsageError(f"name the shell: {', '.join(SHELLS)} ($SHELL says {chosen or 'nothing'!r})")
    from elf_pysandbox._cli import main

    click.echo(kind(main, {}, "pysandbox", "_PYSANDBOX_COMPLETE").source())
