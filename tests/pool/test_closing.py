"""Closing a pool: whoever asks for it, from wherever, finds everything gone when that returns."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.victims import processes_below, still_alive
from elf_pysandbox import Policy, SandboxPool
from elf_pysandbox._host.farewells import Farewells
from tests.processes import wait_for_supervisor

NATIVE = Policy(profile="native")
ADD = "def add(a, b=1):\n    return a + b\n"
WAIT = "import time\ndef wait():\n    time.sleep(60)\n"


def test_a_second_thread_that_closes_a_pool_returns_when_all_is_gone(monkeypatch) -> None:
    pool = SandboxPool(2, policy=NATIVE)
    assert pool.call(pool.load_source(ADD, "add"), 1) == 2
    first_waits, go_on = threading.Event(), threading.Event()
    wait = Farewells.wait

    def held(self: Farewells, seconds: float) -> None:
        first_waits.set()
        go_on.wait(30)
        wait(self, seconds)

    monkeypatch.setattr(Farewells, "wait", held)
    closers = [threading.Thread(target=pool.shutdown) for _ in range(2)]
    closers[0].start()
    assert first_waits.wait(30)
    closers[1].start()
    closers[1].join(0.2)
    second_waited = closers[1].is_alive()
    go_on.set()
    for closer in closers:
        closer.join(30)
    assert second_waited


def test_a_closed_pool_counts_nothing_as_there() -> None:
    with SandboxPool(2, policy=Policy(profile="native")) as pool:
        pool.call(pool.load_source("def one(): return 1", "one"))
        wait_for_supervisor(pool)
        assert pool.statistics().reserve == 1  # for the next tool
    left = pool.statistics()
    assert (left.busy, left.queued, left.idle, left.templates, left.reserve) == (0, 0, 0, 0, 0)


def test_a_template_whose_keeper_was_killed_is_gone_too_when_close_returns() -> None:
    for _ in range(3):
        pool = SandboxPool(8, policy=NATIVE)
        wait = pool.load_source(WAIT, "wait")
        futures = [pool.submit_outcome(wait) for _ in range(8)]
        while sum(future.running() for future in futures) < 8:
            pass
        (template,) = pool._calls.engine._templates.values()
        everything = processes_below(pool.process_ids())
        signal.pidfd_send_signal(template.keeper_pidfd, signal.SIGKILL)
        for future in futures:
            future.cancel()
        pool.shutdown()
        assert still_alive(everything) == []


def test_a_stopped_zygote_does_not_hold_up_the_closing_of_its_pool() -> None:
    pool = SandboxPool(2, policy=NATIVE)
    assert pool.call(pool.load_source(ADD, "add"), 1) == 2
    (zygote,) = pool._calls.engine._zygotes.values()
    os.kill(zygote.pid, signal.SIGSTOP)
    everything = processes_below(pool.process_ids())
    pool.shutdown()
    assert still_alive(everything) == []


def test_a_closing_that_was_interrupted_is_taken_up_again(monkeypatch) -> None:
    before = set(os.listdir("/proc/self/fd"))
    pool = SandboxPool(2, policy=NATIVE)
    assert pool.call(pool.load_source(ADD, "add"), 1) == 2
    everything = processes_below(pool.process_ids())
    interrupts = ["join", "waitid", "poll"]

    def interrupted(name: str, real):
        def call(*args, **kwargs):
            if name in interrupts:
                interrupts.remove(name)
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(threading.Thread, "join", interrupted("join", threading.Thread.join))
    monkeypatch.setattr(os, "waitid", interrupted("waitid", os.waitid))
    monkeypatch.setattr(
        "elf_pysandbox._host.farewells._readable",
        interrupted("poll", __import__("elf_pysandbox._host.farewells", fromlist=["_"])._readable),
    )
    raised = 0
    for _ in range(5):
        try:
            pool.shutdown()
        except KeyboardInterrupt:
            raised += 1
    assert (raised, interrupts) == (3, [])
    assert still_alive(everything) == []
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_pool_closed_from_a_callback_ends_what_is_left_and_returns() -> None:
    pool = SandboxPool(2, policy=NATIVE)
    add, returned = pool.load_source(ADD, "add"), threading.Event()
    others = [pool.submit(add, number) for number in range(5)]
    future = pool.submit(add, 1)
    future.add_done_callback(lambda _: (pool.shutdown(), returned.set()))
    assert returned.wait(30)
    assert [other.result(0) for other in others] == [1, 2, 3, 4, 5]
    pool.shutdown()
    assert pool.closed


def test_a_callback_may_call_the_pool_and_wait() -> None:
    with SandboxPool(1, policy=NATIVE) as pool:
        add, fresh = pool.load_source(ADD, "add"), pool.load_source(ADD, "add", name="fresh")
        told: list[int] = []
        done = threading.Event()

        def call(future) -> None:
            told.append(pool.call(add, future.result()))
            told.append(pool.call(fresh, told[-1]))  # its template is loaded while this waits
            if len(told) == 6:
                done.set()

        for number in range(3):
            pool.submit(add, number).add_done_callback(call)
        assert done.wait(60)
        assert sorted(told) == [2, 3, 3, 4, 4, 5]


def test_a_callback_may_wait_for_another_future() -> None:
    with SandboxPool(1, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add")
        done: concurrent.futures.Future[int] = concurrent.futures.Future()
        pool.submit(add, 1).add_done_callback(
            lambda future: done.set_result(pool.submit(add, future.result()).result(30))
        )
        assert done.result(30) == 3


def test_a_callback_that_raises_ends_no_call_but_its_own(caplog) -> None:
    with SandboxPool(1, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add")
        future = pool.submit(add, 1)
        future.add_done_callback(lambda _: 1 / 0)
        assert future.result(30) == 2
        assert pool.submit(add, 2).result(30) == 3


def test_a_pool_closed_from_a_callback_leaves_no_descriptor() -> None:
    before = set(os.listdir("/proc/self/fd"))
    pool = SandboxPool(2, policy=NATIVE)
    closed = threading.Event()
    pool.submit(pool.load_source(ADD, "add"), 1).add_done_callback(lambda _: (pool.shutdown(), closed.set()))
    assert closed.wait(30)
    assert set(os.listdir("/proc/self/fd")) == before
