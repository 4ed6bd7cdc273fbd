"""The calls that a profile is made of.

Each kind of figure comes from calls of its own: clocks first, with nothing else switched on; then stacks;
then memory. Every call is a fresh process, so a tool with state is measured in the state right after its
import.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from elf_pysandbox import CallError, Outcome, SandboxPool
from elf_pysandbox._profile.model import AllocatedLine, Distribution, Phases, Profile, Report, Stack

ENOUGH_SAMPLES = 200
"""Looks at the stack below which shares of a few per cent are noise."""
_SHORT_S = 0.003
_SAMPLING_BUDGET_S = 3.0
_INTERVAL_S = 0.001


def profile(
    pool: SandboxPool,
    tool: Any,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    *,
    repeat: int = 20,
) -> Profile:
    """Measure a tool.

    Parameters
    ----------
    pool : SandboxPool
    tool : Tool
    args, kwargs
        Arguments of every call.
    repeat : int
        Calls whose clocks are read.

    Raises
    ------
    CallError
        A call did not end `ok`: there is nothing to measure in one that fails.
    """
    runner = _Runner(pool, tool, tuple(args), kwargs or {})
    start = time.perf_counter()
    runner.report(mode="time")
    load_s = time.perf_counter() - start
    phases, cpu = runner.clocks(repeat)
    run_s = phases.run.percentile(50)
    mode, samples, stacks = runner.stacks(run_s)
    peak_bytes, allocated, note = runner.memory()
    files = [(tool.context.path, tool.context.source_bytes)]
    files += [(sibling.path, sibling.source) for sibling in tool.context.siblings]
    return Profile(
        target=f"{tool.context.name}:{tool.path}",
        mode=mode,
        samples=samples,
        stacks=stacks,
        phases=phases,
        wall_s=run_s,
        cpu_s=cpu,
        peak_memory_mb=runner.peak_memory_mb,
        peak_bytes=peak_bytes,
        allocated=allocated,
        load_s=load_s,
        note=note,
        sources={path: source.decode("utf-8", "replace").splitlines() for path, source in files},
    )


class _Runner:
    """Makes the measured calls of one tool."""

    def __init__(self, pool: SandboxPool, tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._pool, self._tool, self._args, self._kwargs = pool, tool, args, kwargs
        self.peak_memory_mb = 0.0

    def _outcome(self, **options: str) -> Outcome:
        outcome = self._pool.operation("profile", self._tool, self._args, self._kwargs, **options)
        outcome.unwrap()
        return outcome

    def report(self, **options: str) -> Report:
        """Make one call and return its report."""
        return Report(self._outcome(**options).value)

    def clocks(self, repeat: int) -> tuple[Phases, float]:
        """Read the clocks of `repeat` calls; return the phases and the median CPU seconds."""
        rows: list[tuple[float, float, float, float, float]] = []
        cpu = []
        for _ in range(max(repeat, 1)):
            start = time.perf_counter()
            outcome = self._outcome(mode="time")
            total = time.perf_counter() - start
            report = Report(outcome.value)
            run, usage = report.number("run_s"), outcome.usage
            cpu.append(report.number("cpu_s"))
            self.peak_memory_mb = max(self.peak_memory_mb, usage.peak_memory_mb)
            prepare = max(total - usage.queue_s - usage.wall_s, 0.0)
            here = report.number("here_s")
            carry = max(usage.wall_s - here, 0.0)
            # The time of the measuring itself belongs to no phase.
            rows.append((prepare, usage.queue_s, carry, run, max(total - here + run, run)))
        columns = [Distribution.of(column) for column in zip(*rows, strict=True)]
        return Phases(*columns), median(cpu)

    def memory(self) -> tuple[int, tuple[AllocatedLine, ...], str]:
        """Follow every allocation of a call; that makes it so much slower that it may not end within its limits."""
        try:
            report = self.report(mode="memory")
        except CallError as error:
            if error.status not in ("timeout", "cpu_limit", "memory_limit"):
                raise
            why = f"allocations are not told: the call that follows each of them ended {error.status!r}"
            return 0, (), f"{why}; raise that limit to see them"
        return int(report.number("peak_bytes")), tuple(report.allocated()), ""

    def stacks(self, run_s: float) -> tuple[str, int, tuple[Stack, ...]]:
        """Sample the stack until there are enough samples; trace a tool that is too short for that."""
        if run_s < _SHORT_S:
            report = self.report(mode="trace")
            return "trace", int(report.number("samples")), tuple(report.stacks())
        samples, stacks = 0, list[Stack]()
        deadline = time.monotonic() + _SAMPLING_BUDGET_S
        while True:
            report = self.report(mode="sample", interval_s=str(_INTERVAL_S))
            samples += int(report.number("samples"))
            stacks += report.stacks()
            if samples >= ENOUGH_SAMPLES or time.monotonic() > deadline:
                return "sample", samples, _joined(stacks)


def _joined(stacks: Sequence[Stack]) -> tuple[Stack, ...]:
    seconds: dict[Any, float] = {}
    for stack in stacks:
        seconds[stack.frames] = seconds.get(stack.frames, 0.0) + stack.seconds
    return tuple(Stack(frames, spent) for frames, spent in seconds.items())
