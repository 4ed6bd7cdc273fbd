"""Calls whose reader is gone: a place, a worker and a descriptor never stay taken for one that nobody waits for."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from elf_pysandbox._host import blocking

NATIVE = Policy(profile="native")
SOURCE = """
import time
def add(a, b=1):
    return a + b
def count(n):
    for i in range(n):
        yield i
    time.sleep(60)
def large(size):
    return b"x" * size
def stops_half_way(size):
    import os
    real = os.writev
    def writev(fd, views):
        time.sleep(60 * (real(fd, [views[0], views[1][:size // 2]]) > 0))
    os.writev = writev
    return b"x" * size
"""


@pytest.fixture
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(1, policy=NATIVE, limits=Limits(wall_s=50, queue_s=20)) as pool:
        assert pool.call(pool.load_source(SOURCE, "add"), 1) == 2
        yield pool


def serves(pool: SandboxPool) -> bool:
    """Whether the one place of this pool is free, or becomes so."""
    return bool(pool.call(pool.load_source(SOURCE, "add"), 1) == 2)


def test_a_stream_collected_under_the_pools_own_lock_ends_after_it(pool: SandboxPool) -> None:
    stream = pool.stream(pool.load_source(SOURCE, "count"), 3)
    next(stream)
    engine = pool._calls.engine
    with engine._lock:
        before = engine._in_flight, dict(engine.calls)
        del stream
        gc.collect()
        assert (engine._in_flight, dict(engine.calls)) == before
    assert serves(pool)


def test_a_pool_collected_under_anothers_lock_holds_up_nothing(pool: SandboxPool) -> None:
    other = SandboxPool(1, policy=NATIVE)
    assert serves(other)
    engine = other._calls.engine
    # A thread of the other pool that needs this one, as a callback may, while this thread collects garbage.
    needs = threading.Thread(target=pool.statistics, daemon=True)
    engine.supervisor.run_soon(lambda: (needs.start(), needs.join()))
    with pool._calls.engine._lock:
        del other
        gc.collect()
    engine.close()
    assert engine._over


def test_whoever_waits_for_a_call_hears_at_whatever_moment_another_thread_ends_it(
    pool: SandboxPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flights = []
    plain = blocking.BlockingWait.begin

    def begin(self: blocking.BlockingWait) -> None:
        flights.append(self.flight)
        plain(self)

    monkeypatch.setattr(blocking.BlockingWait, "begin", begin)
    tool = pool.load_source(SOURCE, "stops_half_way")
    for _ in range(30):
        flights.clear()
        outcomes: list[str] = []
        thread = threading.Thread(
            target=lambda into=outcomes: into.append(pool.outcome(tool, 4 << 20).status)
        )
        thread.start()
        while not flights or not flights[0]._reader:
            pass  # at once: between its look at the call and its wait
        flights[0].cancel()
        thread.join(20)
        assert outcomes == ["cancelled"]


def test_a_canceller_does_not_wait_for_a_large_result_that_stops_half_way(pool: SandboxPool) -> None:
    flights = []
    plain = blocking.BlockingWait.begin

    def begin(self: blocking.BlockingWait) -> None:
        flights.append(self.flight)
        plain(self)

    blocking.BlockingWait.begin = begin  # type: ignore[method-assign]
    outcomes = []
    try:
        tool = pool.load_source(SOURCE, "stops_half_way")
        thread = threading.Thread(target=lambda: outcomes.append(pool.outcome(tool, 4 << 20)))
        thread.start()
        while not flights or not flights[0]._reader:
            time.sleep(0.01)  # until it waits for the rest, or is about to
        canceller = threading.Thread(target=flights[0].cancel)
        canceller.start()
        canceller.join(20)
        thread.join(20)
    finally:
        blocking.BlockingWait.begin = plain  # type: ignore[method-assign]
    assert [outcome.status for outcome in outcomes] == ["cancelled"]
    assert serves(pool)


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_task_cancelled_at_any_step_of_a_stream_frees_its_place(pool: SandboxPool, steps: int) -> None:
    async def read() -> None:
        async for _ in pool.astream(pool.load_source(SOURCE, "count"), 3):
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.ensure_future(read())
        for _ in range(steps):
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert pool.statistics().busy == 0
    assert serves(pool)


def test_an_asynchronous_stream_left_half_way_frees_its_place_with_its_loop(pool: SandboxPool) -> None:
    async def read() -> None:
        async for _ in pool.astream(pool.load_source(SOURCE, "count"), 3):
            break

    asyncio.run(read())
    assert serves(pool)


@pytest.mark.parametrize("items", [0, 1, 3])
def test_a_stream_of_a_loop_that_was_closed_without_a_word_frees_its_place(
    pool: SandboxPool, items: int
) -> None:
    loop = asyncio.new_event_loop()
    stream = pool.astream(pool.load_source(SOURCE, "count"), 3)
    if items:
        for _ in range(items):
            loop.run_until_complete(anext(stream))
    loop.close()
    del stream
    gc.collect()
    assert serves(pool)


@pytest.mark.parametrize("turns", [1, 2, 3, 10])
def test_a_call_of_a_loop_that_was_closed_without_a_word_frees_its_place(
    pool: SandboxPool, turns: int
) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.aoutcome(pool.load_source(SOURCE, "stops_half_way"), 4 << 20))
    for _ in range(turns):
        loop.call_later(0.002, loop.stop)
        loop.run_forever()
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task, loop
    gc.collect()
    assert serves(pool)


def test_streams_and_calls_that_were_left_keep_no_descriptor(pool: SandboxPool) -> None:
    def leave() -> None:
        stream = pool.stream(pool.load_source(SOURCE, "count"), 3)
        next(stream)

    leave()
    serves(pool)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        leave()
    assert serves(pool)
    assert len(os.listdir("/proc/self/fd")) <= before + 20
