"""How a call ended: the closed set of statuses and the record that carries one.

Decided here and nowhere else: the names of the statuses, which of them may be retried,
and what an outcome tells besides its value.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from elf_pysandbox._records import field, record

Status = Literal[
    "ok",
    "raised",
    "denied",
    "invalid_arguments",
    "not_found",
    "load_failed",
    "bad_result",
    "timeout",
    "cpu_limit",
    "memory_limit",
    "output_limit",
    "crashed",
    "killed",
    "cancelled",
    "rejected",
    "fault",
]
"""Every way a call can end. `fault` is the sandbox's own failure, never the tool's."""

STATUSES: tuple[Status, ...] = get_args(Status)

RETRYABLE: frozenset[str] = frozenset({"timeout", "killed", "rejected", "fault"})
"""Statuses for which the same call may end otherwise when made again: its end was decided by the
load or by an accident, not by the tool's code and arguments. `crashed` is not among them: a
segmentation fault is nearly always repeatable."""


@record(frozen=True, slots=True)
class Usage:
    """What a call used.

    Attributes
    ----------
    wall_s : float
        Seconds from sending the call to settling it, by the host's monotonic clock.
    cpu_s : float
        CPU seconds of the worker, as it reported them (getrusage(2)); of one that the host stopped, as the kernel tells
        it, in hundredths; of one that ran over its limit, that much at least; 0.0 of one that died otherwise.
    peak_memory_mb : float
        Largest resident set in MiB, as the worker reported it, or the kernel of one that the host stopped; else 0.0.
    queue_s : float
        Seconds spent waiting for admission and for a ready worker, beyond `load_s`.
    load_s : float
        Seconds this call waited for its tool's template to start and to import the tool's module; 0.0 of most calls, as
        it is loaded once.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_mb: float = 0.0
    queue_s: float = 0.0
    load_s: float = 0.0


@record(frozen=True, slots=True)
class LayerState:
    """Whether one confinement layer held for a call, and why not if it did not."""

    name: str
    held: bool
    detail: str = ""


@record(frozen=True, slots=True)
class Outcome:
    """How one call ended, exactly once.

    Attributes
    ----------
    status : Status
        One of `STATUSES`.
    value : Any
        The returned value; None unless `status == "ok"`. For a generator tool, the list of its items; None in the last
        event of `stream` and `astream`, which have yielded each as an `ItemEvent`.
    error : BaseException or None
        The exception that `SandboxPool.call` would raise; None when ok.
    stdout, stderr : str
        What the tool wrote, up to `Limits.output_bytes` in all.
    usage : Usage
    layers : tuple of LayerState
        The confinement layers of the process that ran the call.
    retryable : bool
        Whether making the same call again can end otherwise.
    call_id : str
        Unique within the process that holds the pool.
    attempts : tuple of Outcome
        How the earlier attempts of a call with retries ended, in order.
    """

    status: Status
    value: Any = None
    error: BaseException | None = None
    stdout: str = ""
    stderr: str = ""
    usage: Usage = field(default_factory=Usage)
    layers: tuple[LayerState, ...] = ()
    retryable: bool = False
    call_id: str = ""
    attempts: tuple[Outcome, ...] = ()

    @property
    def ok(self) -> bool:
        """True when the call returned a value."""
        return self.status == "ok"

    def unwrap(self) -> Any:
        """Return the value, or raise the error of a call that did not end `ok`."""
        if self.error is not None:
            raise self.error
        return self.value


@record(frozen=True, slots=True)
class OutputEvent:
    """A piece of what a running call wrote to standard output or error."""

    stream: Literal["stdout", "stderr"]
    text: str


@record(frozen=True, slots=True)
class ItemEvent:
    """One item yielded by a generator tool."""

    value: Any


Event = OutputEvent | ItemEvent | Outcome
"""What `SandboxPool.stream` yields: output and items as they come, the outcome last."""
