"""What is told of each call: a trace with the time of every phase, to hooks, to logging, to OpenTelemetry.

Nothing is recorded that nobody asked for: without hooks, without a listening logger and without OpenTelemetry's API a
call pays two comparisons.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from elf_pysandbox._outcome import Usage

if TYPE_CHECKING:
    from elf_pysandbox._outcome import Outcome

logger = logging.getLogger("elf_pysandbox.tools")
logger.addHandler(logging.NullHandler())
_numbers = itertools.count(1)


@dataclass
class CallTrace:
    """One call, from the request to its end.

    Attributes
    ----------
    id : str
        Unique on this machine as long as its process lives.
    tool : str
    started : float
        Seconds since the epoch.
    status : str
        Of the outcome; "" while the call runs.
    phases : dict of str to float
        Seconds: ``bind`` (checking the arguments here), ``queue`` (admission and a ready worker), ``load`` (the tool's
        module), ``run`` (sending, converting, running, until the answer is here), ``decode`` (the rest).
    attempts : int
    usage : Usage
        Of the last attempt.
    """

    id: str
    tool: str
    started: float
    status: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    attempts: int = 1
    usage: Usage = field(default_factory=Usage)

    def fields(self) -> dict[str, Any]:
        """Return the trace as flat fields, for logs and spans."""
        timings = {f"{phase}_s": seconds for phase, seconds in self.phases.items()}
        return {
            "call_id": self.id,
            "tool": self.tool,
            "status": self.status,
            "attempts": self.attempts,
            "cpu_s": self.usage.cpu_s,
            "peak_memory_mb": self.usage.peak_memory_mb,
            **timings,
        }


Hook = Callable[[CallTrace], None]


@dataclass(frozen=True)
class Hooks:
    """Functions told of calls; each gets the `CallTrace`. One that raises is logged and ignored.

    Attributes
    ----------
    on_start, on_finish, on_retry, on_restart : callable or None
        A call begins; it has ended; another attempt follows; a template or zygote of the pool ended during it.
    """

    on_start: Hook | None = None
    on_finish: Hook | None = None
    on_retry: Hook | None = None
    on_restart: Hook | None = None


class Tracer:
    """Makes and finishes the traces of one handler."""

    def __init__(self, hooks: tuple[Hooks, ...]) -> None:
        self._hooks = hooks
        self._spans = _span_maker()

    @property
    def watched(self) -> bool:
        """Whether anybody wants to be told."""
        return bool(self._hooks) or self._spans is not None or logger.isEnabledFor(logging.INFO)

    @property
    def counts_restarts(self) -> bool:
        """Whether anybody wants to know of restarts."""
        return any(hooks.on_restart is not None for hooks in self._hooks)

    def start(self, tool: str) -> tuple[CallTrace, Any]:
        """Begin the trace of a call."""
        trace = CallTrace(f"{os.getpid()}-{next(_numbers)}", tool, time.time())
        span = self._spans(trace) if self._spans is not None else None
        self._tell("on_start", trace)
        return trace, span

    def retry(self, trace: CallTrace, outcome: Outcome, wait_s: float) -> None:
        """Note that another attempt follows."""
        trace.attempts += 1
        logger.info(
            "tool %s: %s, again in %.3f s",
            trace.tool,
            outcome.status,
            wait_s,
            extra={"sandbox": trace.fields()},
        )
        self._tell("on_retry", trace)

    def finish(
        self, trace: CallTrace, span: Any, outcome: Outcome, *, total_s: float, bind_s: float, restarts: int
    ) -> None:
        """End the trace of a call."""
        usage = outcome.usage
        trace.status, trace.usage = outcome.status, usage
        trace.phases = {"bind": bind_s, "queue": usage.queue_s, "load": usage.load_s, "run": usage.wall_s}
        trace.phases["decode"] = (
            max(total_s - sum(trace.phases.values()), 0.0) if trace.attempts == 1 else 0.0
        )
        trace.phases["total"] = total_s
        if restarts:
            self._tell("on_restart", trace)
        self._tell("on_finish", trace)
        level = logging.INFO if outcome.ok else logging.WARNING
        logger.log(
            level,
            "tool %s: %s in %.4f s",
            trace.tool,
            trace.status,
            total_s,
            extra={"sandbox": trace.fields()},
        )
        if span is not None:
            _end_span(span, trace, outcome)

    def _tell(self, name: str, trace: CallTrace) -> None:
        for hooks in self._hooks:
            hook = getattr(hooks, name)
            if hook is None:
                continue
            try:
                hook(trace)
            except Exception:
                logger.exception("hook %s raised", name)


def _span_maker() -> Callable[[CallTrace], Any] | None:
    """Return what opens a span; None when OpenTelemetry's API is not installed."""
    if "opentelemetry" not in sys.modules and importlib.util.find_spec("opentelemetry") is None:
        return None
    try:
        tracer = importlib.import_module("opentelemetry.trace").get_tracer("elf_pysandbox")
    except Exception:
        return None

    def make(trace: CallTrace) -> Any:
        return tracer.start_span(f"tool {trace.tool}", attributes={"sandbox.call_id": trace.id})

    return make


def _end_span(span: Any, trace: CallTrace, outcome: Outcome) -> None:
    for key, value in trace.fields().items():
        span.set_attribute(f"sandbox.{key}", value)
    if not outcome.ok:
        status = importlib.import_module("opentelemetry.trace.status")
        span.set_status(status.Status(status.StatusCode.ERROR, outcome.status))
    span.end()
