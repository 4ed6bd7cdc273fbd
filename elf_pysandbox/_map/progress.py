"""What a person sees of a map: on a terminal a bar with rate, time left and failures, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

    from elf_pysandbox._map.runner import Counts

_LINE_EVERY_S = 10.0
_LOOK_EVERY_S = 0.1


class Progress:
    """Shows the counts on standard error.

    Parameters
    ----------
    total : int
    done : int
        Rows of earlier runs: they count as done, not as fast.
    quiet : bool
    """

    def __init__(self, total: int, done: int, *, quiet: bool = False) -> None:
        self._total, self._before = total, done
        self._start = self._shown = time.monotonic()
        self._next = self._start
        self._quiet = quiet
        self._bar = None if quiet or not sys.stderr.isatty() else _bar(total, done)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tick(self, counts: Counts) -> None:
        """Show the counts if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK_EVERY_S
        if self._bar is not None:
            rate = f"{self.rate(counts):,.0f}"
            self._bar.update(self._bar.task_ids[0], completed=counts.done, failed=counts.failed, rate=rate)
        elif not self._quiet and now - self._shown > _LINE_EVERY_S:
            self._shown = now
            print(self.line(counts), file=sys.stderr, flush=True)

    def rate(self, counts: Counts) -> float:
        """Return this run's rows a second."""
        return (counts.done - self._before) / max(time.monotonic() - self._start, 1e-9)

    def line(self, counts: Counts) -> str:
        """Return the counts as one line."""
        rate = self.rate(counts)
        left = (self._total - counts.done) / rate if rate else 0.0
        parts = [f"{counts.done:,} of {self._total:,} rows", f"{rate:,.0f}/s", f"{counts.failed:,} failed"]
        if left >= 1:
            parts.insert(2, f"{left:,.0f} s left")
        if counts.retried:
            parts.append(f"{counts.retried:,} retried")
        return ", ".join(parts)


def _bar(total: int, done: int) -> rich.progress.Progress:
    import rich.console
    import rich.progress as rp

    bar = rp.Progress(
        rp.BarColumn(),
        rp.MofNCompleteColumn(),
        rp.TextColumn("{task.fields[rate]}/s"),
        rp.TimeRemainingColumn(),
        rp.TextColumn("{task.fields[failed]} failed"),
        console=rich.console.Console(stderr=True),
        transient=True,
    )
    bar.add_task("rows", total=total, completed=done, failed=0, rate="0")
    return bar
