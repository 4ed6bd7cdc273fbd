"""A thousand calls in flight, each sleeping a second: the wall time of all, the memory of one."""

from __future__ import annotations

import concurrent.futures
import time
from functools import partial

from benchmarks import meters, peers
from benchmarks.harness import Effort, Race
from benchmarks.result import Row, median
from elf_pysandbox import SandboxPool

CALLS = 1000
SLEEP_S = 1.0
HELD_S = 12.0  # the sleep of the round that is weighed: reading 1,000 processes takes a second or two
_PATIENCE_S = 30.0


def measure(effort: Effort) -> list[Row]:
    """Run a warm-up round, timed rounds, and one round that is weighed."""
    race = Race(effort)
    with peers.sandbox(CALLS) as pool:
        _wave(pool, 0.0)
        walls = race.spans({"wave": partial(_ready_wave, pool)}, effort.pick(5, 2))["wave"]
        weighed = _weigh(pool)
    used = walls.summary()
    wall = Row(
        key="crowd_wall",
        title=f"{CALLS:,} calls in flight, each sleeping {SLEEP_S:g} s: wall",
        unit="s",
        ours=median(walls.samples),
        theirs=SLEEP_S,
        peer="the sleep itself",
        ratio=median(walls.samples) / SLEEP_S,
        target=3.0,
        beside={"waves": {"fastest_s": min(walls.samples), "cpu_us_per_call": used["cpu_us"] / CALLS}},
        foreign=race.foreign,
    )
    if weighed is None:
        return [wall]
    return [wall, _memory_row(*weighed)]


def _memory_row(per_call: float, idle: float, processes: int) -> Row:
    return Row(
        key="crowd_memory",
        title="the same: PSS per call in flight",
        unit="MB",
        ours=per_call,
        theirs=1.0,
        peer="1 MB",
        ratio=per_call,
        target=2.0,
        beside={"pool": {"processes": processes, "idle_pool_mb": idle}},
        note="smaps_rollup of zygote, keepers, templates and all workers, summed, over the calls in flight",
    )


def _ready_wave(pool: SandboxPool) -> float:
    """Wait until as many workers are ready as calls will come, then time a wave."""
    end = time.monotonic() + _PATIENCE_S
    while pool.statistics().idle < CALLS and time.monotonic() < end:
        time.sleep(0.1)
    return _wave(pool, SLEEP_S)


def _wave(pool: SandboxPool, sleep_s: float) -> float:
    started = time.perf_counter()
    for future in _submit(pool, sleep_s):
        assert future.result() == sleep_s
    return time.perf_counter() - started


def _submit(pool: SandboxPool, sleep_s: float) -> list[concurrent.futures.Future[float]]:
    tool = f"{peers.TOOLS}:nap"
    return [pool.submit(tool, sleep_s) for _ in range(CALLS)]


def _weigh(pool: SandboxPool) -> tuple[float, float, int] | None:
    """Return MiB of PSS for each call in flight, MiB of a pool at rest, and the number of processes weighed."""
    futures = _submit(pool, HELD_S)
    while sum(future.running() for future in futures) < CALLS:
        time.sleep(0.05)
    pids = meters.descendants(pool.process_ids())
    busy = meters.pss_mb(pids)
    if not all(future.running() for future in futures):
        raise RuntimeError(f"calls ended while they were weighed: a sleep of {HELD_S:g} s is too short here")
    for future in futures:
        future.cancel()
    with peers.sandbox(8) as small:
        idle = meters.pss_mb(meters.descendants(small.process_ids()))
    return None if busy is None or idle is None else (busy / CALLS, idle, len(pids))
