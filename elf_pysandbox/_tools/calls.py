"""One call of a handler's tool by name: checked here as far as that is possible, run, traced."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import CallError, InvalidArgumentsError, ToolNotFoundError
from elf_pysandbox._outcome import Outcome, Status
from elf_pysandbox._tools.providers.common import request_of
from elf_pysandbox._tools.schema import precheck
from elf_pysandbox._tools.tool import Tool

if TYPE_CHECKING:
    from elf_pysandbox._tools.handler import ToolHandler

Arguments = Mapping[str, Any] | str | bytes | None
"""What a tool is called with, by name; text is the JSON object that models write."""

_LIMITED = 256


class Call:
    """One call.

    Attributes
    ----------
    tool : Tool
        Not set when there is a refusal.
    arguments : dict
    refusal : Outcome or None
        How the call ends without a process: no such tool, or arguments that its schema alone refuses.
    """

    def __init__(self, handler: ToolHandler, name: str, arguments: Arguments) -> None:
        request = request_of("", None, name, arguments)
        self._handler, self.arguments = handler, request.arguments
        watched = handler._tracer.watched
        self._started = time.perf_counter() if watched else 0.0
        self._restarts = self._restarts_now() if watched else 0
        self._trace = handler._tracer.start(name) if watched else None
        self.refusal: Outcome | None = None
        try:
            self.tool = handler._set.get(name)
        except ToolNotFoundError as error:
            reason = handler.refused.get(name)
            text = f"tool {name!r} was damaged and is not run: {reason}" if reason else str(error)
            self.refusal = _refusal(ToolNotFoundError(text), "not_found")
        else:
            self.refusal = self._precheck(request.problem)
        self._bind_s = time.perf_counter() - self._started if watched else 0.0

    def _precheck(self, problem: str) -> Outcome | None:
        if problem:
            return _refusal(InvalidArgumentsError(problem), "invalid_arguments")
        known = self._handler._descriptions.get((self.tool.name, self.tool.key))
        problems = [] if known is None else precheck(known, self.arguments, strict=self.tool.strict)
        if not problems:
            return None
        error = InvalidArgumentsError("; ".join(f"{path}: {message}" for path, message in problems))
        error.problems = tuple(problems)
        return _refusal(error, "invalid_arguments")

    def attempt(self, left: float | None) -> Outcome:
        """Run the tool once, within the seconds left."""
        return self._handler.pool.outcome(self._within(left), **self.arguments)

    def aattempt(self, left: float | None) -> Awaitable[Outcome]:
        """`attempt` for an event loop."""
        return self._handler.pool.aoutcome(self._within(left), **self.arguments)

    def _within(self, left: float | None) -> Tool:
        limits = self.tool.limits or self._handler.pool.limits
        if left is None or left >= limits.wall_s:
            return self.tool
        # Two digits are enough, and let calls share what a pool keeps for each tool with its limits.
        wall_s = float(f"{left:.1e}")
        known = self._handler._limited
        found = known.get((self.tool.key, wall_s))
        if found is None:
            if len(known) >= _LIMITED:
                known.clear()
            found = known[self.tool.key, wall_s] = replace(self.tool, limits=replace(limits, wall_s=wall_s))
        return found

    @property
    def notice(self) -> Callable[[int, Outcome, float], None] | None:
        """What to tell of each further attempt."""
        if self._trace is None:
            return None
        trace = self._trace[0]
        return lambda _, outcome, wait: self._handler._tracer.retry(trace, outcome, wait)

    def finish(self, outcome: Outcome) -> Outcome:
        """Tell whoever watches, and pass the outcome on."""
        if self._trace is not None:
            trace, span = self._trace
            self._handler._tracer.finish(
                trace,
                span,
                outcome,
                total_s=time.perf_counter() - self._started,
                bind_s=self._bind_s,
                restarts=self._restarts_now() - self._restarts,
            )
        return outcome

    def _restarts_now(self) -> int:
        if not self._handler._tracer.counts_restarts or self._handler._pool is None:
            return 0
        return self._handler._pool.statistics().restarts


def _refusal(error: CallError, status: Status) -> Outcome:
    outcome = Outcome(status, error=error)
    error.outcome = outcome
    return outcome
