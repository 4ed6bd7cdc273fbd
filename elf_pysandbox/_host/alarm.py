"""One timer for many deadlines."""

from __future__ import annotations

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
        self._lock = threading.Lock()
        self._next = float("inf")

    def note(self, deadline: float) -> None:
        """Make sure that there is a scan at this time or earlier."""
        with self._lock:
            if deadline < self._next:
                self._next = deadline
                self._supervisor.at(deadline, self._ring)

    def _ring(self) -> None:
        now = time.monotonic()
        with self._lock:
            if now < self._next:
                return  # an older timer, overtaken by a nearer one
            self._next = float("inf")
        nearest = self._scan(now)
        if nearest != float("inf"):
            self.note(max(nearest, now + _GAP_S))
