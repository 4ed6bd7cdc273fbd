"""Driving submitted flights from the supervisor's thread."""

from __future__ import annotations

import select
from collections.abc import Callable

from elf_pysandbox._host.alarm import Alarm
from elf_pysandbox._host.endings import Ending
from elf_pysandbox._host.engine import Engine
from elf_pysandbox._host.flight import Flight
from elf_pysandbox._host.supervisor import Supervisor


class Deadlines:
    """The clocks of all flights of the supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._alarm = Alarm(supervisor, self._scan)
        self.note = self._alarm.note
        self.active: set[Submitted] = set()
        supervisor.at_stop = self._cancel_all

    def _scan(self, now: float) -> float:
        # Copies: other threads add to the set meanwhile. As jobs: whoever is told of an end may take his time.
        nearest = float("inf")
        for submitted in list(self.active):
            deadline = submitted.flight.deadline
            if deadline <= now:
                self._supervisor.run_soon(submitted.step)
            nearest = min(nearest, deadline)
        return nearest

    def _cancel_all(self) -> None:
        """End what is still under way when the supervisor stops: nobody would drive it any more."""
        for submitted in list(self.active):
            submitted.flight.cancel("the pool was closed during the call")
            submitted.step()


class Submitted:
    """One flight driven by the supervisor.

    Parameters
    ----------
    engine : Engine
    deadlines : Deadlines
    make : callable
        Makes the flight, given its `notify`.
    finish : callable
        Takes the ending, once, in the thread that found it.
    """

    __slots__ = ("_deadlines", "_descriptor", "_engine", "_finish", "_finished", "_writes", "flight")

    def __init__(
        self,
        engine: Engine,
        deadlines: Deadlines,
        make: Callable[[Callable[[], None]], Flight],
        finish: Callable[[Ending], None],
    ) -> None:
        self._engine, self._deadlines, self._finish = engine, deadlines, finish
        self._descriptor = -1
        self._writes = False
        self._finished = False
        self.flight = make(self._notify)
        self.flight.detach = self._detach

    def _detach(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._engine.supervisor.unregister(descriptor)

    def _notify(self) -> None:
        self._engine.supervisor.run_soon(self.step)

    def begin(self) -> None:
        """Set the flight going from the caller's thread; from then on the supervisor owns it."""
        supervisor = self._engine.supervisor
        supervisor.start()
        # The supervisor may be woken for it before this is through, hence the lock.
        with self.flight.lock:
            self._deadlines.active.add(self)
            ending = self._engine.begin(self.flight)
            finished = self._continue(ending)
        if finished is not None:
            self._finish(finished)

    def step(self) -> None:
        """Take in what happened (supervisor only)."""
        with self.flight.lock:
            finished = None if self._finished else self._continue(self.flight.advance())
        # Outside the lock: whoever waits for the future is told, and may do anything.
        if finished is not None:
            self._finish(finished)

    def _continue(self, ending: Ending | None) -> Ending | None:
        """Wait for the next event, or return the ending, once."""
        if ending is None:
            try:
                self._arm()
            except (OSError, ValueError) as error:
                self.flight.refuse("fault", f"the call cannot be waited for: {error}")
                ending = self.flight.advance()
        if ending is not None:
            self._finished = True
            self._deadlines.active.discard(self)
            self._detach()
        return ending

    def _arm(self) -> None:
        flight, supervisor = self.flight, self._engine.supervisor
        descriptor, writes = flight.descriptor, flight.wants_write
        if descriptor != self._descriptor:
            self._detach()
            self._descriptor = descriptor
            self._writes = False
            if descriptor >= 0:
                self._writes = writes
                supervisor.register(descriptor, self._events(), self.step)
        elif descriptor >= 0 and writes != self._writes:
            self._writes = writes
            supervisor.modify(descriptor, self._events())
        if flight.deadline != float("inf"):
            self._deadlines.note(flight.deadline)

    def _events(self) -> int:
        return select.EPOLLIN | select.EPOLLOUT if self._writes else select.EPOLLIN
