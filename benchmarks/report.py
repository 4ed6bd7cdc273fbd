"""Rows for people (a table, ratios first) and for programs (JSON)."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.result import Row

_PEERS = ("pebble", "loky", "pydantic-monty", "numpy", "pandas", "msgspec", "elf-pysandbox")
_BUSY = 0.10  # of the machine used by others: from here on tails and rates are theirs as well


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print the table, then what else ran in the same rounds."""
    console.print(_table(rows))
    for row in rows:
        if row.beside:
            console.print(_beside(row))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="each figure beside its peer, measured in turns", title_justify="left")
    for name, justify in (
        ("row", "left"), ("ratio", "right"), ("target", "right"), ("reached", "left"), ("ours", "right"),
        ("peer", "right"), ("what the peer is", "left"), ("others", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        mark = Text("yes", "green") if row.reached else Text("NO", "bold red")
        sign = "≤" if row.sense == "at most" else "≥"
        note = f"{row.peer}\n{row.note}" if row.note else row.peer
        others = Text(f"{row.foreign:.0%}", "yellow" if row.foreign > _BUSY else "")
        table.add_row(
            row.title, f"{row.ratio:.2f} x", f"{sign} {row.target:g} x", mark, _figure(row.ours, row.unit),
            _figure(row.theirs, row.unit), note, others,
        )  # fmt: skip
    if any(row.foreign > _BUSY for row in rows):
        table.caption = (
            "others: share of the machine that other programs used meanwhile; tails and rates suffer from it"
        )
    return table


def _figure(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}" if unit != "/s" else f"{value:,.0f}/s"


def _beside(row: Row) -> Table:
    table = Table(title=row.title, title_justify="left", box=None, pad_edge=False)
    measures = list(dict.fromkeys(key for found in row.beside.values() for key in found))
    table.add_column("")
    for measure in measures:
        table.add_column(measure, justify="right")
    for name, found in row.beside.items():
        cells = [
            f"{found[key]:,.{0 if found[key] >= 100 else 2}f}" if key in found else "" for key in measures
        ]
        table.add_row(name, *cells)
    return table


def document(rows: Sequence[Row], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything measured, and on what, as plain values."""
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_average": os.getloadavg(),
            "user": "root" if os.geteuid() == 0 else "ordinary",
        },
        "versions": {name: found for name in _PEERS if (found := _version(name))},
        "options": dict(options),
        "rows": [row.to_json() for row in rows],
    }


def save(found: Mapping[str, Any], path: Path) -> None:
    """Write the document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
