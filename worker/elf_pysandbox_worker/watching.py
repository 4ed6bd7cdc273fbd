"""Arguments that a tool changed in place: such a change is lost with the worker, so it is told.

The host asks for it with the option ``watch`` of a call, where arguments come from a state that people may expect
to change. What is told is a line on standard error; nothing depends on it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from elf_pysandbox_worker.wire import values
from elf_pysandbox_worker.wire.messages import Call

MARK = "elf_pysandbox: changed in place, and lost: "
"""Begins the line that names the arguments."""

_MOST = 1 << 20  # bytes of arguments; comparing more would cost more than it tells


def tell_changes(given: dict[str, Any], call: Call, buffers: Sequence[bytes | bytearray]) -> None:
    """Name the keyword arguments that are not what they were when the call came."""
    if len(memoryview(call.arguments)) > _MOST:
        return
    _, before = values.unpack(call.arguments, buffers, caps=values.TRUSTED_CAPS)
    changed = [name for name, value in given.items() if _differs(before.get(name), value)]
    if changed:
        print(MARK + ", ".join(changed), file=sys.stderr)


def _differs(one: Any, two: Any) -> bool:
    try:
        return bool(one != two)
    except Exception:  # a table's comparison has no truth value
        return False
