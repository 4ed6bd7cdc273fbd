"""`pysandbox completion`: the script that completes commands, options and targets in a shell."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

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


class Target(click.ParamType):  # type: ignore[type-arg]
    """A tool: completes files, then the functions in one. Their text is searched, nothing is imported."""

    name = "target"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what can follow."""
        file, colon, prefix = incomplete.partition(":")
        if not colon:
            return [CompletionItem(incomplete, type="file")]
        try:
            text = Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        names = re.findall(r"^(?:async\s+)?def\s+([^\W_]\w*)", text, re.MULTILINE)
        return [CompletionItem(f"{file}:{name}") for name in names if name.startswith(prefix)]
