"""Taking turns: every contestant runs in short blocks, A B C, C B A, ..., so that noise hits all alike.

What a contestant does off the path (a pool that starts the next worker) must not fall into another's block: after
each block there is a pause, and the CPU time of a block is read after it.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.meters import CpuMeter, machine_seconds
from benchmarks.result import median, quantile

PAUSE_S = 0.05
SETTLE_CALLS = 3  # of each block, not counted: caches and the scheduler still belong to who was there before


@dataclass
class Track:
    """What one contestant did, by rounds."""

    rounds: list[list[float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    calls: int = 0
    cpu_s: float = 0.0

    @property
    def samples(self) -> list[float]:
        """Seconds of each call, of all rounds."""
        return [sample for one in self.rounds for sample in one]

    def summary(self) -> dict[str, float]:
        """Return the figures for the JSON: times in milliseconds, CPU in microseconds a call."""
        found: dict[str, float] = {"calls": self.calls}
        if self.rounds:
            samples = self.samples
            for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99)):
                found[name] = quantile(samples, share) * 1e3
        if self.rates:
            found["per_s"] = median(self.rates)
            found["best_per_s"] = max(self.rates)
        if self.calls:
            found["cpu_us"] = self.cpu_s / self.calls * 1e6
        return found


@dataclass
class Effort:
    """How much is measured, and the meter it is measured with."""

    quick: bool
    meter: CpuMeter

    def pick(self, full: int, quick: int) -> int:
        """Return the number for this run."""
        return quick if self.quick else full


class Race:
    """Runs blocks of contestants in turns.

    Parameters
    ----------
    effort : Effort
    """

    def __init__(self, effort: Effort) -> None:
        self._meter = effort.meter
        self._wall = self._machine = self._own = 0.0

    @property
    def foreign(self) -> float:
        """Share of the machine, 0 to 1, that others used while blocks ran."""
        if not self._wall:
            return 0.0
        return max(0.0, self._machine - self._own) / (self._wall * (os.cpu_count() or 1))

    def latencies(
        self, contestants: Mapping[str, Callable[[], object]], rounds: int, calls: int, every_s: float = 0.0
    ) -> dict[str, Track]:
        """Time single calls, one every `every_s` seconds, in blocks of `calls`."""

        def block(track: Track, call: Callable[[], object]) -> None:
            samples = _timed(call, calls + SETTLE_CALLS, every_s)
            track.rounds.append(samples[SETTLE_CALLS:])
            track.calls += len(samples)

        return self._run(contestants, rounds, block)

    def rates(
        self, contestants: Mapping[str, Callable[[float], int]], rounds: int, seconds: float
    ) -> dict[str, Track]:
        """Count calls per second in blocks of `seconds`; a contestant returns how many it made."""

        def block(track: Track, burst: Callable[[float], int]) -> None:
            started = time.perf_counter()
            count = burst(seconds)
            track.rates.append(count / (time.perf_counter() - started))
            track.calls += count

        return self._run(contestants, rounds, block)

    def spans(
        self, contestants: Mapping[str, Callable[[], float]], rounds: int, calls: int = 1
    ) -> dict[str, Track]:
        """Let contestants time themselves: each returns the seconds of one call."""

        def block(track: Track, call: Callable[[], float]) -> None:
            track.rounds.append([call() for _ in range(calls)])
            track.calls += calls

        return self._run(contestants, rounds, block)

    def _run(
        self, contestants: Mapping[str, Any], rounds: int, block: Callable[[Track, Any], None]
    ) -> dict[str, Track]:
        tracks = {name: Track() for name in contestants}
        order = list(contestants)
        for _ in range(rounds):
            for name in order:
                self._metered(tracks[name], contestants[name], block)
            order.reverse()
        return tracks

    def _metered(self, track: Track, what: Any, block: Callable[[Track, Any], None]) -> None:
        gc.collect()
        time.sleep(PAUSE_S)
        wall, machine, own = time.perf_counter(), machine_seconds(), self._meter.read()
        block(track, what)
        time.sleep(PAUSE_S)
        used = self._meter.read() - own
        track.cpu_s += used
        self._own += used
        self._machine += machine_seconds() - machine
        self._wall += time.perf_counter() - wall


def _timed(call: Callable[[], object], count: int, every_s: float) -> list[float]:
    clock, samples = time.perf_counter, []
    due = clock()
    for _ in range(count):
        if every_s:
            due += every_s
            time.sleep(max(0.0, due - clock()))
        started = clock()
        call()
        samples.append(clock() - started)
    return samples


def paired(ours: Track, theirs: Track, share: float = 0.5) -> float:
    """Return the median of the rounds' ratios: a slow minute of the machine is slow for both."""
    if ours.rates:
        return median([mine / his for mine, his in zip(ours.rates, theirs.rates, strict=True)])
    pairs = zip(ours.rounds, theirs.rounds, strict=True)
    return median([quantile(mine, share) / quantile(his, share) for mine, his in pairs])
