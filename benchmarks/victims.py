"""Choosing processes of a pool and killing them; telling whether they are gone.

A pid that was read a moment ago may be somebody else's by now: what is killed is held by a pidfd first and then
looked at once more.
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Iterable

from benchmarks.meters import descendants
from elf_pysandbox import SandboxPool

KINDS = ("worker", "template", "keeper")
WEIGHTS = (0.92, 0.05, 0.03)
_TRIES = 5  # whoever is chosen may be gone before the blow


class Striker:
    """Kills one process of a pool at a time, at random.

    Parameters
    ----------
    pool : SandboxPool
    dice : random.Random
    """

    def __init__(self, pool: SandboxPool, dice: random.Random) -> None:
        self._pool, self._dice = pool, dice
        self.seen: set[tuple[int, str]] = set()

    def strike(self) -> str | None:
        """Kill somebody; return which kind it was, None when those chosen were gone already."""
        (kind,) = self._dice.choices(KINDS, WEIGHTS)
        for _ in range(_TRIES):
            templates = [pid for pid in self._pool.process_ids() if parent_of(pid) not in (os.getpid(), None)]
            if templates and self._strike(kind, self._dice.choice(templates)):
                return kind
        return None

    def _strike(self, kind: str, template: int) -> bool:
        if kind == "template":
            return self._kill(template, None)
        if kind == "keeper":
            keeper = parent_of(template)
            return keeper is not None and keeper > 1 and self._kill(keeper, None)
        workers = children_of(template)
        return bool(workers) and self._kill(self._dice.choice(workers), template)

    def _kill(self, pid: int, parent: int | None) -> bool:
        birth = birth_of(pid)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            if birth is None or birth_of(pid) != birth or (parent is not None and parent_of(pid) != parent):
                return False
            self.seen.add((pid, birth))
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError:
            return False
        finally:
            os.close(pidfd)
        return True


def children_of(pid: int) -> list[int]:
    """Return the children of a process of one thread."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:
            return [int(word) for word in stream.read().split()]
    except OSError:
        return []


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on (proc(5)); None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()
    except OSError:
        return None


def parent_of(pid: int) -> int | None:
    """Return the parent's pid."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def birth_of(pid: int) -> str | None:
    """Return when a process started, in clock ticks since boot: with its pid, its name for all time."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else None


def processes_below(roots: Iterable[int]) -> set[tuple[int, str]]:
    """Return (pid, birth) of these processes and all below them."""
    return {(pid, birth) for pid in descendants(roots) if (birth := birth_of(pid)) is not None}


def still_alive(processes: Iterable[tuple[int, str]]) -> list[int]:
    """Return the pids of those that have not ended."""
    return sorted(pid for pid, birth in processes if birth_of(pid) == birth)


def wait_gone(processes: Iterable[tuple[int, str]], seconds: float) -> list[int]:
    """Wait for these processes to end; return the pids of those that have not."""
    left = {pid: birth for pid, birth in processes if birth_of(pid) == birth}
    end = time.monotonic() + seconds
    for pid, birth in left.items():
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if birth_of(pid) == birth:
                select.select([pidfd], [], [], max(0.0, end - time.monotonic()))
        finally:
            os.close(pidfd)
    return still_alive(left.items())
