"""The operation `profile`: one measured call of a tool, in its own worker.

Four ways to measure, each with its own cost, so that none spoils the figures of another:

- ``time``: the clock around the call, nothing else.
- ``sample``: the stack at a steady interval, by a wall-clock timer (setitimer(2)); waiting counts as much as
  computing. A call into C delays the signal until it returns, so each stack is given the time since the one
  before.
- ``trace``: every line of the tool's own files, by `sys.settrace`. For calls too short to be sampled; times
  are larger than without it, by a factor that grows with the number of lines run.
- ``memory``: what is allocated when most is, by tracemalloc, for each of the tool's own lines.

Only the tool's own frames are told, and the first frame below them that is not (a library's).
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any

from elf_pysandbox_worker import operations
from elf_pysandbox_worker.loading import LoadedTool, Target
from elf_pysandbox_worker.wire import values
from elf_pysandbox_worker.wire.messages import Call

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MAX_STACKS = 20_000
_MAX_DEPTH = 128
_MEMORY_SNAPSHOTS = 20
_WAITING = ("(waiting)", "", 0)

Place = tuple[int, int]
"""Identity of a code object, line."""
Stack = tuple[Place, ...]


class _Times:
    """Seconds spent in each stack."""

    def __init__(self) -> None:
        self.seconds: dict[Stack, float] = {}
        # By identity: since 3.12 the hash of a code object goes through all of its instructions.
        self.codes: dict[int, CodeType] = {}

    def place(self, frame: FrameType) -> Place:
        """Return where a frame is."""
        code = frame.f_code
        self.codes.setdefault(id(code), code)
        return id(code), frame.f_lineno or 0

    def stack_of(self, frame: FrameType | None) -> Stack:
        """Return where a frame and those that called it are, the outermost first."""
        stack: list[Place] = []
        while frame is not None and len(stack) < 4 * _MAX_DEPTH:
            stack.append(self.place(frame))
            frame = frame.f_back
        stack.reverse()
        return tuple(stack)

    def spend(self, stack: Stack, seconds: float) -> None:
        """Add to the time of a stack; one more than can be kept is forgotten."""
        if stack in self.seconds or len(self.seconds) < _MAX_STACKS:
            self.seconds[stack] = self.seconds.get(stack, 0.0) + seconds


def run(tool: LoadedTool, target: Target, call: Call, buffers: Sequence[bytes]) -> dict[str, Any]:
    """Make the call once, measured; its own exception passes through."""
    args, kwargs = values.unpack(call.arguments, buffers)
    if target.convert is not None:
        args, kwargs = target.convert(args, kwargs, call.options)
    own = frozenset(file.path or f"<{file.name}>" for file in tool.load.bundle.files)
    mode = call.options.get("mode", "time")
    interval = min(max(float(call.options.get("interval_s", "0.001")), 0.0001), 1.0)
    report: dict[str, Any] = {"mode": mode}
    recorders: dict[str, Callable[[], contextlib.AbstractContextManager[None]]]
    recorders = {"sample": lambda: _sampled(interval, report, own), "trace": lambda: _traced(report, own)}
    recorders |= {"memory": lambda: _allocations(report, own), "time": contextlib.nullcontext}
    with recorders[mode]():
        cpu, start = time.process_time(), time.perf_counter()
        items = _finish(target.function(*args, **kwargs))
        report["run_s"] = time.perf_counter() - start
        report["cpu_s"] = time.process_time() - cpu
    report["items"] = items
    # All that this operation took: what the host saw beyond it is the way there and back.
    report["here_s"] = time.perf_counter() - operations.started
    return report


def _finish(result: Any) -> int:
    """Do what is left of a generator or coroutine; return the number of items of a generator."""
    if inspect.isgenerator(result):
        return sum(1 for _ in result)
    if inspect.iscoroutine(result) or inspect.isasyncgen(result):
        import asyncio

        async def drain() -> int:
            if inspect.isasyncgen(result):
                return sum([1 async for _ in result])
            await result
            return 0

        return asyncio.run(drain())
    return 0


# -- stacks -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _sampled(interval: float, report: dict[str, Any], own: frozenset[str]) -> Iterator[None]:
    times = _Times()
    clock = time.perf_counter
    last, ticks, over = clock(), 0, False

    def tick(signum: int, frame: FrameType | None) -> None:
        nonlocal last, ticks
        if over:
            return
        times.spend(times.stack_of(frame), clock() - last)
        ticks += 1
        last = clock()
        # Counted from here: on a machine where this takes longer than an interval, the tool must get on all the same.
        signal.setitimer(signal.ITIMER_REAL, interval)

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, interval)
    try:
        last = clock()
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        report["samples"] = ticks
        _tell_stacks(report, times, own)


@contextlib.contextmanager
def _traced(report: dict[str, Any], own: frozenset[str]) -> Iterator[None]:
    times = _Times()
    stack: list[Place] = []
    clock = time.perf_counter
    last, events = clock(), 0

    def trace(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        nonlocal last, events
        if frame.f_code.co_filename not in own:
            return None
        if stack:
            times.spend(tuple(stack), clock() - last)
        events += 1
        here = times.place(frame)
        if event == "call":
            stack.append(here)
        elif event == "line" and stack:
            stack[-1] = here
        elif event == "return" and stack:
            stack.pop()
        last = clock()
        return trace

    sys.settrace(trace)
    try:
        last = clock()
        yield
    finally:
        sys.settrace(None)
        report["samples"] = events
        _tell_stacks(report, times, own)


def _tell_stacks(report: dict[str, Any], times: _Times, own: frozenset[str]) -> None:
    """Put `frames` (name, file, first line) and `stacks` ([frame, line]..., seconds) into the report."""
    frames: dict[tuple[str, str, int], int] = {}
    folded: dict[tuple[tuple[int, int], ...], float] = {}
    for stack, seconds in times.seconds.items():
        # A frame is (name, file, first line, the line it is at); the last is kept apart.
        places = [(times.codes[code], line) for code, line in stack]
        kept = tuple(
            (frames.setdefault(frame[:3], len(frames)), frame[3]) for frame in _own_part(places, own)
        )
        folded[kept] = folded.get(kept, 0.0) + seconds
    report["frames"] = [list(frame) for frame in frames]
    report["stacks"] = [[[list(place) for place in stack], seconds] for stack, seconds in folded.items()]


def _own_part(stack: Sequence[tuple[CodeType, int]], own: frozenset[str]) -> list[tuple[str, str, int, int]]:
    kept: list[tuple[str, str, int, int]] = []
    below = False
    for code, line in stack[: 4 * _MAX_DEPTH]:
        file = code.co_filename
        if file.startswith(_HERE) or len(kept) >= _MAX_DEPTH:
            continue
        if file in own:
            kept.append((code.co_qualname, file, code.co_firstlineno, line))
            below = True
        elif below:
            # Only the library function that the tool's own line called; a later own frame (a callback)
            # follows.
            module = os.path.basename(file).removesuffix(".py")
            kept.append((f"{module}.{code.co_qualname}", file, code.co_firstlineno, line))
            below = False
    if not any(frame[1] in own for frame in kept):
        return [(*_WAITING, 0)]
    return kept


# -- memory -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _allocations(report: dict[str, Any], own: frozenset[str]) -> Iterator[None]:
    import tracemalloc

    best: Any = None
    best_size = taken = 0
    looking = False

    def look(signum: int = 0, frame: FrameType | None = None) -> None:
        nonlocal best, best_size, taken, looking
        size = tracemalloc.get_traced_memory()[0]
        # A snapshot costs as much as there are blocks: only where it changes the picture, and never within
        # another.
        if size > 1.25 * best_size + 4096 and taken < _MEMORY_SNAPSHOTS and not looking:
            looking = True
            best, best_size, taken = tracemalloc.take_snapshot(), size, taken + 1
            looking = False

    def on_return(frame: FrameType, event: str, _argument: Any) -> None:
        # What a function holds, it still holds here: a call shorter than the timer's period is not missed.
        if event == "return" and frame.f_code.co_filename in own:
            look()

    gc.collect()
    before = signal.signal(signal.SIGALRM, look)
    # Each frame costs every allocation: four reach from a library's inside to the line of the tool, mostly.
    tracemalloc.start(4)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    sys.setprofile(on_return)
    try:
        yield
    finally:
        sys.setprofile(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        peak = tracemalloc.get_traced_memory()[1]
        look()
        tracemalloc.stop()
        report["peak_bytes"] = peak
        report["lines"] = _lines_of(best, own) if best is not None else []


def _lines_of(snapshot: Any, own: frozenset[str]) -> list[list[Any]]:
    """Return [file, line, bytes, blocks] of the innermost own line of each allocation, largest first."""
    sizes: dict[tuple[str, int], list[int]] = {}
    for trace in snapshot.traces:
        for frame in reversed(trace.traceback):
            if frame.filename in own:
                entry = sizes.setdefault((frame.filename, frame.lineno), [0, 0])
                entry[0] += trace.size
                entry[1] += 1
                break
    ranked = sorted(sizes.items(), key=lambda item: -item[1][0])
    return [[file, line, *entry] for (file, line), entry in ranked[:200]]
