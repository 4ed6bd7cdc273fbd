"""What `ToolHandler` adds to a call of the pool."""

from __future__ import annotations

from benchmarks.harness import Effort
from benchmarks.result import Row


def measure(effort: Effort) -> list[Row]:
    """Return no rows as long as there is no `ToolHandler`."""
    import elf_pysandbox

    if not hasattr(elf_pysandbox, "ToolHandler"):
        return []
    raise NotImplementedError
