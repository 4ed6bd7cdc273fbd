"""Waiting for a flight in the caller's own event loop: no thread of ours is on the path of a warm call."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable

from elf_pysandbox._host.abandon import leave
from elf_pysandbox._host.endings import Ending
from elf_pysandbox._host.engine import Engine
from elf_pysandbox._host.flight import Flight


class AsyncWait:
    """Waits for one flight, a step at a time, as a coroutine.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine, make: Callable[[Callable[[], None]], Flight]) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] | None = None
        self._early = False
        self.ending: Ending | None = None
        # Weakly: a coroutine that nobody runs any more, its loop closed, takes this along, and with it the call.
        this = weakref.ref(self)
        self.flight = make(lambda: _notify(this))

    def __del__(self) -> None:
        if self.ending is None:
            leave(self.flight)

    def _wake(self) -> None:
        if self._woken is None:
            self._early = True
        elif not self._woken.done():
            self._woken.set_result(None)

    def wake_soon(self) -> None:
        """Have the flight advanced in its loop."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # The loop is closed: nobody waits any more, and a place among the calls in flight must not stay taken.
            # Not here: whoever notifies may hold locks.
            flight = self.flight
            self._engine.supervisor.run_soon(lambda: flight.cancel("the event loop that waited was closed"))

    def begin(self) -> None:
        """Set the flight going."""
        self.ending = self._engine.begin(self.flight)

    async def step(self) -> None:
        """Wait for the next thing that happens to the flight, and take it in."""
        flight, loop = self.flight, self._loop
        descriptor = flight.descriptor
        if not self._early:
            self._woken = loop.create_future()
            timer = None
            if flight.deadline != float("inf"):
                timer = loop.call_later(max(flight.deadline - time.monotonic(), 0.0) + 0.001, self._wake)
            if descriptor >= 0:
                loop.add_reader(descriptor, self._wake)
                if flight.wants_write:
                    loop.add_writer(descriptor, self._wake)
            try:
                await self._woken
            finally:
                self._woken = None
                if timer is not None:
                    timer.cancel()
                if descriptor >= 0:
                    loop.remove_reader(descriptor)
                    loop.remove_writer(descriptor)
        self._early = False
        self.ending = flight.advance()

    async def run(self) -> Ending:
        """Wait to the end."""
        try:
            self.begin()
            while self.ending is None:
                await self.step()
        except BaseException:
            self.flight.cancel()
            raise
        return self.ending


def _notify(this: weakref.ref[AsyncWait]) -> None:
    wait = this()
    if wait is not None:
        wait.wake_soon()
