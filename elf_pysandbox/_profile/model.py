"""A profile as values, and the reading of a worker's report.

The report comes from the confined side, where a tool may have written anything into it: every field is
checked here, and what does not fit ends the profile with `SandboxFaultError`, never with another exception.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from elf_pysandbox import SandboxFaultError

_MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Frame:
    """A function on a stack, by its qualified name, file and first line."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Stack:
    """Seconds spent with these frames on the stack, outermost first; each with the line it was at."""

    frames: tuple[tuple[Frame, int], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class AllocatedLine:
    """What one line of the tool had allocated when the most was."""

    file: str
    line: int
    bytes: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """Seconds of many calls.

    Attributes
    ----------
    values : tuple of float
        Sorted, ascending.
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Distribution:
        """Sort the values."""
        return cls(tuple(sorted(values)))

    def percentile(self, percent: float) -> float:
        """Return the value that `percent` of the calls do not exceed (nearest rank)."""
        if not self.values:
            return 0.0
        rank = math.ceil(percent / 100 * len(self.values))
        return self.values[max(rank, 1) - 1]

    def histogram(self, bins: int = 12) -> list[tuple[float, float, int]]:
        """Return (from, to, calls) for equal steps between the first and the last value."""
        if not self.values:
            return []
        low, high = self.values[0], self.values[-1]
        step = (high - low) / bins or 1e-9
        counts = [0] * bins
        for value in self.values:
            counts[min(int((value - low) / step), bins - 1)] += 1
        return [(low + i * step, low + (i + 1) * step, count) for i, count in enumerate(counts)]


@dataclass(frozen=True, slots=True)
class Phases:
    """Where the time of repeated calls went, each phase as a distribution.

    Attributes
    ----------
    prepare : Distribution
        Binding, encoding and decoding at the host.
    queue : Distribution
        Waiting for admission and a ready worker.
    carry : Distribution
        Sending the call, decoding and encoding in the worker, receiving the result.
    run : Distribution
        The function itself.
    total : Distribution
    """

    prepare: Distribution
    queue: Distribution
    carry: Distribution
    run: Distribution
    total: Distribution


@dataclass(frozen=True, slots=True)
class Profile:
    """All that was measured of one tool.

    Attributes
    ----------
    target : str
    mode : {"sample", "trace"}
        How `stacks` was measured.
    samples : int
        Looks at the stack, or events traced.
    stacks : tuple of Stack
    phases : Phases
    wall_s, cpu_s : float
        Median seconds of the function itself.
    peak_memory_mb : float
        Largest resident set of a worker, in MiB.
    peak_bytes : int
        Most bytes that Python had allocated at once for the call.
    allocated : tuple of AllocatedLine
    load_s : float
        Seconds from nothing to the end of the first call: confinement, import, call.
    note : str
        What could not be measured, and why.
    sources : dict of str to list of str
        File -> lines, of the tool's own files.
    """

    target: str
    mode: str
    samples: int
    stacks: tuple[Stack, ...]
    phases: Phases
    wall_s: float
    cpu_s: float
    peak_memory_mb: float
    peak_bytes: int
    allocated: tuple[AllocatedLine, ...]
    load_s: float
    note: str = ""
    sources: dict[str, list[str]] = field(default_factory=dict, repr=False)

    @property
    def seconds(self) -> float:
        """Seconds that all stacks hold together."""
        return sum(stack.seconds for stack in self.stacks)

    def functions(self) -> list[tuple[Frame, float, float]]:
        """Return (function, own seconds, seconds with what it called), the hottest first."""
        own: dict[Frame, float] = {}
        total: dict[Frame, float] = {}
        for stack in self.stacks:
            for frame in {frame for frame, _ in stack.frames}:
                total[frame] = total.get(frame, 0.0) + stack.seconds
            leaf = stack.frames[-1][0]
            own[leaf] = own.get(leaf, 0.0) + stack.seconds
        ranked = [(frame, own.get(frame, 0.0), seconds) for frame, seconds in total.items()]
        return sorted(ranked, key=lambda row: (-row[1], -row[2], row[0].name))

    def lines(self) -> list[tuple[str, int, float]]:
        """Return (file, line, seconds) of the tool's own lines, the hottest first."""
        times: dict[tuple[str, int], float] = {}
        for stack in self.stacks:
            place = next(
                ((f.file, line) for f, line in reversed(stack.frames) if f.file in self.sources), None
            )
            if place is not None:
                times[place] = times.get(place, 0.0) + stack.seconds
        ranked = ((file, line, seconds) for (file, line), seconds in times.items())
        return sorted(ranked, key=lambda row: (-row[2], row[0], row[1]))

    def source(self, file: str, line: int) -> str:
        """Return a line of the tool's source, "" where there is none."""
        lines = self.sources.get(file, ())
        return lines[line - 1].strip() if 0 < line <= len(lines) else ""


# -- reading reports
# ------------------------------------------------------------------------------------------


class Report:
    """One worker's report with its fields checked on access."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise _unreadable("it is no mapping")
        self._value = value

    def number(self, name: str) -> float:
        """Return a finite number that is not negative."""
        return _number(self._value.get(name), name)

    def stacks(self) -> Iterator[Stack]:
        """Yield the stacks."""
        frames = [_frame(item) for item in _sequence(self._value.get("frames"), "frames")]
        for item in _sequence(self._value.get("stacks"), "stacks"):
            places, seconds = _pair(item, "stacks")
            found = []
            for place in _sequence(places, "stacks"):
                index, line = _pair(place, "stacks")
                if not isinstance(index, int) or not 0 <= index < len(frames):
                    raise _unreadable("a stack names a frame that is not there")
                found.append((frames[index], int(_number(line, "line"))))
            if found:
                yield Stack(tuple(found), _number(seconds, "stacks"))

    def allocated(self) -> Iterator[AllocatedLine]:
        """Yield the lines that allocated."""
        for item in _sequence(self._value.get("lines"), "lines"):
            if not isinstance(item, (list, tuple)) or len(item) != 4:
                raise _unreadable("lines")
            file, *numbers = item
            line, size, blocks = (int(_number(number, "lines")) for number in numbers)
            yield AllocatedLine(_text(file), line, size, blocks)


def _unreadable(what: str) -> SandboxFaultError:
    return SandboxFaultError(f"the worker's profile cannot be read: {what}; the tool may have changed it")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        raise _unreadable(f"{name} is no number")
    return value


def _sequence(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise _unreadable(f"{name} is no list")
    return value


def _pair(value: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise _unreadable(f"{name} has an entry of the wrong form")
    return value[0], value[1]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _unreadable("a name is no text")
    return "".join(char if char.isprintable() else "�" for char in value[:_MAX_TEXT])


def _frame(item: Any) -> Frame:
    if not isinstance(item, (list, tuple)) or len(item) != 3:
        raise _unreadable("a frame has the wrong form")
    return Frame(_text(item[0]), _text(item[1]), int(_number(item[2], "line")))
