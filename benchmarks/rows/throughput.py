"""No-op calls as fast as they go: against the price of a process, and against a pool that reuses them."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import peers, tools
from benchmarks.harness import Effort, Race, Track, paired
from benchmarks.result import Row, median

ONE, MANY = "back to back", "128 in flight"
FORKS = "fork, _exit, wait"
EXECUTOR_ONE, EXECUTOR_MANY = "ProcessPoolExecutor, back to back", "ProcessPoolExecutor, 128 in flight"
REUSED_ONE, REUSED_MANY = "calls_per_worker=100, back to back", "calls_per_worker=100, 128 in flight"


def measure(effort: Effort) -> list[Row]:
    """Count calls per second."""
    race = Race(effort)
    with ExitStack() as stack:
        executor = stack.enter_context(peers.executor())
        forks = stack.enter_context(peers.bare_forks())
        fresh = stack.enter_context(peers.sandbox())
        reused = stack.enter_context(peers.sandbox(calls_per_worker=100))
        target = f"{peers.TOOLS}:noop"
        tool, other = fresh.load(target), reused.load(target)
        contestants = {
            FORKS: forks,
            ONE: peers.back_to_back(lambda: fresh.call(tool)),
            MANY: peers.in_flight(lambda: fresh.submit(tool)),
            EXECUTOR_ONE: peers.back_to_back(lambda: executor.submit(tools.noop).result()),
            REUSED_ONE: peers.back_to_back(lambda: reused.call(other)),
            EXECUTOR_MANY: peers.in_flight(lambda: executor.submit(tools.noop)),
            REUSED_MANY: peers.in_flight(lambda: reused.submit(other)),
        }
        tracks = race.rates(contestants, effort.pick(14, 4), 1.0 if not effort.quick else 0.5)
    return _rows(tracks, race.foreign)


def _rows(tracks: dict[str, Track], foreign: float) -> list[Row]:
    beside = {name: track.summary() for name, track in tracks.items()}
    forks = f"bare fork, _exit, wait of an equal process on {peers.CORES} cores"
    plan = [
        ("sync", "back to back, fresh process per call", ONE, FORKS, forks, 0.5),
        ("in_flight", "128 in flight, fresh process per call", MANY, FORKS, forks, 0.5),
        (
            "sync_100",
            "back to back, calls_per_worker=100",
            REUSED_ONE,
            EXECUTOR_ONE,
            "ProcessPoolExecutor",
            1.0,
        ),
        (
            "in_flight_100",
            "128 in flight, calls_per_worker=100",
            REUSED_MANY,
            EXECUTOR_MANY,
            "ProcessPoolExecutor",
            1.0,
        ),
    ]
    return [
        Row(
            key=key,
            title=title,
            unit="/s",
            ours=median(tracks[mine].rates),
            theirs=median(tracks[his].rates),
            peer=peer,
            ratio=paired(tracks[mine], tracks[his]),
            target=target,
            sense="at least",
            beside=beside if key == "sync" else {},
            foreign=foreign,
        )
        for key, title, mine, his, peer, target in plan
    ]
