"""The calls of a test run: kept with each test, shown at its end, written as JSON (``--sandbox-report``)."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import ToolRaised
from elf_pysandbox._pytest.view import SandboxView

PROPERTY = "sandbox_calls"


def rows_of(view: SandboxView) -> list[dict[str, Any]]:
    """Return the calls made through a view, as plain data that crosses between processes."""
    return [
        {
            "target": target,
            "status": outcome.status,
            "wall_s": round(outcome.usage.wall_s, 6),
            "cpu_s": round(outcome.usage.cpu_s, 6),
            "peak_memory_mb": round(outcome.usage.peak_memory_mb, 3),
            "layers_missing": [layer.name for layer in outcome.layers if not layer.held],
        }
        for target, outcome in view.outcomes
    ]


def section_of(view: SandboxView) -> str:
    """Return the calls of a failed test as text."""
    lines = []
    for target, outcome in view.outcomes:
        if isinstance(outcome.error, ToolRaised) and outcome.error.info is not None:
            lines += [f"{target}: raised", textwrap.indent(outcome.error.info.format(), "  ")]
        else:
            lines.append(f"{target}: {outcome.status}" + (f": {outcome.error}" if outcome.error else ""))
        lines += [f"  | {line}" for line in (outcome.stdout + outcome.stderr).splitlines()[:50]]
    return "\n".join(lines)


class Collector:
    """Gathers the calls of all tests, in the process that reports (with xdist, the controller)."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.tests: dict[str, list[dict[str, Any]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the calls out of a report."""
        if report.when == "teardown":
            for name, rows in report.user_properties:
                if name == PROPERTY and isinstance(rows, list):
                    self.tests.setdefault(report.nodeid, []).extend(rows)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table, or write the file."""
        terminalreporter.section("sandbox calls")
        for line in self._table():
            terminalreporter.write_line(line)
        if self.destination != "-":
            Path(self.destination).write_text(json.dumps(self.tests, indent=1), encoding="utf-8")
            terminalreporter.write_line(f"written to {self.destination}")

    def _table(self) -> list[str]:
        lines = [f"{'calls':>6} {'longest':>10} {'memory':>10}  statuses"]
        for nodeid, rows in sorted(self.tests.items()):
            counts: dict[str, int] = {}
            for row in rows:
                counts[row["status"]] = counts.get(row["status"], 0) + 1
            longest = max((row["wall_s"] for row in rows), default=0.0)
            memory = max((row["peak_memory_mb"] for row in rows), default=0.0)
            statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
            lines.append(f"{len(rows):>6} {1000 * longest:>7.1f} ms {memory:>6.1f} MiB  {statuses}  {nodeid}")
        return lines
