"""One timer for many deadlines."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

from elf_pysandbox._host.supervisor import Supervisor

_GAP_S = 0.001


class Alarm:
    """Has a scan made when the nearest of many deadlines is due, by the supervisor.

    Parameters
    ----------
    supervisor : Supervisor
    scan : callable
        Given the monotonic time, does what is due and returns the nearest deadline that is left, or infinity.
    """

    def __init__(self, supervisor: Supervisor, scan: Callable[[float], float]) -> None:
        self._supervisor, self._scan = supervisor, scan
        # A signal handler, or garbage that is collected, may make a call in the middle of this.
        self._lock = threading.RLock()
        self._next = float("inf")
        # Of timers that the supervisor has: a far deadline is noted again and again.
        self._times: set[float] = set()

    def note(self, deadline: float) -> None:
        """Make sure that there is a scan at this time or earlier, of what the scan finds by now."""
        if deadline >= self._next:
            return  # Should that one be due just now, it scans after this.
        with self._lock:
            if deadline < self._next:
                self._next = deadline
                if deadline not in self._times:
                    self._times.add(deadline)
                    self._supervisor.at(deadline, functools.partial(self._ring, deadline))

    def _ring(self, deadline: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._times.discard(deadline)
            if now < self._next:
                return  # an older timer, overtaken by a nearer one
            self._next = float("inf")
        nearest = self._scan(now)
        if nearest != float("inf"):
            self.note(max(nearest, now + _GAP_S))
