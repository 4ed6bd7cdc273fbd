"""A host that forks with a live pool: the child's copy harms nothing, and every use of it is told in one sentence."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable

import pytest

from elf_pysandbox import Outcome, Policy, PoolClosedError, SandboxPool

NATIVE = Policy(profile="native")
SOURCE = """
import time
def add(a, b=1):
    return a + b
def count(n):
    for i in range(n):
        yield i
        time.sleep(0.2)
"""


def in_child(job: Callable[[], object]) -> str:
    """Run a job in a forked child, and return what came of it, as text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            text = repr(job())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as stream:
        text = stream.read()
    assert os.waitpid(child, 0)[1] == 0, text
    return text


@pytest.mark.parametrize("door", ["call", "submit", "stream", "map"])
def test_every_door_of_the_childs_copy_says_whose_pool_it_is(door: str) -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load_source(SOURCE, "add")
        assert pool.call(add, 1) == 2
        doors = {
            "call": lambda: pool.call(add, 1),
            "submit": lambda: pool.submit(add, 1),
            "stream": lambda: list(pool.stream(add, 1)),
            "map": lambda: list(pool.map(add, [1])),
        }
        said = in_child(doors[door])
        assert said.startswith(PoolClosedError.__name__)
        assert f"belongs to process {os.getpid()}" in said
        assert pool.call(add, 1) == 2


def test_a_child_that_reads_on_in_a_stream_takes_nothing_from_it() -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        stream = pool.stream(pool.load_source(SOURCE, "count"), 5)
        first = next(stream)
        said = in_child(lambda: next(event for event in stream if isinstance(event, Outcome)).status)
        assert said == "'cancelled'"
        rest = list(stream)
        assert [first.value, *(event.value for event in rest[:-1])] == [0, 1, 2, 3, 4]
        assert rest[-1].status == "ok"


def test_a_child_cancels_a_call_whose_lock_a_thread_of_the_parent_held_at_the_fork() -> None:
    held, done = threading.Event(), threading.Event()
    with SandboxPool(2, policy=NATIVE) as pool:
        future = pool.submit(pool.load_source(SOURCE, "count"), 5)
        while not future.running():
            pass

        def hold() -> None:
            with future._flight.lock:
                held.set()
                done.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(60)
        try:
            assert in_child(future.cancel) == "True"
        finally:
            done.set()
            holder.join()
        assert future.exception(60) is None


def test_a_child_that_drops_a_stream_or_cancels_a_future_ends_no_call_of_the_parent() -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        count = pool.load_source(SOURCE, "count")
        stream, future = pool.stream(count, 5), pool.submit(count, 5)
        next(stream)
        while not future.running():
            pass
        assert in_child(lambda: (stream.close(), future.cancel())) == "(None, True)"
        assert len(list(stream)) == 5
        assert future.result(30) == [0, 1, 2, 3, 4]


def test_a_child_does_not_wait_for_a_future_that_ends_elsewhere() -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        future = pool.submit(pool.load_source(SOURCE, "count"), 5)
        said = in_child(lambda: future.result(20))
        assert said.startswith(concurrent.futures.BrokenExecutor.__name__)
        assert future.result(30) == [0, 1, 2, 3, 4]


def test_a_child_forked_while_the_pool_is_busy_holds_none_of_its_locks_and_descriptors() -> None:
    with SandboxPool(4, policy=NATIVE) as pool:
        add = pool.load_source(SOURCE, "add")
        assert pool.call(add, 1) == 2
        open_before = len(os.listdir("/proc/self/fd"))
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                pool.call(add, 1)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            said = [
                in_child(
                    lambda: (pool.statistics().busy >= 0, pool.shutdown(), len(os.listdir("/proc/self/fd")))
                )
                for _ in range(10)
            ]
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
        assert all(text.startswith("(True, None, ") for text in said)
        left = [int(text.rpartition(", ")[2].strip(")")) for text in said]
        # What another thread was about to make at that very moment, the child keeps.
        assert min(left) < open_before // 2, (left, open_before)


def _makes_its_own(queue: multiprocessing.SimpleQueue[object]) -> None:
    with SandboxPool(1, policy=NATIVE) as pool:
        queue.put(pool.call(pool.load_source(SOURCE, "add"), 41))


def test_a_forked_child_can_make_a_pool_of_its_own() -> None:
    with SandboxPool(1, policy=NATIVE) as pool:
        add = pool.load_source(SOURCE, "add")
        assert pool.call(add, 1) == 2
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_makes_its_own, args=(queue,))
        child.start()
        assert queue.get() == 42
        child.join(30)
        assert child.exitcode == 0
        queue.close()
        child.close()
        assert pool.call(add, 1) == 2
