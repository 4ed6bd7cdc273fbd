"""What all tests share: pools that are closed, and the proof that nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool

# A shell starts its background jobs with SIGINT ignored (POSIX, Shell Command Language, 2.11), and whatever is started
# from here would inherit that: no test of Ctrl-C could pass.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Where it is set, output that could not be written is never left in a buffer, and no test sees what becomes of it.
os.environ.pop("PYTHONUNBUFFERED", None)


def sandbox_processes() -> set[int]:
    """Return the pids of all zygotes, keepers, templates and workers that this process started."""
    mine = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _belongs_here(int(entry)):
            mine.add(int(entry))
    return mine


def _belongs_here(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            if b"elf_pysandbox_worker.boot" not in stream.read():
                return False
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return False
    # Each zygote starts a session of its own, and its keepers others: the host's pid is the zygote's parent.
    return fields[0] != "Z"


@pytest.fixture(scope="module")
def native_pool() -> Iterator[SandboxPool]:
    """A pool of plain CPython tools for a whole test module."""
    with SandboxPool(8, policy=Policy(profile="native"), limits=Limits(wall_s=20, cpu_s=20)) as pool:
        yield pool
