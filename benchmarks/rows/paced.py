"""No-op calls at the pace of an agent: one every 20 ms, a fresh confined process for each of ours."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import peers, tools
from benchmarks.harness import Effort, Race, Track, paired
from benchmarks.result import Row, quantile

EVERY_S = 0.02
OURS, EXECUTOR = "elf_pysandbox", "ProcessPoolExecutor"


def measure(effort: Effort) -> list[Row]:
    """Time ours beside four other pools."""
    race = Race(effort)
    with ExitStack() as stack:
        executor = stack.enter_context(peers.executor())
        others = {
            "pebble": stack.enter_context(peers.pebble_noop()),
            "loky": stack.enter_context(peers.loky_noop()),
            "pydantic-monty": stack.enter_context(peers.monty_noop()),
            "pydantic-monty, process per call": stack.enter_context(peers.monty_noop(1)),
        }
        pool = stack.enter_context(peers.sandbox())
        tool = pool.load(f"{peers.TOOLS}:noop")
        contestants = {
            OURS: lambda: pool.call(tool),
            EXECUTOR: lambda: executor.submit(tools.noop).result(),
            **others,
        }
        tracks = race.latencies(contestants, effort.pick(24, 5), effort.pick(40, 20), EVERY_S)
    return _rows(tracks, race.foreign)


def _rows(tracks: dict[str, Track], foreign: float) -> list[Row]:
    ours, theirs = tracks[OURS], tracks[EXECUTOR]
    p50, p99 = (quantile(ours.samples, share) * 1e3 for share in (0.5, 0.99))
    return [
        Row(
            key="paced_p50",
            title="no-op, one every 20 ms, fresh process per call: p50",
            unit="ms",
            ours=p50,
            theirs=quantile(theirs.samples, 0.5) * 1e3,
            peer="ProcessPoolExecutor (reused processes)",
            ratio=paired(ours, theirs),
            target=1.0,
            beside={name: track.summary() for name, track in tracks.items()},
            foreign=foreign,
        ),
        Row(
            key="paced_p99",
            title="the same: p99",
            unit="ms",
            ours=p99,
            theirs=p50,
            peer="own p50",
            ratio=p99 / p50,
            target=5.0,
            note=f"ProcessPoolExecutor's own: {quantile(theirs.samples, 0.99) / quantile(theirs.samples, 0.5):.1f} x",
            foreign=foreign,
        ),
    ]
