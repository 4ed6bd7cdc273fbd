"""Whether code of a tool's module can run in its template, now or later, while the template does its own work."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import gc
import sys
from collections.abc import Callable

from elf_pysandbox_worker.ownfiles import OwnFile

_NUM_THREADS = 17  # of the fields after the name, proc_pid_stat(5)
_MONITORS = 6  # tools that `sys.monitoring` knows


def has_one_thread(stat: OwnFile) -> bool:
    """Whether this process has no second thread, not even one of which Python does not know."""
    return int(stat.read().rpartition(b")")[2].split()[_NUM_THREADS]) == 1


def is_watched() -> bool:
    """Whether a function of the tool's is called for each line or call."""
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return True
    return sys.version_info >= (3, 12) and any(map(sys.monitoring.get_tool, range(_MONITORS)))


def may_be_interrupted(own: Callable[..., object]) -> bool:
    """Whether a signal, or the garbage collector, calls a function other than this one."""
    handlers = map(signal.getsignal, signal.valid_signals())
    return bool(gc.callbacks) or any(callable(handler) and handler is not own for handler in handlers)
