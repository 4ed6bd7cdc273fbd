"""Ctrl-C wherever the synchronous face waits: the call is over, its place is free, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.victims import processes_below, still_alive, wait_gone
from elf_pysandbox import Limits, Policy, SandboxPool

NATIVE = Policy(profile="native")
SOURCE = """
import time
def add(a, b=1):
    return a + b
def wait(seconds=60):
    time.sleep(seconds)
    return seconds
def count(n):
    yield from range(n)
    time.sleep(60)
"""
SLOW = "import time\ntime.sleep(60)\n" + SOURCE


def test_a_pool_that_is_not_finished_leaves_no_process_and_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def strike() -> None:
        raise KeyboardInterrupt

    SandboxPool(1).shutdown()
    before = set(os.listdir("/proc/self/fd")), processes_below([os.getpid()])
    for place in ("_pool._become_executor", "_ahead.ask_for", "_host.zygotes.Zygote.__init__"):
        with monkeypatch.context() as patch:
            patch.setattr(f"elf_pysandbox.{place}", lambda *_: strike())
            with pytest.raises(KeyboardInterrupt):
                SandboxPool(1)
        assert (set(os.listdir("/proc/self/fd")), processes_below([os.getpid()])) == before


@contextmanager
def interrupted() -> Iterator[None]:
    """Send SIGINT once this thread waits in the kernel for something that is not the interpreter's own lock."""
    thread, done = threading.get_native_id(), threading.Event()

    def strike() -> None:
        seen = 0
        while seen < 50 and not done.is_set():
            # So many looks in a row: not the interpreter's lock, nor a moment of waiting before the one that is meant.
            with open(f"/proc/self/task/{thread}/stat", encoding="ascii") as stream:
                seen = seen + 1 if stream.read().rpartition(")")[2].split()[0] == "S" else 0
            time.sleep(0.002)
        if not done.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    striker = threading.Thread(target=strike)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    striker.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        done.set()
        striker.join()
        signal.signal(signal.SIGINT, before)


def doors(pool: SandboxPool) -> dict[str, Callable[[], object]]:
    add, wait, count = (pool.load_source(SOURCE, name, name="tools") for name in ("add", "wait", "count"))
    slow = pool.load_source(SLOW, "add", name="slow")
    return {
        "call": lambda: pool.call(wait),
        "loading": lambda: pool.call(slow, 1),
        "stream": lambda: list(pool.stream(count, 3)),
        "map": lambda: list(pool.map(wait, [60, 60, 60])),
        "result": lambda: pool.submit(wait).result(),
        "behind": lambda: (pool.submit(wait), pool.call(add, 1)),
    }


@pytest.mark.parametrize("door", ["call", "loading", "stream", "map", "result", "behind"])
def test_a_pool_serves_on_after_ctrl_c_and_keeps_nothing(door: str) -> None:
    with SandboxPool(1, policy=NATIVE, limits=Limits(queue_s=30)) as pool:
        add = pool.load_source(SOURCE, "add", name="tools")
        assert pool.call(add, 1) == 2
        with interrupted():
            doors(pool)[door]()
        for future in list(pool._calls.pending):
            future.cancel()  # what was submitted goes on, as with any executor
        assert pool.call(add, 1) == 2
        assert pool.statistics().busy == pool.statistics().queued == 0
        assert not pool._calls.engine._leased
        everything = processes_below(pool.process_ids())
    assert still_alive(everything) == []


def test_ctrl_c_while_a_pool_waits_for_its_calls_leaves_it_to_the_next_close() -> None:
    before = set(os.listdir("/proc/self/fd"))
    pool = SandboxPool(1, policy=NATIVE)
    future = pool.submit(pool.load_source(SOURCE, "wait", name="tools"))
    while not future.running():
        pass
    everything = processes_below(pool.process_ids())
    with interrupted():
        pool.shutdown()
    future.cancel()
    pool.shutdown()
    assert still_alive(everything) == []
    assert set(os.listdir("/proc/self/fd")) == before


HOST = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from benchmarks.victims import processes_below
from elf_pysandbox import Limits, Policy, SandboxPool
SOURCE = {SOURCE!r}
pool = SandboxPool(4, policy=Policy(profile="native"), limits=Limits(wall_s=5))
add, wait, count = (pool.load_source(SOURCE, name, name="tools") for name in ("add", "wait", "count"))
pool.call(add, 1)
futures = [pool.submit(wait, 120)]
threading.Thread(target=pool.outcome, args=(wait, 120), daemon=True).start()
stream = pool.stream(count, 3)
next(stream)
while pool.statistics().busy < 3 or not futures[0].running():
    time.sleep(0.01)
print(*(f"{{pid}}:{{birth}}" for pid, birth in processes_below(pool.process_ids())), flush=True)
"""
ENDS = {
    "end of the program": "",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise ValueError('end')",
    "os._exit": "os._exit(0)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "SIGSEGV": "os.kill(os.getpid(), signal.SIGSEGV); time.sleep(60)",
    "a call at exit": "import atexit; atexit.register(lambda: print(pool.outcome(add, 1).status))",
    "a pool in a cycle": "ring = [pool, stream]; ring.append(ring); del pool, stream, ring",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_host_that_ends_with_calls_in_flight_leaves_no_process(end: str) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST + ENDS[end]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with host:
        assert host.stdout is not None and host.stderr is not None
        everything = {
            (int(pid), birth)
            for pid, _, birth in (word.partition(":") for word in host.stdout.readline().split())
        }
        hung = threading.Timer(60, host.kill)
        hung.start()
        # Not communicate(): what the stream had read ahead of the first line's end would be lost.
        rest, errors = host.stdout.read(), host.stderr.read()
        hung.cancel()
        host.kill()
    assert len(everything) >= 6
    assert wait_gone(everything, 20) == []
    if end not in ("an exception", "SIGINT"):
        assert errors == "", errors
    if end == "a call at exit":
        assert rest.strip() == "ok"


SUBMITS = f"""
from elf_pysandbox import Policy, SandboxPool
pool = SandboxPool(2, policy=Policy(profile="native"))
add = pool.load_source({SOURCE!r}, "add", name="tools")
for number in range(20):
    pool.submit(add, number).add_done_callback(lambda done: print(done.result(), flush=True))
"""


@pytest.mark.parametrize("end", ["", "pool.shutdown(wait=False)", "raise SystemExit(3)"])
def test_submitted_calls_are_made_before_the_program_ends_as_an_executor_promises(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SUBMITS + end], capture_output=True, text=True, timeout=60, check=False
    )
    assert sorted(map(int, done.stdout.split())) == list(range(1, 21)), done.stderr
    assert done.stderr == ""
