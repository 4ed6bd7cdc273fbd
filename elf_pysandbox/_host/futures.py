"""The future that stands for a submitted call.

A file of its own: what it derives from brings `logging` along, which the first call of most programs need not wait for.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

from elf_pysandbox._host.flight import Flight


class CallFuture(concurrent.futures.Future[Any]):
    """A future whose cancellation is real: a call that runs is ended with its process."""

    _flight: Flight | None = None

    def cancel(self) -> bool:
        """End the call; True unless it was done already."""
        # The future first: whoever ends the flight then finds it cancelled and tells its waiters so.
        if not super().cancel():
            return False
        flight = self._flight
        if flight is not None:
            flight.cancel()
            flight.notify()
        return True

    def result(self, timeout: float | None = None) -> Any:
        """As `concurrent.futures.Future.result`; another future's callback may wait here, too."""
        self._before_waiting()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As `concurrent.futures.Future.exception`; another future's callback may wait here, too."""
        self._before_waiting()
        return super().exception(timeout)

    def _before_waiting(self) -> None:
        flight = self._flight
        if flight is not None and not self.done():
            if flight.engine.forgotten:
                raise concurrent.futures.BrokenExecutor(flight.engine.why_closed)
            flight.engine.supervisor.hand_over()

    def running(self) -> bool:
        """Whether the call has been sent to a worker and has not ended."""
        flight = self._flight
        return flight is not None and not self.done() and flight.is_running
