"""The calls of a map in flight: at most a window of them, each row written when its call has ended.

One thread decides and writes; ended calls and the request to stop reach it through one queue, so a signal
never meets a half-written line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from elf_pysandbox import ConfigurationError, LayerUnavailableError, Outcome, SandboxError, SandboxPool
from elf_pysandbox._map.output import Output
from elf_pysandbox._map.rows import Row, digest_of, lines_of, parse

_HOPELESS = frozenset({"not_found", "load_failed"})
"""Statuses that every row would end with."""


@dataclass(slots=True)
class Counts:
    """What a run has done so far.

    Attributes
    ----------
    done : int
        Rows in the output, those of earlier runs too.
    failed : int
        Of those, the ones that did not end `ok`.
    retried : int
    statuses : Counter
        Of this run's rows.
    first_failure : tuple of int, str, str or None
        Row, status and message of this run's first row that did not end `ok`.
    """

    done: int = 0
    failed: int = 0
    retried: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    first_failure: tuple[int, str, str] | None = None


@dataclass(slots=True)
class _Flying:
    row: Row
    future: Future[Outcome] | None = None
    attempt: int = 0


class Runner:
    """Runs a tool over the rows that are not done yet.

    Parameters
    ----------
    pool : SandboxPool
    tool : Tool
    source : Path
        JSON lines.
    output : Output
    window : int
        Calls submitted at once.
    retries : int
        Further attempts of a row whose end may have been an accident (`Outcome.retryable`).
    fixed : dict
        Keyword arguments of every call.
    fields_of : callable
        Outcome -> what is written of it beside its status.
    tick : callable
        Called with the counts, now and then.
    """

    def __init__(
        self,
        pool: SandboxPool,
        tool: Any,
        source: Path,
        output: Output,
        *,
        window: int,
        retries: int,
        fixed: dict[str, Any],
        fields_of: Callable[[Outcome], dict[str, Any]],
        tick: Callable[[Counts], None] = lambda counts: None,
    ) -> None:
        self._pool, self._tool, self._output = pool, tool, output
        self._window, self._retries, self._fixed = window, retries, fixed
        self._fields_of, self._tick = fields_of, tick
        self._todo = self._rows(source)
        self._flying: set[int] = set()
        self._futures: dict[int, Future[Outcome]] = {}
        self._ended: SimpleQueue[_Flying | None] = SimpleQueue()
        self._stopping = False
        self.counts = Counts(len(output.done), output.failed)

    def stop(self) -> None:
        """Ask the run to end now; from any thread or signal handler (`SimpleQueue.put` is reentrant)."""
        self._stopping = True
        self._ended.put(None)

    def run(self) -> bool:
        """Run until all rows are done; return False when stopped before that.

        Raises
        ------
        SandboxError
            The tool or the sandbox cannot work at all; the rows done so far stay.
        """
        try:
            self._fill()
            while self._flying and not self._stopping:
                self._settle(self._ended.get())
                self._tick(self.counts)
            return not self._stopping
        finally:
            for future in list(self._futures.values()):
                future.cancel()

    def _rows(self, source: Path) -> Iterator[Row]:
        done = self._output.done
        for number, line in lines_of(source):
            recorded = done.get(number)
            if recorded is None:
                yield parse(number, line, self._fixed)
            elif recorded != digest_of(line):
                raise ConfigurationError(
                    f"row {number} of {source} is not the one that {self._output.path} has the result of: "
                    "the input was changed. Name another output, or begin again with --restart"
                )

    def _fill(self) -> None:
        while len(self._flying) < self._window and not self._stopping:
            row = next(self._todo, None)
            if row is None:
                return
            if row.problem:
                error = {"type": "ValueError", "message": row.problem}
                self._write(row, "invalid_arguments", {"error": error})
            else:
                self._flying.add(row.number)
                self._submit(_Flying(row))

    def _submit(self, flying: _Flying) -> None:
        row = flying.row
        future = self._pool.submit_outcome(self._tool, *row.args, **row.kwargs)
        flying.future = self._futures[row.number] = future
        future.add_done_callback(lambda _: self._ended.put(flying))

    def _settle(self, flying: _Flying | None) -> None:
        if flying is None or flying.future is None or flying.future.cancelled():
            return
        row, outcome = flying.row, flying.future.result()
        if outcome.status in _HOPELESS or isinstance(outcome.error, LayerUnavailableError):
            raise outcome.error or SandboxError(outcome.status)
        if outcome.retryable and flying.attempt < self._retries:
            self.counts.retried += 1
            flying.attempt += 1
            self._submit(flying)
            return
        self._flying.discard(row.number)
        self._futures.pop(row.number, None)
        fields = self._fields_of(outcome)
        self._write(
            row, outcome.status, fields | ({"attempts": flying.attempt + 1} if flying.attempt else {})
        )
        self._fill()

    def _write(self, row: Row, status: str, fields: dict[str, Any]) -> None:
        self._output.write(row.number, row.digest, status, fields)
        self.counts.done += 1
        self.counts.failed += status != "ok"
        self.counts.statuses[status] += 1
        if status != "ok" and self.counts.first_failure is None:
            self.counts.first_failure = (row.number, status, (fields.get("error") or {}).get("message", ""))
