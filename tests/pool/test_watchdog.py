"""`wall_s` holds for calls whose caller is busy: the process ends in time, and nothing that it said is lost."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

import pytest

from elf_pysandbox import ItemEvent, Limits, Outcome, Policy, SandboxPool
from elf_pysandbox._host.alarm import Alarm
from elf_pysandbox._host.flight import RUNNING, SETTLED, Flight

SOURCE = """
def says_then_spins():
    yield 1
    yield 2
    while True:
        pass
def spins():
    while True:
        pass
def one():
    return 1
def dies():
    import os
    yield 1
    os.abort()
def hides():
    import os, time
    yield 1
    os.closerange(3, 64)
    time.sleep(60)
"""


@pytest.fixture
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(1, policy=Policy(profile="native"), limits=Limits(wall_s=0.5), max_templates=1) as pool:
        yield pool


def flight_of(pool: SandboxPool) -> Flight:
    (flight,) = pool._calls._watchdog._flights
    return flight


def wait_for_its_process_to_end(flight: Flight) -> None:
    """Wait in this thread, which does nothing else meanwhile; there is nothing to wait for where the call has ended."""
    channel = flight.channel
    if channel is not None:
        poller = select.poll()
        poller.register(channel.pidfd, select.POLLIN)
        assert poller.poll(30_000)


async def until_its_worker_has_it(pool: SandboxPool) -> Flight:
    """Let the loop run until the one call of it was sent."""
    await asyncio.sleep(0)
    flight = flight_of(pool)
    while flight.phase < RUNNING:
        await asyncio.sleep(0)
    return flight


def test_a_stream_that_is_read_too_late_has_ended_in_time_and_gives_what_came_before(
    pool: SandboxPool,
) -> None:
    stream = pool.stream(pool.load_source(SOURCE, "says_then_spins"))
    assert next(stream) == ItemEvent(1)
    wait_for_its_process_to_end(flight_of(pool))  # nobody reads meanwhile
    *items, outcome = stream
    assert items == [ItemEvent(2)]
    assert isinstance(outcome, Outcome)
    assert outcome.status == "timeout"
    assert "wall_s=0.5" in str(outcome.error)
    assert outcome.usage.cpu_s > 0


def test_a_call_of_an_event_loop_that_does_something_else_ends_in_time(pool: SandboxPool) -> None:
    pool.call(pool.load_source(SOURCE, "one"))

    async def main() -> Outcome:
        task = asyncio.ensure_future(pool.aoutcome(pool.load_source(SOURCE, "spins")))
        wait_for_its_process_to_end(await until_its_worker_has_it(pool))  # the loop stands still
        return await task

    assert asyncio.run(main()).status == "timeout"
    assert pool.call(pool.load_source(SOURCE, "one")) == 1


def test_an_asynchronous_stream_whose_loop_does_something_else_ends_in_time(pool: SandboxPool) -> None:
    async def main() -> list[object]:
        stream = pool.astream(pool.load_source(SOURCE, "says_then_spins"))
        assert await anext(stream) == ItemEvent(1)
        wait_for_its_process_to_end(flight_of(pool))
        return [event async for event in stream]

    *items, outcome = asyncio.run(main())
    assert items == [ItemEvent(2)]
    assert isinstance(outcome, Outcome)
    assert outcome.status == "timeout"


def test_a_result_that_came_in_time_and_is_taken_in_late_counts(pool: SandboxPool) -> None:
    tool = pool.load_source(SOURCE, "one")
    pool.call(tool)

    async def main() -> Outcome:
        task = asyncio.ensure_future(pool.aoutcome(tool))
        flight = await until_its_worker_has_it(pool)
        poller = select.poll()
        poller.register(flight.descriptor, select.POLLIN)
        assert poller.poll(30_000)  # the result is here
        flight.kill_overdue()
        return await task

    assert asyncio.run(main()).value == 1


def test_a_worker_that_died_in_time_is_told_as_what_it_died_of_however_late(pool: SandboxPool) -> None:
    stream = pool.stream(pool.load_source(SOURCE, "dies"))
    assert next(stream) == ItemEvent(1)
    flight = flight_of(pool)
    wait_for_its_process_to_end(flight)
    while flight.phase != SETTLED and not flight.kill_overdue():
        time.sleep(0.01)  # until its time is over: then there is nothing to kill
    *_, outcome = stream
    assert isinstance(outcome, Outcome)
    assert (outcome.status, "SIGABRT" in str(outcome.error)) == ("crashed", True)


def test_a_worker_that_closes_its_channel_does_not_outlive_its_time(pool: SandboxPool) -> None:
    async def main() -> Outcome:
        task = asyncio.ensure_future(pool.aoutcome(pool.load_source(SOURCE, "hides")))
        flight = await until_its_worker_has_it(pool)
        while flight.phase == RUNNING:
            await asyncio.sleep(0)
        wait_for_its_process_to_end(flight)  # long before 60 s
        return await task

    assert asyncio.run(main()).status == "timeout"


def test_a_call_that_waited_longer_than_its_time_has_all_of_it_once_it_is_sent(pool: SandboxPool) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(pool.aoutcome(pool.load_source(SOURCE, "spins")))
        waiting = asyncio.ensure_future(pool.aoutcome(pool.load_source(SOURCE, "one")))
        await asyncio.sleep(0)
        flights = pool._calls._watchdog._flights
        while len(flights) == 2:
            now = time.monotonic()
            assert all(flight.ends_not_before() >= now + 0.5 for flight in flights if flight.phase < RUNNING)
            await asyncio.sleep(0.01)
        assert ((await task).status, (await waiting).value) == ("timeout", 1)

    asyncio.run(main())


def test_a_call_whose_loop_was_closed_frees_its_place_when_its_time_is_over(pool: SandboxPool) -> None:
    tool = pool.load_source(SOURCE, "spins")
    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.aoutcome(tool))  # held to the end: no garbage collection helps
    loop.run_until_complete(until_its_worker_has_it(pool))
    loop.close()
    assert pool.call(pool.load_source(SOURCE, "one")) == 1
    assert not task.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_calls_that_ended_are_watched_no_more(pool: SandboxPool) -> None:
    tool = pool.load_source(SOURCE, "one")
    asyncio.run(pool.acall(tool))
    assert [event.status for event in pool.stream(tool) if isinstance(event, Outcome)] == ["ok"]
    assert not pool._calls._watchdog._flights


def test_one_far_deadline_is_one_timer_however_often_it_is_the_nearest_that_is_left() -> None:
    class Timers:
        waiting: ClassVar[list[tuple[float, Callable[[], None]]]] = []

        def at(self, when: float, job: Callable[[], None]) -> None:
            self.waiting.append((when, job))

    timers = Timers()
    far = time.monotonic() + 1000
    alarm = Alarm(cast(Any, timers), lambda now: far)
    for _ in range(100):
        alarm.note(time.monotonic())
        when, ring = min(timers.waiting)
        timers.waiting.remove((when, ring))
        ring()
    assert [when for when, _ in timers.waiting] == [far]
