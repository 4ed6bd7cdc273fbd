"""The lines of the table, in groups that are measured together, each group in a process of its own."""

from __future__ import annotations

import importlib
from typing import Protocol

from benchmarks.harness import Effort
from benchmarks.result import Row

GROUPS = {
    "paced": "no-op calls, one every 20 ms",
    "throughput": "no-op calls as fast as they go",
    "crowd": "1,000 calls in flight",
    "tools": "tools that import pandas, and new ones",
    "cold": "from import to the first result",
    "large": "10 MB there and back",
    "handler": "ToolHandler on top of the pool",
}
"""Name -> what it measures; each is a module here with `measure(effort) -> list[Row]`."""


class Group(Protocol):
    """What each module here offers."""

    def measure(self, effort: Effort) -> list[Row]: ...


def measure(name: str, effort: Effort) -> list[Row]:
    """Measure one group."""
    group: Group = importlib.import_module(f"benchmarks.rows.{name}")
    return group.measure(effort)
