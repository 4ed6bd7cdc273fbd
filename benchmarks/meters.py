"""What the kernel counts: CPU seconds of all that this program started, of everybody, and memory by process.

Wall time on a shared machine says as much about the neighbours as about the program. CPU seconds do not, and a
cgroup counts them to the nanosecond for every process of a contestant, however deep it was forked. Without one
(`cpuacct`, cgroups version 1, writable), they come from the whole machine's count, neighbours included.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_ROOT = "/sys/fs/cgroup/cpuacct"
_REMOVALS, _REMOVAL_PAUSE_S = 100, 0.05
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)  # idle and iowait of the first line of /proc/stat, proc(5)


class CpuMeter:
    """Counts the CPU seconds of this process and all its descendants."""

    def __init__(self, group: str | None) -> None:
        self._group = group
        self.how = "cgroup" if group else "the whole machine's, neighbours included"

    def read(self) -> float:
        """Return CPU seconds used so far."""
        if self._group is None:
            return machine_seconds()
        with open(f"{self._group}/cpuacct.usage", encoding="ascii") as stream:
            return int(stream.read()) / 1e9


@contextmanager
def cpu_meter() -> Iterator[CpuMeter]:
    """Move this process into a cgroup of its own for as long as it measures."""
    parent, group = _own_group(), None
    try:
        if parent is not None:
            group = f"{parent}/pysandbox-bench-{os.getpid()}"
            os.mkdir(group)
            _join(group)
    except OSError:
        group = None
    try:
        yield CpuMeter(group)
    finally:
        if group is not None and parent is not None:
            _join(parent)
            _remove(group)


def _remove(group: str) -> None:
    for _ in range(_REMOVALS):
        try:
            os.rmdir(group)
            return
        except OSError:
            time.sleep(_REMOVAL_PAUSE_S)  # a process of a peer is still ending


def _own_group() -> str | None:
    try:
        with open("/proc/self/cgroup", encoding="ascii") as stream:
            for line in stream:
                _, controllers, path = line.strip().split(":", 2)
                if "cpuacct" in controllers.split(","):
                    return os.path.normpath(_ROOT + path)
    except OSError:
        pass
    return None


def _join(group: str) -> None:
    with open(f"{group}/cgroup.procs", "w", encoding="ascii") as stream:
        stream.write(str(os.getpid()))


def machine_seconds() -> float:
    """Return CPU seconds that all processes of the machine have used, time stolen by the hypervisor included."""
    with open("/proc/stat", encoding="ascii") as stream:
        fields = [int(word) for word in stream.readline().split()[1:9]]
    return sum(value for place, value in enumerate(fields) if place not in _IDLE_FIELDS) * _TICK_S


# -- processes and their memory -----------------------------------------------------------------------


def descendants(roots: Iterable[int]) -> set[int]:
    """Return these processes and all below them, as /proc/PID/task/*/children tells (proc(5))."""
    found: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid in found:
            continue
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as stream:
                    todo += [int(word) for word in stream.read().split()]
        except OSError:
            continue
        found.add(pid)
    return found


def pss_mb(pids: Iterable[int]) -> float | None:
    """Return the proportional set size of processes in MiB: what they would give back if they ended together.

    A page that n processes share counts 1/n in each (proc(5), smaps_rollup). None when this user may not read it:
    the pool's processes are not dumpable, so only root may.
    """
    total, seen = 0, False
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as stream:
                for line in stream:
                    if line.startswith("Pss:"):
                        total, seen = total + int(line.split()[1]), True
                        break
        except (OSError, ProcessLookupError):
            continue
    return total / 1024 if seen else None
