"""A host or machine that has run out of something: told as that, not as the tool's doing, and over when it is over."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool

NATIVE = Policy(profile="native")
ADD = "def add(a, b=1):\n    return a + b\n"
CANNOT_FORK = (
    """
import errno, os
def fork():
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
os.fork = fork
"""
    + ADD
)


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Leave this process so many descriptors that it may still open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 200, hard))
    taken = []
    try:
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            for _ in range(count):
                os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("left", [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 40])
def test_a_host_out_of_descriptors_is_told_as_such_and_serves_on(left: int) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with SandboxPool(2, policy=NATIVE, limits=Limits(load_s=10, queue_s=10)) as pool:
        add = pool.load_source(ADD, "add", name="known")
        assert pool.call(add, 1) == 2
        with descriptors_left(left):
            outcomes = [pool.outcome(add, number) for number in range(25)]
            outcomes += [pool.submit_outcome(add, number).result(30) for number in range(5)]
            outcomes += [
                pool.outcome(pool.load_source(ADD, "add", name=f"new{number}"), 1) for number in range(2)
            ]
        assert {outcome.status for outcome in outcomes} <= {"ok", "fault"}
        for outcome in outcomes:
            assert outcome.ok or "ulimit -n" in str(outcome.error), outcome.error
        assert pool.call(add, 1) == 2
        assert pool.call(pool.load_source(ADD, "add", name="later"), 1) == 2
        assert pool.statistics().busy == 0
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("left", range(0, 16, 3))
def test_a_pool_that_cannot_be_made_for_want_of_descriptors_leaves_none_open(left: int) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with descriptors_left(left):
        try:
            SandboxPool(1, policy=NATIVE).shutdown()
        except OSError:
            pass
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_template_that_may_fork_no_process_is_told_as_the_machines_trouble_or_the_modules() -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        outcome = pool.outcome(pool.load_source(CANNOT_FORK, "add", name="crowded"), 1)
        assert outcome.status == "rejected"
        assert outcome.retryable
        assert "out of processes" in str(outcome.error)
        assert "module" in str(outcome.error)
        assert pool.call(pool.load_source(ADD, "add"), 1) == 2


def test_a_host_that_was_started_with_less_cpu_time_than_a_call_may_have_gives_what_it_has() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "from elf_pysandbox import Limits, Policy, SandboxPool\n"
        "with SandboxPool(1, policy=Policy(profile='native'), limits=Limits(cpu_s=30)) as pool:\n"
        "    tool = pool.load_source('import resource\\ndef run(): return resource.getrlimit(0)', 'run')\n"
        "    print(pool.call(tool))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("(19, 20)\n", "")
