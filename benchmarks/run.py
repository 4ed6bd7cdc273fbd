"""Measure every figure beside its peer, in one run: ``python benchmarks/run.py`` or ``nox -s bench``.

Each group of rows runs in a process of its own, so that what one imports or leaves behind is not measured in the
next. Exit status 1 when a row is not reached or a group failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a program's own folder is on its path, the project's is not

from benchmarks import report, rows  # noqa: E402
from benchmarks.harness import Effort  # noqa: E402
from benchmarks.meters import cpu_meter  # noqa: E402
from benchmarks.result import Row  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(list(rows.GROUPS)), help="Measure these groups only."
)
@click.option("--quick", is_flag=True, help="Fewer rounds: to see that it works, not to quote.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON document instead of the table.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder for JSON and plot.")
@click.option("--measure", "group", hidden=True, help="Measure one group in this process.")
@click.option("--to", type=click.Path(path_type=Path), hidden=True)
def main(
    only: tuple[str, ...], quick: bool, as_json: bool, out: Path, group: str | None, to: Path | None
) -> None:
    """Measure elf_pysandbox beside other pools and the kernel's own prices."""
    if group is not None and to is not None:
        measure(group, quick, to)
        return
    console = Console(stderr=as_json)
    console.width = max(console.width, 160)  # a log has no width of its own, and the table needs it
    found, failed = collect(console, only or tuple(rows.GROUPS), quick)
    document = report.document(found, {"quick": quick, "only": list(only)})
    # A part of the table never replaces a whole one.
    path = out / ("quick" if quick or only or failed else "bench")
    report.save(document, path.with_suffix(".json"))
    if found:
        from benchmarks import plot

        plot.draw(found, path)
    if as_json:
        click.echo(json.dumps(document, indent=1))
    else:
        report.show(console, found)
        console.print(f"written: {os.path.relpath(path)}.json, .png, .svg", highlight=False)
    for name in failed:
        console.print(f"[bold red]group {name!r} failed[/]: see above")
    sys.exit(bool(failed) or not all(row.reached for row in found))


def collect(console: Console, groups: tuple[str, ...], quick: bool) -> tuple[list[Row], list[str]]:
    """Measure groups one after the other; returns their rows, and the names of those that failed."""
    found: list[Row] = []
    failed: list[str] = []
    for name in groups:
        with console.status(f"measuring: {rows.GROUPS[name]}"), tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.json")
            command = [sys.executable, __file__, "--measure", name, "--to", str(path)]
            ended = subprocess.run([*command, *(["--quick"] if quick else [])], check=False)
            if ended.returncode or not path.exists():
                failed.append(name)
                continue
            data: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        found += [Row.from_json(item) for item in data]
    return found, failed


def measure(group: str, quick: bool, to: Path) -> None:
    """Measure one group in this process."""
    with cpu_meter() as meter:
        found = rows.measure(group, Effort(quick, meter))
    to.write_text(json.dumps([row.to_json() for row in found]), encoding="utf-8")


if __name__ == "__main__":
    main()
