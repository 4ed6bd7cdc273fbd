"""The pool that nodes share when their maker gave them none."""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool

_lock = threading.Lock()
_shared: SandboxPool | None = None


def shared_pool() -> SandboxPool:
    """Return this process's shared pool; it is made at the first call and ends with the process."""
    global _shared
    with _lock:
        if _shared is None or _shared.closed:
            from elf_pysandbox._pool import SandboxPool

            _shared = SandboxPool()
            atexit.register(_shared.shutdown)
        return _shared
