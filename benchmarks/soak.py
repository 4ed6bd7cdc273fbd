"""Many calls under random SIGKILLs of workers, templates and keepers: ``python benchmarks/soak.py --calls 100000``.

What must hold, whoever dies when: each call is settled exactly once, with its own right value or an honest status,
and no call runs twice; at the end no process is left, and descriptors and memory are where they were after the
warm-up. Exit status 1 when any of it does not.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as in run.py

from benchmarks.victims import Striker, processes_below, still_alive, wait_gone
from elf_pysandbox import Files, Limits, Outcome, Policy, SandboxPool

SOURCE = """
import os

def square(i):
    return i * i

def echo(i, data):
    return i, data

def count(i):
    yield from range(1 + i % 50)

def fail(i):
    print("about to fail", i)
    raise ValueError(f"number {i}")

def record(i, path):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b"%d\\n" % i)
    os.close(descriptor)
    return i
"""
FUNCTIONS = ("square", "echo", "count", "fail", "record")
MODULES = 3  # alike but for a comment, so that each has a template of its own
KILLS_PER_CALL = 1 / 40
RESTS = 10  # moments at which nothing is in flight, and descriptors and memory are read
DESCRIPTORS_SLACK = (
    96  # worker channels are stocked in batches: some 24 a template, more where one just started
)
MEMORY_SLACK_MB = 12.0
PATIENCE_S = 120.0
SURVIVAL_S = (
    5.0  # for the processes of a pool that was closed; one that needs any of it is late, later a survivor
)


@dataclass
class Report:
    """What happened; `violations` tells what should not have."""

    calls: int
    in_flight: int
    seed: int
    statuses: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    settled: Counter[int] = field(default_factory=Counter)
    ran: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    descriptors_before: int = 0
    descriptors_after: int = 0
    busy_after: int = 0
    restarts: int = 0
    late: list[int] = field(default_factory=list)
    survivors: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def violations(self) -> list[str]:
        """Return a sentence for each promise that was broken."""
        lost = sum(not self.settled[number] for number in range(self.calls))
        repeated = sum(times > 1 for times in self.settled.values())
        ran_again = sum(times > 1 for times in self.ran.values())
        killed, possible = self.statuses["killed"], self._hits()
        checks = (
            (lost, f"{lost} calls were never settled"),
            (repeated, f"{repeated} calls were settled more than once"),
            (ran_again, f"{ran_again} calls ran more than once"),
            (
                killed > possible,
                f"{killed} calls ended as killed, but no more than {possible} can have been hit",
            ),
            (self.busy_after, f"{self.busy_after} calls are still counted as in flight"),
            (self.late, f"processes were still there when the pool had been closed: {self.late}"),
            (self.survivors, f"processes survived the pool: {self.survivors}"),
            (grows(self.descriptors, DESCRIPTORS_SLACK), f"descriptors grow: {self.descriptors}"),
            (grows(self.memory_mb, MEMORY_SLACK_MB), f"memory grows: {self.memory_mb} MiB"),
            (
                self.descriptors_after != self.descriptors_before,
                f"{self.descriptors_before} descriptors before the pool, {self.descriptors_after} after it",
            ),
        )
        return self.wrong[:20] + [text for broken, text in checks if broken]

    def _hits(self) -> int:
        """Return how many calls can have been in what was killed."""
        return self.kills["worker"] + self.in_flight * (self.kills["template"] + self.kills["keeper"])

    def summary(self) -> str:
        """Return the closing words."""
        kills = ", ".join(f"{count:,} {kind}s" for kind, count in sorted(self.kills.items()))
        ends = ", ".join(f"{count:,} {status}" for status, count in self.statuses.most_common())
        broken = self.violations()
        rate = self.calls / max(self.seconds, 1e-9)
        before, after = self.descriptors_before, self.descriptors_after
        lines = [
            f"{self.calls:,} calls, {self.in_flight} in flight, seed {self.seed}: {self.seconds:.1f} s, {rate:,.0f}/s",
            f"killed: {kills or 'nothing'}; templates and zygotes started anew: {self.restarts:,}",
            f"ended: {ends}",
            f"descriptors at rest: {self.descriptors}; before the pool {before}, after it {after}",
            f"memory at rest, MiB: {self.memory_mb}",
            f"processes still ending when the pool was closed: {len(self.late)}; survivors: {len(self.survivors)}",
            *(f"BROKEN: {sentence}" for sentence in broken),
            "every promise held" if not broken else f"{len(broken)} promises broken",
        ]
        return "\n".join(lines)


def grows(readings: list[Any], slack: float) -> bool:
    """Whether the readings after the warm-up end higher than they began, by more than `slack`.

    The first reading is the warm-up's own.
    """
    later = readings[1:]
    third = max(1, len(later) // 3)
    return bool(later) and min(later[-third:]) > max(later[:third]) + slack


# -- the calls ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """One call to come: which function, with what, and what its outcome must be."""

    function: str
    args: tuple[Any, ...]
    holds: Callable[[Outcome], bool]


def plan(number: int, dice: random.Random, record: str) -> Planned:
    """Choose the call of this number."""
    kind = dice.random()
    if kind < 0.08:
        data = dice.randbytes(dice.choice((10, 1_000, 70_000, 300_000)))
        return Planned("echo", (number, data), lambda end: end.ok and end.value == (number, data))
    if kind < 0.16:
        return Planned("count", (number,), lambda end: end.ok and end.value == list(range(1 + number % 50)))
    if kind < 0.24:
        return Planned("fail", (number,), lambda end: _failed_as_planned(end, number))
    if kind < 0.44:
        return Planned("record", (number, record), lambda end: end.ok and end.value == number)
    return Planned("square", (number,), lambda end: end.ok and end.value == number * number)


def _failed_as_planned(end: Outcome, number: int) -> bool:
    right_error = isinstance(end.error, ValueError) and str(end.error) == f"number {number}"
    return end.status == "raised" and right_error and end.stdout == f"about to fail {number}\n"


class Soak:
    """Makes the calls, strikes now and then, and writes down how each call ended."""

    def __init__(self, pool: SandboxPool, report: Report, record: str) -> None:
        self._pool, self._report, self._record = pool, report, record
        self._dice = random.Random(report.seed)
        self._striker = Striker(pool, self._dice)
        self._free = threading.Semaphore(report.in_flight)
        self._lock = threading.Lock()
        self._tools = {
            (place, name): pool.load_source(f"{SOURCE}# module {place}\n", name, name=f"soaked_{place}")
            for place in range(MODULES)
            for name in FUNCTIONS
        }

    def run(self, progress: Callable[[str], None]) -> None:
        """Make all calls, with rests between."""
        calls = self._report.calls
        for rest in range(RESTS):
            for number in range(calls * rest // RESTS, calls * (rest + 1) // RESTS):
                self._submit(number)
                if self._dice.random() < KILLS_PER_CALL:
                    self._strike()
            self._rest()
            ends = dict(self._report.statuses)
            progress(
                f"{calls * (rest + 1) // RESTS:,} of {calls:,}: {ends}, {self._report.descriptors[-1]} descriptors"
            )

    def _strike(self) -> None:
        victim = self._striker.strike()
        if victim is not None:
            self._report.kills[victim] += 1

    def seen(self) -> set[tuple[int, str]]:
        """Return every process of the pool that was ever noticed."""
        return self._striker.seen

    def _submit(self, number: int) -> None:
        planned = plan(number, self._dice, self._record)
        tool = self._tools[self._dice.randrange(MODULES), planned.function]
        self._free.acquire()
        future = self._pool.submit_outcome(tool, *planned.args)
        future.add_done_callback(lambda done: self._settle(number, planned, done))

    def _settle(self, number: int, planned: Planned, done: Future[Outcome]) -> None:
        outcome = done.result()
        right = planned.holds(outcome) or outcome.status == "killed"
        with self._lock:
            self._report.settled[number] += 1
            self._report.statuses[outcome.status] += 1
            if not right:
                text = f"call {number}, {planned.function}: {outcome.status}, {outcome.error or outcome.value!r:.80}"
                self._report.wrong.append(text)
        self._free.release()

    def _rest(self) -> None:
        """Wait until nothing is in flight, and read what should not grow."""
        for _ in range(self._report.in_flight):
            if not self._free.acquire(timeout=PATIENCE_S):
                raise TimeoutError("calls are in flight that never end")
        gc.collect()
        self._report.descriptors.append(len(os.listdir("/proc/self/fd")))
        self._report.memory_mb.append(round(resident_mb(), 1))
        self._striker.seen |= processes_below(self._pool.process_ids())
        for _ in range(self._report.in_flight):
            self._free.release()


def resident_mb() -> float:
    """Return the resident memory of this process in MiB (proc(5), statm)."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def soak(
    calls: int, in_flight: int = 128, seed: int = 1, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Soak a pool of its own; the report tells what happened."""
    report = Report(calls, in_flight, seed)
    report.descriptors_before = len(os.listdir("/proc/self/fd"))
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="soak-") as record:
        os.chmod(record.name, 0o666)  # the tool is not this user
        policy = Policy(profile="native", files=Files(write=(record.name,)))
        limits = Limits(wall_s=PATIENCE_S, cpu_s=PATIENCE_S, load_s=PATIENCE_S, queue_s=PATIENCE_S)
        with SandboxPool(in_flight, policy=policy, limits=limits) as pool:
            run = Soak(pool, report, record.name)
            run.run(progress)
            statistics = pool.statistics()
            report.busy_after, report.restarts = statistics.busy + statistics.queued, statistics.restarts
        report.late = still_alive(run.seen())
        report.survivors = wait_gone(run.seen(), SURVIVAL_S)
        report.ran.update(int(line) for line in record.read().split())
    report.seconds = time.monotonic() - started
    report.descriptors_after = len(os.listdir("/proc/self/fd"))
    return report


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    report = soak(
        options.calls, options.in_flight, options.seed, lambda text: print(text, file=sys.stderr, flush=True)
    )
    print(report.summary())
    return bool(report.violations())


if __name__ == "__main__":
    sys.exit(main())
