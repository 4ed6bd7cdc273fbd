"""Calls whose reader went away: a stream read half way, a loop that was closed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from elf_pysandbox._host.engine import engines

if TYPE_CHECKING:
    from elf_pysandbox._host.flight import Flight


def leave(flight: Flight) -> None:
    """End a call whose reader is gone; at once, unless garbage is collected in the middle of something here."""
    if sys.is_finalizing():
        return  # everything has been closed; a thread that was stopped for good may hold any lock
    held = any(engine.is_held() for engine in list(engines))
    if not held or not flight.engine.supervisor.run_if_running(flight.cancel):
        flight.cancel()
