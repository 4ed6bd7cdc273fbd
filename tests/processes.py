"""The processes that a process started, directly or not: other people's pools on the machine do not count. And a pool's
supervisor."""

from __future__ import annotations

import os
import select
import threading
import time

from elf_pysandbox import SandboxPool


def children(parent: int) -> set[int]:
    """Return the pids of all living children of `parent`."""
    return set(_families().get(parent, []))


def descendants(*roots: int) -> set[int]:
    """Return the pids of all living descendants of `roots`."""
    families = _families()
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for pid in families.get(waiting.pop(), []):
            if pid not in found:
                found.add(pid)
                waiting.append(pid)
    return found


def _families() -> dict[int, list[int]]:
    """Return all living processes by their parents' pids."""
    families: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stream:
                fields = stream.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            families.setdefault(int(fields[1]), []).append(int(entry))
    return families


def survivors(pids: set[int], seconds: float = 10.0) -> set[int]:
    """Wait until these processes have ended; return those that have not by then."""
    end = time.monotonic() + seconds
    left = set()
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            if not poller.poll(max(0.0, end - time.monotonic()) * 1000):
                left.add(pid)
        finally:
            os.close(pidfd)
    return left


def wait_for_supervisor(pool: SandboxPool) -> None:
    """Return when the pool's supervisor has done what it was at."""
    done = threading.Event()
    pool._calls.engine.supervisor.run_soon(done.set)
    assert done.wait(30)
