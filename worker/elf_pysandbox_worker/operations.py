"""What a worker can do with a tool besides calling it, by the name of the operation.

Each operation is a function `run(tool, target, call, buffers) -> value` in a module of its own, imported by
the one worker that needs it. The value goes to the host as the result of a call does: it is data of the
confined side, and the host trusts it no more than a tool's.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from typing import Any

from elf_pysandbox_worker.errors import ToolMissing
from elf_pysandbox_worker.loading import LoadedTool, Target
from elf_pysandbox_worker.wire.messages import Call

OPERATIONS = {
    "describe": "elf_pysandbox_worker.describe",
    "profile": "elf_pysandbox_worker.profiling",
    "learn": "elf_pysandbox_worker.restricted.learning",
}
"""Operation -> the module whose `run` does it."""


started = 0.0
"""When this worker's operation began (`time.perf_counter`), before its module was imported."""


def run(
    op: str, tool: LoadedTool, target: Target, call: Call, buffers: Sequence[bytes | bytearray] = ()
) -> Any:
    """Do one operation and return its value.

    Raises
    ------
    ToolMissing
        There is no such operation.
    """
    module = OPERATIONS.get(op)
    if module is None:
        raise ToolMissing(f"no operation {op!r}; there are {', '.join(OPERATIONS)}")
    global started
    started = time.perf_counter()
    return importlib.import_module(module).run(tool, target, call, buffers)
