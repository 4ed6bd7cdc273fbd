"""`pysandbox doctor`: what this host can hold, proven layer by layer."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def doctor(as_json: bool) -> None:
    """Show each confinement layer: available, held, and proven by trying what it forbids.

    \b
    Examples:
      pysandbox doctor
      pysandbox doctor --json

    \b
    Exit codes: 0 every layer that the default policy requires holds, 1 one does not.
    """
    from elf_pysandbox._doctor import diagnose, render

    diagnosis = diagnose()
    if as_json:
        click.echo(json.dumps([asdict(layer) for layer in diagnosis], indent=2))
    else:
        click.echo(render(diagnosis))
    sys.exit(0 if all(layer.held or layer.mode != "require" for layer in diagnosis) else 1)
