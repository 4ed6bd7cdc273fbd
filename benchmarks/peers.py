"""The contestants: this package's pool, other pools, and the kernel's own prices.

Peers that fork the measuring process are opened before our pool, so that they inherit none of its descriptors.
"""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

import elf_pysandbox_worker
from benchmarks import tools
from elf_pysandbox import Limits, Policy, SandboxPool

TOOLS = str(Path(__file__).with_name("tools.py"))
CORES = os.cpu_count() or 1
Call = Callable[[], object]


class LayersMissingError(RuntimeError):
    """A figure without its layers is not this program's to give."""


@contextmanager
def sandbox(max_workers: int = 128, *, calls_per_worker: int = 1, **limits: Any) -> Iterator[SandboxPool]:
    """Open a pool of profile `native` of which every layer is known to hold."""
    policy = Policy(profile="native", calls_per_worker=calls_per_worker)
    with SandboxPool(max_workers, policy=policy, limits=Limits(**limits)) as pool:
        outcome = pool.outcome(f"{TOOLS}:noop")
        outcome.unwrap()
        missing = [layer for layer in outcome.layers if not layer.held]
        if missing or not outcome.layers:
            lines = [f"{layer.name}: {layer.detail}" for layer in missing]
            raise LayersMissingError("these layers do not hold here:\n" + "\n".join(lines))
        yield pool


@contextmanager
def executor() -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Open the standard library's pool with its workers started."""
    with concurrent.futures.ProcessPoolExecutor(CORES) as pool:
        pool.submit(tools.noop).result()
        yield pool


@contextmanager
def pebble_noop() -> Iterator[Call]:
    """Yield a call of nothing through pebble, which can kill a worker and reuses the others."""
    import pebble

    with pebble.ProcessPool(max_workers=CORES) as pool:
        pool.schedule(tools.noop).result()
        yield lambda: pool.schedule(tools.noop).result()


@contextmanager
def loky_noop() -> Iterator[Call]:
    """Yield a call of nothing through loky, joblib's pool of reused workers."""
    import loky

    pool = loky.ProcessPoolExecutor(max_workers=CORES)
    try:
        pool.submit(tools.noop).result()
        yield lambda: pool.submit(tools.noop).result()
    finally:
        pool.shutdown(kill_workers=True)


@contextmanager
def monty_noop(calls_per_process: int | None = None) -> Iterator[Call]:
    """Yield a call of nothing in a new session of pydantic-monty, which interprets a subset of Python itself."""
    import pydantic_monty

    with pydantic_monty.Monty(min_processes=CORES, max_checkouts_per_worker=calls_per_process) as pool:

        def call() -> object:
            with pool.checkout() as session:
                return session.feed_run("def noop():\n    return None\nnoop()")

        call()
        yield call


# -- many at once -------------------------------------------------------------------------------------


def back_to_back(call: Call) -> Callable[[float], int]:
    """Return a burst of calls, each made when the one before has returned."""

    def burst(seconds: float) -> int:
        end, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            call()
            count += 1
        return count

    return burst


def in_flight(
    submit: Callable[[], concurrent.futures.Future[Any]], width: int = 128
) -> Callable[[float], int]:
    """Return a burst that keeps `width` calls in flight and ends when the last of them has."""

    def burst(seconds: float) -> int:
        free = threading.Semaphore(width)
        failed: list[BaseException] = []

        def done(future: concurrent.futures.Future[Any]) -> None:
            error = future.exception()
            if error is not None:
                failed.append(error)
            free.release()

        end, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            free.acquire()
            submit().add_done_callback(done)
            count += 1
        for _ in range(width):
            free.acquire()
        if failed:
            raise failed[0]
        return count

    return burst


# -- the kernel's prices ------------------------------------------------------------------------------

_FORKS = """
import gc, os, sys, time
sys.path.extend(sys.argv[1:])
from elf_pysandbox_worker import boot
boot.import_all()
from elf_pysandbox_worker import native
gc.collect(); gc.freeze()
fork, leave, wait, clock = os.fork, os._exit, os.waitpid, time.perf_counter
for line in sys.stdin:
    end, count = clock() + float(line), 0
    while clock() < end:
        pid = fork()
        if not pid:
            leave(0)
        wait(pid, 0)
        count += 1
    print(count, flush=True)
"""


@contextmanager
def bare_forks() -> Iterator[Callable[[float], int]]:
    """Yield a burst of fork, _exit and wait: a process like a template on each core, doing nothing else."""
    roots = {str(Path(module.__file__ or "").parents[1]) for module in (elf_pysandbox_worker, msgspec)}
    command = [sys.executable, "-I", "-S", "-u", "-c", _FORKS, *roots]
    forkers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={})
        for _ in range(CORES)
    ]

    def burst(seconds: float) -> int:
        for forker in forkers:
            assert forker.stdin is not None
            forker.stdin.write(f"{seconds}\n")
            forker.stdin.flush()
        return sum(int(forker.stdout.readline()) for forker in forkers if forker.stdout is not None)

    try:
        burst(0.01)
        yield burst
    finally:
        for forker in forkers:
            forker.communicate()


@contextmanager
def pipe_echo(size: int) -> Iterator[Call]:
    """Yield an echo of `size` bytes over two pipes with 1 MiB buffers: written once and read once each way."""
    import fcntl

    there, back = os.pipe(), os.pipe()
    for _, write_end in (there, back):
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 1 << 20)
    pid = os.fork()
    if pid == 0:
        try:
            _echo_for_ever(there, back, size)
        finally:
            os._exit(0)
    os.close(there[0])
    os.close(back[1])
    data, room = bytes(size), bytearray(size)

    def call() -> object:
        _write_all(there[1], data)
        return _read_all(back[0], room)

    try:
        call()
        yield call
    finally:
        os.close(there[1])
        os.close(back[0])
        os.waitpid(pid, 0)


def _echo_for_ever(there: tuple[int, int], back: tuple[int, int], size: int) -> None:
    os.close(there[1])
    os.close(back[0])
    room = bytearray(size)
    while _read_all(there[0], room):
        _write_all(back[1], room)


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int, room: bytearray) -> bool:
    view = memoryview(room)
    while view:
        count = os.readv(descriptor, [view])
        if not count:
            return False
        view = view[count:]
    return True
