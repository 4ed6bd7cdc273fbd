"""`calls_per_worker` above 1: what one call leaves behind may reach the next of the same tool, and nothing else may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elf_pysandbox import Policy, SandboxPool

SOURCE = """
import os, sys, threading, time
from elf_pysandbox_worker import life

behind = []
plain = life._channel

def channel():
    receive, send = plain()
    return receive, lambda data: send(data + behind.pop() if behind else data)

life._channel = channel

def own_pid():
    return os.getpid()

def chatter(text):
    '''Say something right behind the result, which is on its way already.'''
    def speak():
        time.sleep(0.05)
        os.write(1, b"")
        print(text, flush=True)
    threading.Thread(target=speak, daemon=True).start()
    return os.getpid()

def with_result(data):
    '''Send bytes in one piece with the result.'''
    behind.append(data)
    return os.getpid()

def leave_and_die():
    threading.Timer(0.05, os._exit, (3,)).start()
    return os.getpid()

def wait(seconds):
    time.sleep(seconds)
    return os.getpid()
"""


@pytest.fixture
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(1, policy=Policy(profile="native", calls_per_worker=100)) as pool:
        yield pool


def tool(pool: SandboxPool, name: str):
    return pool.load_source(SOURCE, name, name="reused")


def frame_of(message) -> bytes:
    from elf_pysandbox_worker.wire.frames import frame
    from elf_pysandbox_worker.wire.messages import encode

    return b"".join(frame(encode(message)))


def test_a_worker_serves_on_when_nothing_is_left_of_a_call(pool: SandboxPool) -> None:
    assert len({pool.call(tool(pool, "own_pid")) for _ in range(5)}) == 1


@pytest.mark.parametrize("size", [1, 7, 8, 9, 100])
def test_bytes_behind_a_result_end_the_worker_and_not_the_next_call(pool: SandboxPool, size: int) -> None:
    pid = pool.call(tool(pool, "with_result"), b"\1" * size)
    outcome = pool.outcome(tool(pool, "own_pid"))
    assert outcome.status == "ok", outcome.error
    assert outcome.value != pid


def test_a_forged_result_behind_a_result_does_not_answer_the_next_call(pool: SandboxPool) -> None:
    from msgspec import Raw

    from elf_pysandbox_worker.wire.messages import Result, UsageData
    from elf_pysandbox_worker.wire.values import pack

    next_id = int(pool.outcome(tool(pool, "own_pid")).call_id) + 2
    forged = frame_of(Result(next_id, Raw(pack("forged", max_bytes=99).data), UsageData()))
    pid = pool.call(tool(pool, "with_result"), forged)
    outcome = pool.outcome(tool(pool, "own_pid"))
    assert int(outcome.call_id) == next_id
    assert outcome.value not in ("forged", pid)


def test_what_a_thread_says_after_its_call_is_not_told_as_the_next_calls(pool: SandboxPool) -> None:
    pid = pool.call(tool(pool, "chatter"), "late")
    (template,) = pool._calls.engine._templates.values()
    (resting,) = template._resting
    while resting.is_silent():
        pass
    outcome = pool.outcome(tool(pool, "own_pid"))
    assert (outcome.status, outcome.stdout) == ("ok", "")
    assert outcome.value != pid


def test_a_worker_that_ended_while_it_rested_costs_no_call(pool: SandboxPool) -> None:
    pid = pool.call(tool(pool, "leave_and_die"))
    (template,) = pool._calls.engine._templates.values()
    (resting,) = template._resting
    while resting.is_silent():
        pass
    assert pool.call(tool(pool, "own_pid")) != pid


def test_a_worker_that_a_thread_of_the_last_call_ends_takes_the_running_call_along(pool: SandboxPool) -> None:
    pool.call(tool(pool, "leave_and_die"))
    outcome = pool.outcome(tool(pool, "wait"), 5)
    # It rested still when it was given the call, or it did not: a call that begun is never run again.
    assert outcome.status in ("crashed", "ok")
    assert pool.outcome(tool(pool, "own_pid")).ok
