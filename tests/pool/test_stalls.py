"""Processes that stand still without dying: whoever waits for one goes elsewhere, and nobody else waits at all."""

from __future__ import annotations

import os
import select
import signal
import threading
import time

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from elf_pysandbox._host import flight, supervisor
from tests.processes import wait_for_supervisor

NATIVE = Policy(profile="native")
ADD = "def add(a, b=1):\n    return a + b\n"
NEVER_FORKS = """
import os, time
def fork():
    while True:
        time.sleep(60)
os.fork = fork
def add(a, b=1):
    return a + b
"""
CLOSES_ALL = """
import os
def fork():
    os.closerange(3, 1000)
    os._exit(0)
os.fork = fork
def add(a, b=1):
    return a + b
"""
LIES = """
import os
real = os.fork
def fork():
    pid = real()
    if pid == 0:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"a lie")
            except OSError:
                pass
        os._exit(0)
    return pid
os.fork = fork
def add(a, b=1):
    return a + b
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give up what stands still after a second instead of ten, and confinement after two instead of thirty."""
    monkeypatch.setattr(flight, "_FORK_S", 1.0)
    monkeypatch.setattr(flight, "_LOOK_S", 0.1)
    return monkeypatch


def zygote_of(pool: SandboxPool) -> int:
    (zygote,) = pool._calls.engine._zygotes.values()
    return zygote.pid


def template_pid(pool: SandboxPool) -> int:
    (template,) = [item for item in pool._calls.engine._templates.values() if item.usable]
    return template.pid


@pytest.mark.parametrize("door", ["outcome", "submit"])
def test_a_template_that_never_forks_is_given_up_and_not_told_as_the_tools_fault(
    impatient: pytest.MonkeyPatch, door: str
) -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        stuck = pool.load_source(NEVER_FORKS, "add", name="stuck")
        outcome = pool.outcome(stuck, 1) if door == "outcome" else pool.submit_outcome(stuck, 1).result(60)
        assert (outcome.status, outcome.retryable) == ("rejected", True), outcome.error
        assert "became ready" in str(outcome.error)
        wait_for_supervisor(pool)  # which may have told the outcome first
        assert pool.statistics().templates == 0
        impatient.undo()
        assert pool.call(pool.load_source(ADD, "add"), 1) == 2


@pytest.mark.usefixtures("impatient")
def test_a_stopped_template_costs_its_idle_callers_no_call() -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add")
        assert pool.call(add, 1) == 2
        os.kill(template_pid(pool), signal.SIGSTOP)
        # More calls than it had forked workers for.
        assert [pool.outcome(add, number).value for number in range(8)] == list(range(1, 9))
        assert pool.statistics().restarts == 1


@pytest.mark.usefixtures("impatient")
def test_calls_that_run_under_a_stopped_template_end_as_they_would() -> None:
    source = ADD + "import time\ndef nap(s):\n    time.sleep(s)\n    return s\n"
    with SandboxPool(4, policy=NATIVE) as pool:
        nap, add = (pool.load_source(source, name, name="naps") for name in ("nap", "add"))
        running = pool.submit(nap, 3)
        while not running.running():
            pass
        os.kill(template_pid(pool), signal.SIGSTOP)
        assert [pool.outcome(add, number).value for number in range(8)] == list(range(1, 9))
        assert running.result(60) == 3
        assert pool.statistics().templates == 1


@pytest.mark.parametrize(("source", "status"), [(CLOSES_ALL, "killed"), (LIES, "crashed")])
def test_a_template_that_loaded_and_lies_ends_its_calls_only(source: str, status: str) -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add")
        assert pool.call(add, 1) == 2
        for _ in range(2):
            assert pool.outcome(pool.load_source(source, "add", name="liar"), 1).status == status
        assert pool.call(add, 1) == 2


def test_a_stopped_zygote_holds_up_no_call_of_a_loaded_tool() -> None:
    with SandboxPool(256, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add")
        assert pool.call(add, 1) == 2
        os.kill(zygote_of(pool), signal.SIGSTOP)
        # More requests than its channel has room for.
        views = [pool.with_options(limits=Limits(memory_mb=100 + number)) for number in range(180)]
        others = [view.submit_outcome(view.load_source(ADD, "add"), 1) for view in views]
        assert any(zygote.outbox for zygote in pool._calls.engine._zygotes.values())
        assert pool.call(add, 1) == 2
        for other in others:
            other.cancel()


def test_a_stopped_zygote_is_replaced_and_its_calls_begin_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CONFINE_S", 2.0)
    with SandboxPool(4, policy=NATIVE) as pool:
        os.kill(zygote_of(pool), signal.SIGSTOP)
        assert pool.call(pool.load_source(ADD, "add"), 1) == 2
        assert pool.submit(pool.load_source(ADD, "add", name="other"), 1).result(60) == 2


def test_a_large_bundle_for_a_template_that_does_not_read_holds_up_no_other_call() -> None:
    with SandboxPool(4, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add")
        assert pool.call(add, 1) == 2
        (blank,) = [item for items in _reserve(pool) for item in items]
        os.kill(blank.pid, signal.SIGSTOP)
        large = pool.load_source(ADD + "# " + "x" * (4 << 20), "add", name="large")
        waiting = pool.submit(large, 1)
        began = threading.Event()
        threading.Thread(target=lambda: (pool.call(add, 1), began.set()), daemon=True).start()
        passed = began.wait(20)
        os.kill(blank.pid, signal.SIGCONT)
        assert passed
        assert waiting.result(60) == 2


def _reserve(pool: SandboxPool):
    while True:
        found = list(pool._calls.engine._reserve.values())
        if found and all(item.pid and item.blank for items in found for item in items):
            return found
        time.sleep(0.01)


def test_what_a_template_said_before_it_ended_counts_in_whatever_order_its_channels_are_read() -> None:
    with SandboxPool(1, policy=NATIVE) as pool:
        assert pool.call(pool.load_source(ADD, "add"), 1) == 2
        (blank,) = [item for items in _reserve(pool) for item in items]
        supervisor_of = pool._calls.engine.supervisor
        held = threading.Event()

        def read_the_keeper_first() -> None:
            held.set()
            poller = select.poll()
            poller.register(blank.keeper, select.POLLIN)
            while not blank.ended:
                assert poller.poll(30_000)
                supervisor_of._on_keeper(blank)

        supervisor_of.run_soon(read_the_keeper_first)
        assert held.wait(30)
        outcome = pool.outcome(pool.load_source("raise ValueError('not like this')", "f", name="broken"))
    assert outcome.status == "load_failed"
    assert "not like this" in str(outcome.error)


def test_the_time_of_loading_counts_from_when_the_template_can_load() -> None:
    limits = Limits(load_s=1.0)
    with SandboxPool(1, policy=NATIVE, limits=limits) as pool:
        zygote = zygote_of(pool)
        os.kill(zygote, signal.SIGSTOP)
        future = pool.submit_outcome(pool.load_source(ADD, "add"), 1)
        threading.Timer(2.0, os.kill, (zygote, signal.SIGCONT)).start()
        assert future.result(60).status == "ok"
