"""Several threads at one call, and pools whose parts come and go: each call ends once, and no place stays taken."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elf_pysandbox import ConfigurationError, Files, Limits, Policy, SandboxPool
from elf_pysandbox._host.flight import Flight
from elf_pysandbox._host.templates import Template
from elf_pysandbox_worker.wire.messages import Confinement
from tests.processes import wait_for_supervisor

NATIVE = Policy(profile="native")
MODULE = "fixtures/engine/behaviours.py"
ADD = "def add(a, b):\n    return a + b\n"
WAIT = "import time\ndef wait():\n    time.sleep(60)\n"


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[tuple[SandboxPool, Callable[[], object]]]:
    """Yield a pool whose thread that hears templates waits in a callback, and what lets it go on."""
    blocked, goes_on = threading.Event(), threading.Event()
    with SandboxPool(4, policy=NATIVE) as pool:
        first = pool.submit(pool.load_source(ADD, "add"), 1, 1)
        first.add_done_callback(lambda _: (blocked.set(), goes_on.wait(60)))
        assert blocked.wait(60)
        yield pool, goes_on.set
        goes_on.set()


def ready_flights(pool: SandboxPool) -> list[Flight]:
    """Return the calls whose worker was found ready and whose template was not heard yet."""
    templates = list(pool._calls.engine._templates.values())
    flights = [flight for template in templates if not template.blank for flight in list(template.waiting)]
    return [flight for flight in flights if flight.channel is not None and flight.channel.pidfd >= 0]


@pytest.mark.parametrize("door", ["outcome", "stream", "submit_outcome", "aoutcome"])
def test_a_worker_gets_no_call_before_its_template_was_heard_so_that_the_outcome_tells_the_layers(
    deaf: tuple[SandboxPool, Callable[[], object]], door: str
) -> None:
    pool, hear = deaf
    tool, outcomes = pool.load_source(ADD, "add", name="new"), []

    def call() -> None:
        made = getattr(pool, door)(tool, 1, 2)
        if door == "stream":
            outcomes.append(list(made)[-1])
        elif door == "submit_outcome":
            outcomes.append(made.result(60))
        else:
            outcomes.append(asyncio.run(made) if door == "aoutcome" else made)

    caller = threading.Thread(target=call)
    caller.start()
    while door != "submit_outcome" and not (
        ready := ready_flights(pool)
    ):  # that one is moved by the deaf thread
        assert caller.is_alive(), outcomes
    if door != "submit_outcome":
        assert ready[0].descriptor == -1, "it waits for nothing but the word of its template"
    hear()
    caller.join(60)
    (outcome,) = outcomes
    assert (outcome.status, outcome.value) == ("ok", 3)
    assert outcome.layers


def test_a_worker_whose_call_was_cancelled_before_its_template_was_heard_gets_no_other_call_before(
    deaf: tuple[SandboxPool, Callable[[], object]],
) -> None:
    pool, hear = deaf
    tool, outcomes = pool.load_source(ADD, "add", name="new"), []

    async def cancelled() -> None:
        call = asyncio.ensure_future(pool.acall(tool, 1, 2))
        while not ready_flights(pool):
            assert not call.done()
            await asyncio.sleep(0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    caller = threading.Thread(target=lambda: outcomes.append(pool.outcome(tool, 1, 2)))
    caller.start()
    while not ready_flights(pool):
        assert caller.is_alive(), outcomes
    hear()
    caller.join(60)
    (outcome,) = outcomes
    assert (outcome.status, outcome.value) == ("ok", 3)
    assert outcome.layers


@pytest.mark.usefixtures("eager_threads")
def test_cancelling_calls_at_any_moment_ends_each_once_and_frees_its_place() -> None:
    with SandboxPool(4, policy=NATIVE) as pool:
        tool = pool.load_source("def text(n):\n    return 'x' * n\n", "text", name="texts")
        pool.call(tool, 1)

        def attack(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(150):
                future = pool.submit_outcome(tool, chance.choice((1, 100_000)))
                time.sleep(chance.random() * 0.002)  # about as long as a call takes: any moment of it
                if not future.cancel():
                    assert future.result(30).status == "ok"

        threads = [threading.Thread(target=attack, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert pool.submit_outcome(tool, 3).result(30).value == "xxx"
        counts = pool.statistics()
    assert (counts.busy, counts.queued) == (0, 0)
    assert counts.calls.keys() <= {"ok", "cancelled"}, counts.calls


def test_calls_cancelled_before_they_begin_use_up_no_workers() -> None:
    with SandboxPool(64, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add", name="sums")
        assert pool.call(add, 1, 2) == 3
        for _ in range(4):
            for _ in range(3000):
                pool.submit(add, 1, 2).cancel()
            assert pool.outcome(add, 1, 2).status == "ok"


def test_the_only_template_that_may_stay_is_not_the_one_just_started() -> None:
    with SandboxPool(2, policy=NATIVE, max_templates=1) as pool:
        waiting = pool.submit_outcome(pool.load_source(WAIT, "wait", name="waiting"))
        while not waiting.running():
            pool.outcome(pool.load_source(ADD, "add", name="other"), 1, 2)
        outcomes = [
            pool.outcome(pool.load_source(ADD, "add", name=f"sums{number}"), 1, 2) for number in range(3)
        ]
        waiting.cancel()
    assert [outcome.status for outcome in outcomes] == ["ok"] * 3


def test_blank_templates_are_kept_for_few_confinements_only() -> None:
    with SandboxPool(2, policy=NATIVE, max_templates=2) as pool:
        for number in range(8):
            view = pool.with_options(limits=Limits(memory_mb=256 + number))
            assert view.call(view.load_source(ADD, "add", name="sums"), 1, 2) == 3
        assert pool.statistics().reserve <= 4


@pytest.mark.parametrize(("kept", "reserve"), [(1, 0), (2, 1)])
def test_a_pool_that_keeps_one_tool_holds_no_blank_template(kept: int, reserve: int) -> None:
    with SandboxPool(2, policy=NATIVE, max_templates=kept) as pool:
        assert pool.call(pool.load_source(ADD, "add", name="sums"), 1, 2) == 3
        wait_for_supervisor(pool)  # which tells of the loaded template first, and starts the next one then
        assert pool.statistics().reserve == reserve


def test_a_call_queued_by_a_loop_that_was_closed_takes_no_place() -> None:
    with SandboxPool(1, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add", name="sums")
        running = pool.submit(pool.load_source(WAIT, "wait", name="waiting"))
        loop = asyncio.new_event_loop()
        task = loop.create_task(pool.aoutcome(add, 1, 2))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        running.cancel()
        assert pool.call(add, 3, 4) == 7
        # Nobody will ever await it: said so here, or the interpreter does.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()  # type: ignore[union-attr]


def test_a_template_that_does_not_read_is_given_up_and_never_waited_for() -> None:
    confinement = Confinement({}, [], [], 0, 0, 512, 64, 64, 0, 30.0, 30.0, 4, {})
    template = Template(confinement, "stuck")
    ended = threading.Event()

    def restock() -> None:
        try:
            for _ in range(5000):
                template.restock()
                while template._stock:
                    template._stock.popleft().end()
        except OSError:
            ended.set()

    thread = threading.Thread(target=restock, daemon=True)
    thread.start()
    in_time = ended.wait(30)
    template.control_far.shutdown(socket.SHUT_RDWR)  # lets it go, should it wait
    thread.join(10)
    template.end()
    assert in_time


def test_a_view_and_a_submitted_call_keep_the_pool_they_came_from() -> None:
    view = SandboxPool(2, policy=NATIVE).with_options(limits=Limits(wall_s=20))
    future = view.submit(view.load_source(ADD, "add", name="sums"), 1, 2)
    del view
    assert future.result(30) == 3


def test_a_forked_child_can_shut_its_copy_down_and_the_parents_calls_go_on() -> None:
    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load_source(ADD, "add", name="sums")
        assert pool.call(add, 1, 2) == 3
        waiting = pool.submit(pool.load_source(WAIT, "wait", name="waiting"))
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            pool.shutdown()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert pool.call(add, 3, 4) == 7
        waiting.cancel()


def test_a_forked_child_does_not_keep_the_pool_of_a_dead_host_alive() -> None:
    host = """
import os, time
from elf_pysandbox import Policy, SandboxPool
pool = SandboxPool(2, policy=Policy(profile="native"))
add = pool.load_source("def add(a, b):\\n    return a + b\\n", "add", name="sums")
pool.call(add, 1, 2)
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, *pool.process_ids(), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", host], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child, *pids = map(int, process.stdout.readline().split())
        pidfds = [os.pidfd_open(pid) for pid in pids]
        process.kill()
    try:
        gone = [bool(select.select([pidfd], [], [], 20)[0]) for pidfd in pidfds]
    finally:
        os.kill(child, signal.SIGKILL)
        for pidfd in pidfds:
            os.close(pidfd)
    assert gone == [True] * len(pids)


def test_what_cannot_be_passed_on_as_text_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff"
    with open(odd, "wb"):
        monkeypatch.setenv("PYSANDBOX_ODD", os.fsdecode(b"\xff"))
    for policy in (
        Policy(profile="native", files=Files(read=(odd,))),  # type: ignore[arg-type]
        Policy(profile="native", env=("PYSANDBOX_ODD",)),
        Policy(profile="native", env=(os.fsdecode(b"\xff"),)),
        Policy(profile="native", env=("\ud800",)),
    ):
        with SandboxPool(1, policy=policy) as pool, pytest.raises(ConfigurationError, match="UTF-8"):
            pool.call(pool.load_source(ADD, "add", name="sums"), 1, 2)


def test_more_workers_than_any_machine_has_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="max_workers can be 1048576 at most"):
        SandboxPool(1 << 70)


def test_a_host_out_of_descriptors_says_so_and_keeps_its_templates():
    import resource

    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load(f"{MODULE}:add")
        assert pool.call(add, 1) == 2
        before = pool.statistics().restarts
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        statuses = set()
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 2, hard))
        try:
            statuses = {pool.outcome(add, i).status for i in range(40)}
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert statuses <= {"ok", "fault"}
        assert pool.call(add, 1) == 2
        assert pool.statistics().restarts == before
