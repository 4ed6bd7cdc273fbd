"""Deaths of every process at every phase: each costs at most its own call, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from tests.processes import descendants, survivors

MODULE = "fixtures/engine/behaviours.py"
NATIVE = Policy(profile="native")


def processes_of(pool: SandboxPool) -> set[int]:
    """Return the pids of the pool's zygotes and keepers and everything below them, templates and workers included."""
    own = pool.process_ids()
    return {pid for pid in own if os.path.exists(f"/proc/{pid}")} | descendants(*own)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def templates_of(pool: SandboxPool) -> list[int]:
    """The pids of templates: the pool names zygotes first."""
    zygotes = {pid for pid in pool.process_ids() if _parent(pid) == os.getpid()}
    return [pid for pid in pool.process_ids() if pid not in zygotes]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:
        return [int(word) for word in stream.read().split()]


def test_closing_the_pool_leaves_no_process_and_no_descriptor():
    """In a process of its own: pools of other tests take descriptors and let go of them meanwhile."""
    code = f"""
import os
from elf_pysandbox import SandboxPool
from tests.pool.test_reliability import NATIVE, processes_of
from tests.processes import survivors
before = set(os.listdir("/proc/self/fd"))
with SandboxPool(4, policy=NATIVE) as pool:
    assert pool.call("{MODULE}:add", 1) == 2
    list(pool.map("{MODULE}:add", range(20)))
    pids = processes_of(pool)
    inside = set(os.listdir("/proc/self/fd"))
print(len(pids) >= 3, inside > before, survivors(pids), set(os.listdir("/proc/self/fd")) == before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True True set() True\n", "")


def test_killing_the_host_leaves_no_process():
    script = f"""
import sys
from elf_pysandbox import SandboxPool, Policy
sys.path.insert(0, "tests/pool")
from test_reliability import processes_of
pool = SandboxPool(2, policy=Policy(profile="native"))
pool.submit({MODULE + ":wait_for_ever"!r})
pool.call({MODULE + ":add"!r}, 1)
print(*processes_of(pool), flush=True)
sys.stdin.read()
"""
    host = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    with host:
        pids = {int(word) for word in host.stdout.readline().split()}
        assert len(pids) >= 4
        host.kill()
    assert survivors(pids) == set()


def test_a_killed_idle_worker_costs_no_call():
    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load(f"{MODULE}:add")
        assert pool.call(add, 1) == 2
        for template in templates_of(pool):
            for worker in children_of(template):
                kill(worker)
        assert [pool.outcome(add, i).status for i in range(6)] == ["ok"] * 6


def test_a_killed_idle_template_costs_no_call():
    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load(f"{MODULE}:add")
        for _ in range(3):
            assert pool.call(add, 1) == 2
            templates = set(templates_of(pool))
            for template in templates:
                kill(template)
            # A call that reaches a worker in the moment between its template's death and its own is lost.
            assert survivors(templates) == set()


def test_a_killed_zygote_costs_no_call_and_is_replaced():
    with SandboxPool(2, policy=NATIVE) as pool:
        add = pool.load(f"{MODULE}:add")
        running = pool.submit(f"{MODULE}:sleep", 0.5)
        assert pool.call(add, 1) == 2
        for pid in pool.process_ids():
            if _parent(pid) == os.getpid():
                kill(pid)
        assert pool.call(add, 2) == 3
        other = pool.load_source("def f(): return 'fresh'", "f", name="another")
        assert pool.call(other) == "fresh"
        assert running.result() == 0.5
        assert pool.statistics().restarts >= 1


def running_worker(pool: SandboxPool) -> int:
    """Return the pid of the one worker that runs `wait_for_ever`-like code, seen from the host."""
    while True:
        for template in templates_of(pool):
            for worker in children_of(template):
                with open(f"/proc/{worker}/wchan", encoding="ascii") as stream:
                    if "nanosleep" in stream.read():
                        return worker


def test_a_worker_killed_in_its_call_is_told_as_killed():
    with SandboxPool(2, policy=NATIVE) as pool:
        future = pool.submit_outcome(f"{MODULE}:wait_for_ever")
        os.kill(running_worker(pool), signal.SIGKILL)
        outcome = future.result(10)
        assert outcome.status == "killed"
        assert outcome.retryable
        assert pool.call(f"{MODULE}:add", 1) == 2


def test_a_template_killed_under_a_call_ends_that_call_as_killed():
    with SandboxPool(2, policy=NATIVE) as pool:
        future = pool.submit_outcome(f"{MODULE}:wait_for_ever")
        running_worker(pool)
        for template in templates_of(pool):
            kill(template)
        assert future.result(10).status == "killed"
        assert pool.call(f"{MODULE}:add", 1) == 2


def test_a_template_that_a_thread_of_its_module_ends_under_a_call_is_told_as_that():
    source = """
import os, threading, time
threading.Timer(1, os._exit, [7]).start()  # one that comes too early for the call costs another template
def run():
    time.sleep(60)
"""
    with SandboxPool(2, policy=NATIVE) as pool:
        outcome = pool.outcome(pool.load_source(source, "run"))
        assert (outcome.status, outcome.retryable) == ("crashed", False)
        assert "exited by itself with code 7" in str(outcome.error)
        assert pool.call(f"{MODULE}:add", 1) == 2


@pytest.mark.parametrize(
    "close", ["os.close(3)", "socket.socket(fileno=3).shutdown(socket.SHUT_WR)"], ids=["closed", "shut"]
)
def test_a_worker_that_closes_its_channel_and_lives_on_is_killed_and_told_as_that(close):
    source = f"import os, socket, time\ndef run():\n    {close}\n    time.sleep(60)\n"
    with SandboxPool(1, policy=NATIVE) as pool:
        outcome = pool.outcome(pool.load_source(source, "run"))
        assert outcome.status == "crashed"
        assert "closed its channel" in str(outcome.error)
        assert pool.call(f"{MODULE}:add", 1) == 2


def test_a_stopped_worker_is_ended_by_the_wall_limit():
    with SandboxPool(2, policy=NATIVE, limits=Limits(wall_s=1)) as pool:
        future = pool.submit_outcome(f"{MODULE}:wait_for_ever")
        os.kill(running_worker(pool), signal.SIGSTOP)
        assert future.result(10).status == "timeout"


def test_random_kills_settle_every_call_exactly_once():
    settled: list[str] = []
    lock = threading.Lock()
    dice = random.Random(7)
    with SandboxPool(16, policy=NATIVE) as pool:
        add = pool.load(f"{MODULE}:add")
        pool.call(add, 0)
        stop = threading.Event()
        due = threading.Semaphore(0)

        def chaos() -> None:
            while due.acquire() and not stop.is_set():
                templates = templates_of(pool)
                if templates and dice.random() < 0.2:
                    kill(dice.choice(templates))
                elif templates:
                    try:
                        workers = children_of(dice.choice(templates))
                    except OSError:
                        continue
                    if workers:
                        kill(dice.choice(workers))

        killer = threading.Thread(target=chaos)
        killer.start()
        futures = [pool.submit_outcome(add, i) for i in range(600)]

        def settle(future) -> None:
            with lock:
                settled.append(future.result().status)
                if len(settled) % 20 == 0:
                    due.release()  # so many kills a call, however fast the machine is

        for future in futures:
            future.add_done_callback(settle)
        outcomes = [future.result(60) for future in futures]
        stop.set()
        due.release()
        killer.join()
        pids = processes_of(pool)
        assert [o.value for o in outcomes if o.ok] == [i + 1 for i, o in enumerate(outcomes) if o.ok]
        assert {o.status: str(o.error) for o in outcomes if o.status not in ("ok", "killed")} == {}
        assert len(settled) == 600
        assert settled.count("ok") >= 400
        assert pool.statistics().busy == 0
    assert survivors(pids) == set()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1 << 20, 20 << 20])
def test_bytes_of_any_size_cross_both_ways_unchanged(native_pool, size):
    data = random.Random(size).randbytes(size)
    assert native_pool.call(f"{MODULE}:echo", data) == data


def test_a_module_of_absurd_size_loads_or_says_why_not(native_pool):
    source = "def f(): return 1\n" + "# " + "x" * (5 << 20) + "\n"
    assert native_pool.call(native_pool.load_source(source, "f", name="long")) == 1
    wide = native_pool.load_source(
        "\n".join(f"v{i} = {i}" for i in range(50_000)) + "\ndef f(): return v7", "f", name="wide"
    )
    assert native_pool.outcome(wide).status in ("ok", "load_failed", "memory_limit")


def test_a_burst_leaves_few_idle_workers_behind():
    with SandboxPool(64, policy=NATIVE) as pool:
        sleep = pool.load(f"{MODULE}:sleep")
        for _ in range(10):  # the supervisor trims by itself every 5 s, which may be just after a burst
            for future in [pool.submit(sleep, 0.2) for _ in range(64)]:
                future.result()
            if pool.statistics().idle > 4:
                break
        else:
            pytest.fail("no burst left idle workers behind")
        pool._calls.engine.trim()
        assert wait_idle_at_most(pool, 4)
        assert pool.call(sleep, 0) == 0


def wait_idle_at_most(pool: SandboxPool, count: int) -> bool:
    end = time.monotonic() + 10
    while pool.statistics().idle > count and time.monotonic() < end:
        pass
    return pool.statistics().idle <= count


def test_a_child_of_a_child_keeps_the_files_that_took_the_numbers_of_the_pools() -> None:
    with SandboxPool(1, policy=Policy(profile="native")) as pool:
        assert pool.call(pool.load_source("def one(): return 1\n", "one")) == 1
        child = os.fork()
        if child == 0:
            lost = 99
            try:
                opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(40)]
                grandchild = os.fork()
                if grandchild == 0:
                    os._exit(sum(not os.path.exists(f"/proc/self/fd/{number}") for number in opened))
                lost = os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
            finally:
                os._exit(lost)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
