"""Tools that are not a no-op of one line: a module that imports pandas, and modules never seen before."""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import peers
from benchmarks.harness import Effort, Race, Track, paired
from benchmarks.result import Row, quantile
from elf_pysandbox import SandboxPool

EVERY_S = 0.02
REST_S = 0.25  # between two new tools: people and agents do not write ten a second
PANDAS = str(Path(__file__).parent.parent / "tools_pandas.py")
_fresh = itertools.count()


def measure(effort: Effort) -> list[Row]:
    """Time later calls of a pandas tool, then first calls of new tools."""
    with ExitStack() as stack:
        pool = stack.enter_context(peers.sandbox(memory_mb=1024))
        return [_later_calls(effort, pool), _first_calls(effort, pool)]


def _later_calls(effort: Effort, pool: SandboxPool) -> Row:
    plain, pandas = pool.load(f"{peers.TOOLS}:noop"), pool.load(f"{PANDAS}:noop")
    total = pool.load(f"{PANDAS}:total")
    assert pool.call(total) == 10.0
    race = Race(effort)
    contestants = {
        "no-op": lambda: pool.call(plain),
        "no-op beside pandas": lambda: pool.call(pandas),
        "sum of a column": lambda: pool.call(total),
    }
    tracks = race.latencies(contestants, effort.pick(16, 5), effort.pick(40, 20), EVERY_S)
    mine, base = tracks["no-op beside pandas"], tracks["no-op"]
    return Row(
        key="pandas",
        title="a tool that imports pandas, later calls: p50",
        unit="ms",
        ours=quantile(mine.samples, 0.5) * 1e3,
        theirs=quantile(base.samples, 0.5) * 1e3,
        peer="no-op paced alike",
        ratio=paired(mine, base),
        target=2.0,
        beside={name: track.summary() for name, track in tracks.items()},
        foreign=race.foreign,
    )


def _first_calls(effort: Effort, pool: SandboxPool) -> Row:
    def first_call() -> float:
        time.sleep(REST_S)
        number = next(_fresh)
        source = f"NUMBER = {number}\n\ndef tool():\n    return NUMBER\n"
        started = time.perf_counter()
        value = pool.call(pool.load_source(source, "tool", name=f"new_{number}"))
        spent = time.perf_counter() - started
        assert value == number
        return spent

    race = Race(effort)
    contestants = {"first call": first_call, "python -c pass": python_pass}
    first_call()
    tracks = race.spans(contestants, effort.pick(12, 4), effort.pick(5, 5))
    mine, base = tracks["first call"], tracks["python -c pass"]
    p50 = quantile(mine.samples, 0.5) * 1e3
    return _first_row(p50, mine, base, race.foreign)


def _first_row(p50: float, mine: Track, base: Track, foreign: float) -> Row:
    return Row(
        key="first_call",
        title="a new tool's first call on a warm pool: p50",
        unit="ms",
        ours=p50,
        theirs=20.0,
        peer="20 ms",
        ratio=p50 / 20.0,
        target=1.0,
        beside={"first call": mine.summary(), "python -c pass": base.summary()},
        foreign=foreign,
    )


def python_pass() -> float:
    """Time the same interpreter doing nothing."""
    import subprocess

    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started
