"""Waiting for a flight in the caller's own thread: no other thread is on the path of a warm call."""

from __future__ import annotations

import _thread
import select
import time
from collections.abc import Callable

from elf_pysandbox._host.endings import Ending
from elf_pysandbox._host.engine import Engine
from elf_pysandbox._host.flight import SETTLED, Flight

_LONGEST_WAIT_S = 0.5
"""Of one poll(2). Another thread (a canceller, one that closes the pool) may end the flight and close its channel right
before this one polls it; the number may be another file's by then, of which nothing is ever heard here."""


class BlockingWait:
    """Waits for one flight, a step at a time.

    Parameters
    ----------
    engine : Engine
    """

    __slots__ = ("_engine", "_fds", "_poller", "_wake", "ending", "flight")

    def __init__(self, engine: Engine, make: Callable[[Callable[[], None]], Flight]) -> None:
        self._engine = engine
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._poller: select.poll | None = None
        self._fds = (-1, -1)
        self.flight = make(self._notify)
        self.ending: Ending | None = None

    def _notify(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:
            pass  # woken already, and not yet awake

    def begin(self) -> None:
        """Set the flight going."""
        self._engine.supervisor.hand_over()
        self.ending = self._engine.begin(self.flight)

    def step(self) -> None:
        """Wait for the next thing that happens to the flight, and take it in."""
        flight = self.flight
        if flight.phase == SETTLED:  # by another thread
            self.ending = flight.advance()
            return
        wait = min(flight.deadline - time.monotonic(), _LONGEST_WAIT_S)
        descriptor = flight.descriptor
        if descriptor < 0:
            self._wake.acquire(timeout=max(wait, 0.0))
        elif self._poll(descriptor, wait):
            flight.process_gone()
        self.ending = flight.advance()

    def _poll(self, descriptor: int, wait: float) -> bool:
        """Wait; return whether the process is gone while its channel says nothing."""
        channel = self.flight.channel
        pidfd = channel.pidfd if channel is not None else -1
        poller = self._poller
        if poller is None or self._fds != (descriptor, pidfd):
            poller = self._poller = select.poll()
            self._fds = (descriptor, pidfd)
            if pidfd >= 0:
                poller.register(pidfd, select.POLLIN)
        events = select.POLLIN | select.POLLOUT if self.flight.wants_write else select.POLLIN
        poller.register(descriptor, events)
        ready = poller.poll(max(wait, 0.0) * 1000 + 1)
        return len(ready) == 1 and ready[0][0] == pidfd

    def run(self) -> Ending:
        """Wait to the end."""
        try:
            self.begin()
            while self.ending is None:
                self.step()
        except BaseException:
            # KeyboardInterrupt and the like: whoever waited is gone, so the call ends too.
            self.flight.cancel()
            raise
        return self.ending
