"""`pysandbox new`: a tool package to start from."""

from __future__ import annotations

from pathlib import Path

import click

from elf_pysandbox._cli.options import refuse_usage, writing


@click.command()
@click.argument("name")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Folder to write; ./NAME by default."
)
def new(name: str, into: Path | None) -> None:
    """Write a tool package NAME: a tool, a test that passes, limits, rows to map over and a workflow.

    \b
    Examples:
      pysandbox new my_tools
      pysandbox new my_tools --into projects/my-tools
    """
    from elf_pysandbox._new.scaffold import scaffold

    folder = into or Path(name)
    with refuse_usage(), writing(folder):
        written = scaffold(name, folder)
    for path in written:
        click.echo(f"  {path}")
    click.echo(
        f"\nNext:\n  cd {folder}\n  python -m pytest\n  pysandbox run {_target(name)} --args '[\"to be or not to be\"]'"
    )


def _target(name: str) -> str:
    return f"{name.replace('-', '_')}/text.py:keywords"
