"""Memory, CPU time, threads, files and disk: every bomb has its own limit, and the host goes on."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.escape.matrix import Attack, Killed, Matrix
from tests.isolation.driver import Raised, confinement, inherited_mb, run, without

_MB = 1 << 20
SMALL = {"workers": 1, "memory_mb": 128}
_beyond = 0
"""MiB by which the limits below are higher because of what the test process holds, and its forks with it."""


@pytest.fixture(autouse=True)
def _measure_what_forks_inherit() -> None:
    global _beyond
    _beyond = 2 * inherited_mb()


def fill_private_memory() -> None:
    """Touch 400 MiB: more than the group of one small worker and its template, little for a host."""
    block = mmap.mmap(-1, (400 + _beyond) * _MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, len(block), mmap.PAGESIZE):
        block[offset] = 1
    block.close()


def fill_shared_memory() -> None:
    """The same by shared pages, which RLIMIT_DATA does not count."""
    block = mmap.mmap(-1, (400 + _beyond) * _MB)
    for offset in range(0, len(block), mmap.PAGESIZE):
        block[offset] = 1
    block.close()


def map_without_end() -> None:
    """Reserve 2 GiB of address space that is not written to, which RLIMIT_DATA does not count."""
    mmap.mmap(-1, (2048 + _beyond) * _MB, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ).close()


def thread_bomb() -> None:
    threading.stack_size(64 << 10)
    gate = threading.Event()
    try:
        for _ in range(400):
            threading.Thread(target=gate.wait, daemon=True).start()
    finally:
        gate.set()


def open_without_end() -> None:
    descriptors = []
    try:
        for _ in range(200):
            descriptors.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def lock_memory() -> None:
    import ctypes

    block = mmap.mmap(-1, _MB, flags=mmap.MAP_PRIVATE)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(block))), ctypes.c_size_t(_MB)):
        raise OSError(ctypes.get_errno(), "mlock")


def queue_timers() -> None:
    """Make 6,000 timers (timer_create(2)): each is kernel memory, and counts as a signal that waits."""
    import ctypes

    from elf_pysandbox_worker.isolation.syscalls import NUMBERS

    libc = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_int()
    for _ in range(6000):
        if libc.syscall(NUMBERS["timer_create"], 0, None, ctypes.byref(number)):
            raise OSError(ctypes.get_errno(), "timer_create")


def spin() -> None:
    end = time.process_time() + 1.6
    while time.process_time() < end:
        pass


ATTACKS = [
    Attack(
        "fill memory", fill_private_memory, {"rlimits": errno.ENOMEM, "cgroup": Killed(signal.SIGKILL)},
        changes=SMALL,
    ),
    Attack(
        "fill shared memory",
        fill_shared_memory,
        {"cgroup": Killed(signal.SIGKILL), "seccomp": errno.EPERM},
        changes=SMALL,
    ),
    Attack("map without end", map_without_end, {"rlimits": errno.ENOMEM}, changes=SMALL),
    Attack(
        "thread bomb", thread_bomb, {"rlimits": "RuntimeError", "cgroup": "RuntimeError"},
        needs=("user_namespace", "mount_namespace", "identity"), changes={"workers": 1},
    ),
    Attack(
        "open without end", open_without_end, {"rlimits": errno.EMFILE},
        changes={"open_files": 16, "workers": 1},
    ),
    Attack(
        "lock memory", lock_memory, {"rlimits": errno.EPERM},
        needs=("user_namespace", "mount_namespace", "identity", "capabilities"),
    ),
    Attack("queue timers", queue_timers, {"rlimits": errno.EAGAIN}, changes={"workers": 1}),
    Attack("spin", spin, {"rlimits": Killed(signal.SIGXCPU)}, changes={"cpu_s": 1.0}, position="worker"),
]  # fmt: skip


class TestResources(Matrix):
    attacks = ATTACKS


SCRATCH: dict[str, Any] = {"scratch_mb": 4, "scratch_slots": 2}


def write_to_scratch(megabytes: int) -> Callable[[], int]:
    def act() -> int:
        with open("big", "wb") as file:
            return sum(file.write(bytes(_MB)) for _ in range(megabytes))

    return act


def make_files(count: int) -> Callable[[], int]:
    def act() -> int:
        for number in range(count):
            open(f"file{number}", "x").close()
        return count

    return act


def _errno(value: object) -> int | None:
    assert isinstance(value, Raised), value
    return value.errno


def test_scratch_is_full_at_its_size() -> None:
    assert run(write_to_scratch(3), confinement(**SCRATCH), slot=0).value == 3 * _MB
    assert _errno(run(write_to_scratch(6), confinement(**SCRATCH), slot=0).value) == errno.ENOSPC


def test_scratch_is_full_at_its_number_of_files() -> None:
    assert run(make_files(100), confinement(**SCRATCH), slot=0).value == 100
    assert _errno(run(make_files(1000), confinement(**SCRATCH), slot=0).value) == errno.ENOSPC


def test_a_file_ends_at_its_size() -> None:
    spec = confinement(scratch_mb=8, scratch_slots=1, file_mb=2)
    assert _errno(run(write_to_scratch(4), spec, slot=0).value) == errno.EFBIG
    assert run(write_to_scratch(4), confinement(without("rlimits"), scratch_mb=8, scratch_slots=1, file_mb=2),
               slot=0).value == 4 * _MB  # fmt: skip


def test_a_worker_lowers_its_limits_and_cannot_raise_them() -> None:
    def act() -> tuple[tuple[int, int], tuple[int, int]]:
        return resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_NOFILE)

    assert run(act, confinement(cpu_s=1.5, open_files=20)).value == ((2, 3), (20, 20))
    raised = run(
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)), confinement(open_files=20)
    ).value
    assert isinstance(raised, Raised)


def test_an_array_past_the_memory_limit_is_a_memory_error() -> None:
    def act() -> float:
        import numpy as np

        return float(np.ones(32 * _MB).sum())

    assert run(act).value == 32 * _MB
    stopped = run(act, confinement(memory_mb=224)).value
    assert isinstance(stopped, Raised)
    assert "Memory" in stopped.type
