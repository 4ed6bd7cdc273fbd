"""The wall clock of calls whose drivers have other things to do: an event loop, the reader of a stream.

These take in what a call says, and so notice that its time is over, when they come to it. Its process must not run on
until then: it is killed here, and told as what it is by the driver, after all that it has said before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from elf_pysandbox._host.alarm import Alarm
from elf_pysandbox._host.flight import SETTLED, Flight

if TYPE_CHECKING:
    from elf_pysandbox._host.supervisor import Supervisor


class Watchdog:
    """Kills the processes of calls over their time."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._alarm = Alarm(supervisor, self._scan)
        self._flights: set[Flight] = set()

    @contextmanager
    def over(self, flight: Flight) -> Iterator[None]:
        """Watch over a call that is about to begin, for as long as this lasts."""
        try:
            self._flights.add(flight)
            self._alarm.note(flight.ends_not_before())
            yield
        finally:
            self._flights.discard(flight)

    def _scan(self, now: float) -> float:
        nearest = float("inf")
        for flight in list(self._flights):  # a copy: other threads add to it meanwhile
            if flight.phase == SETTLED:
                self._flights.discard(flight)
            elif flight.ends_not_before() <= now and flight.kill_overdue():
                self._flights.discard(flight)
                flight.notify()  # an event loop that was closed meanwhile is found out by this
            else:
                nearest = min(nearest, flight.ends_not_before())
        return nearest
