"""`pysandbox profile`: where a tool's time and memory go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from elf_pysandbox import SandboxError, SandboxPool
from elf_pysandbox._cli.exits import calling
from elf_pysandbox._cli.options import arguments_from, call_options, limits_from, policy_from, writing
from elf_pysandbox._cli.printing import refuse
from elf_pysandbox._cli.targets import Target, working_folder_for


@click.command()
@click.argument("target", type=Target())
@call_options
@click.option(
    "--repeat", type=click.IntRange(min=1), default=20, show_default=True, help="Calls to read the clocks of."
)
@click.option(
    "--html", "page", type=click.Path(dir_okay=False), help="Write the flame graph as one HTML file."
)
@click.option("--speedscope", type=click.Path(dir_okay=False), help="Write a file for speedscope.app.")
@click.option("--rows", type=click.IntRange(min=1), default=12, show_default=True, help="Rows of each table.")
def profile(
    target: str,
    arguments: str | None,
    pairs: tuple[str, ...],
    repeat: int,
    page: str | None,
    speedscope: str | None,
    rows: int,
    **options: Any,
) -> None:
    """Measure a tool: wall and CPU time, memory, its hottest functions and lines, and the overhead of a call.

    Every figure comes from fresh processes under the same confinement as a real call. Functions under 3 ms
    are traced line by line instead of sampled; their shares are right, their times larger than without.

    \b
    Examples:
      pysandbox profile examples/text_tools.py:word_count --args '{"text": "to be or not to be"}'
      pysandbox profile tools.py:total --arg n=100000 --repeat 200 --html flame.html
      pysandbox profile tools.py:total --speedscope total.speedscope.json
    """
    from elf_pysandbox._profile import measure, text

    args, kwargs = arguments_from(arguments, pairs)
    limits = limits_from(options["timeout"], options["cpu"], options["memory"])
    grants = (options[name] for name in ("profile", "imports", "read", "write", "scratch", "env"))
    with SandboxPool(1, policy=policy_from(*grants), limits=limits) as pool:
        try:
            tool = pool.load(target, python_path=working_folder_for(target))
            calling()
            measured = measure.profile(pool, tool, args, kwargs, repeat=repeat)
        except SandboxError as error:
            refuse(error)
    click.echo(text.render(measured, rows=rows))
    _write(measured, page, speedscope)


def _write(measured: Any, page: str | None, speedscope: str | None) -> None:
    from elf_pysandbox._profile.page import render_page
    from elf_pysandbox._profile.speedscope import document

    if page:
        with writing(page):
            Path(page).write_text(render_page(measured), encoding="utf-8")
        click.echo(f"\nflame graph: {page}")
    if speedscope:
        with writing(speedscope):
            Path(speedscope).write_text(json.dumps(document(measured)), encoding="utf-8")
        click.echo(f"speedscope file: {speedscope} (open it at https://www.speedscope.app)")
