"""Fills in what the site takes from elsewhere when it is built: the commands' own help, the measured figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

COMMANDS_MARK = "<!-- commands -->"
FIGURES_MARK = "<!-- benchmarks -->"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what belongs there in the place of each mark (mkdocs event)."""
    if COMMANDS_MARK in markdown:
        markdown = markdown.replace(COMMANDS_MARK, reference())
    return markdown.replace(FIGURES_MARK, figures()) if FIGURES_MARK in markdown else markdown


def figures() -> str:
    """Return the newest full result of the benchmarks as a table."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))]
    whole = [result for result in results if not result.get("options", {}).get("quick")]
    if not whole:
        return "*No result of a full run lies in `benchmarks/results/`.*"
    newest = max(whole, key=lambda result: str(result.get("measured_at", "")))
    machine = newest.get("machine", {})
    where = f"{machine.get('cores')} cores of {machine.get('cpu')}, Linux {machine.get('kernel')}"
    lines = [
        f"{where}, Python {machine.get('python')}, {newest.get('measured_at')}.",
        "",
        "| what | this package | peer | ratio | peer is |",
        "|---|---|---|---|---|",
    ]
    for row in newest.get("rows", ()):
        ours, theirs = (f"{row[side]:,.3g} {row['unit']}" for side in ("ours", "theirs"))
        lines.append(f"| {row['title']} | {ours} | {theirs} | {row['ratio']:.2f} | {row['peer']} |")
    return "\n".join(lines)


def reference() -> str:
    """Return the help of every command as Markdown."""
    from elf_pysandbox._cli import COMMANDS, main

    context = click.Context(main, info_name="pysandbox")
    parts = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        if command is not None:
            parts += list(_command(command, click.Context(command, info_name=name, parent=context), level=2))
    return "\n\n".join(parts)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{context.command_path}`"
    yield f"```text\n{command.get_help(context)}\n```"
    for name, inner in getattr(command, "commands", {}).items():
        yield from _command(inner, click.Context(inner, info_name=name, parent=context), level + 1)
