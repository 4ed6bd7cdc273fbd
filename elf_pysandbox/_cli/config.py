"""`pysandbox config`: each setting with where it came from."""

from __future__ import annotations

import json
from typing import Any

import click

from elf_pysandbox._cli.options import settings_from


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def config(names: tuple[str, ...], as_json: bool) -> None:
    """Print every setting (or those named), its value and the place it came from.

    The strongest place wins: a call's own options, the command line, PYSANDBOX_* variables, [tool.pysandbox]
    of the nearest pyproject.toml, the defaults.

    \b
    Examples:
      pysandbox config
      pysandbox config memory_mb wall_s
      PYSANDBOX_MEMORY_MB=128 pysandbox config memory_mb --json
    """
    settings = settings_from()
    unknown = [name for name in names if name not in settings.values]
    if unknown:
        raise click.UsageError(f"no setting {unknown[0]!r}; there are {', '.join(settings.values)}")
    chosen = [settings.values[name] for name in names or settings.values]
    if as_json:
        table = {item.name: {"value": _plain(item.value), "origin": item.origin} for item in chosen}
        click.echo(json.dumps(table, indent=2))
        return
    rows = [(item.name, json.dumps(_plain(item.value)), item.origin) for item in chosen]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, value, origin in rows:
        click.echo(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else list(value) if isinstance(value, tuple) else value
