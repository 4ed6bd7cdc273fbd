"""How a flight ended, before anything in it is decoded, and the limits the host itself holds."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from elf_pysandbox._host import processes
from elf_pysandbox_worker.wire.messages import EXIT_MEMORY, ErrorData, LayerReport, Refused, UsageData

GONE = frozenset({"killed", "crashed"})  # verdicts of templates after which a call may begin elsewhere
MUTE = "the worker closed its channel without an answer, and was killed"
_LARGEST_STATUS = 0xFFFF  # of wait(2); the template's word, and what it runs is hostile

Packed = tuple[bytes, Sequence[bytes | bytearray]]
"""A packed value and its out-of-band buffers."""


class HostLimits(msgspec.Struct, frozen=True):
    """The limits of a call that the host holds; see `elf_pysandbox.Limits` for units."""

    wall_s: float
    cpu_s: float
    queue_s: float
    load_s: float
    output_bytes: int
    result_bytes: int


class Ending(msgspec.Struct):
    """One call's end, as sealed bytes and counts.

    Attributes
    ----------
    status : str
    message : str
        What happened, in one sentence, when no exception of the tool tells it.
    value : Packed or None
    generator, items : bool, list of Packed
        Whether the tool was a generator whose items nobody took as events, and those items.
    error : ErrorData or None
    output : dict of int to list of str
        Stream number -> pieces of text.
    settings : tuple of str
        The settings that decided it, where the status does not say which.
    """

    status: str
    message: str = ""
    value: Packed | None = None
    items: list[Packed] = []
    generator: bool = False
    error: ErrorData | None = None
    refused: Refused | None = None
    output: dict[int, list[str]] = {}
    usage: UsageData = msgspec.field(default_factory=UsageData)
    wall_s: float = 0.0
    queue_s: float = 0.0
    load_s: float = 0.0
    layers: Sequence[LayerReport] = ()
    settings: tuple[str, ...] = ()


def copy_of(verdict: Ending) -> Ending:
    """Return a template's verdict as one call's own ending."""
    return Ending(
        verdict.status,
        verdict.message,
        error=verdict.error,
        refused=verdict.refused,
        settings=verdict.settings,
    )


def with_its_template(verdict: Ending | None) -> Ending:
    """Return how a call ends whose worker ended because its template did, by the verdict on that."""
    if verdict is None or verdict.status != "crashed":
        return Ending("killed", "the template of this tool was killed, and its worker with it")
    return Ending("crashed", f"{verdict.message}, and its worker ended with it")


def over_time(limits: HostLimits) -> Ending:
    """Return how a call over its wall time ends."""
    return Ending("timeout", f"the call ran longer than wall_s={limits.wall_s:g} s and was killed")


def usage_of(pidfd: int, known: UsageData) -> UsageData:
    """Return what the process of a stopped call has used, as the kernel tells it, and at least what is known."""
    return UsageData(
        processes.cpu_seconds(pidfd) or known.cpu_s, processes.peak_memory_mb(pidfd) or known.peak_memory_mb
    )


def over_cpu(limits: HostLimits) -> Ending:
    """Return how a call over its CPU limit ends, by whichever clock that was seen: it has used that much at least."""
    text = f"the call used more than cpu_s={limits.cpu_s:g} s of CPU and was killed"
    return Ending("cpu_limit", text, usage=UsageData(limits.cpu_s))


def hopeless(*, confined: bool) -> Ending:
    """Return how a call ends for which process after process ended before it could begin."""
    text = "its processes ended again and again before"
    if confined:
        return Ending("killed", f"{text} the call could begin: killed, or by the doing of the tool's module")
    return Ending("fault", f"{text} they were confined: is the host out of processes or memory?")


def ending_of(wait_status: int, limits: HostLimits, *, mute: bool = False) -> Ending:
    """Decide what it means for a call that its worker ended with this wait status and no answer.

    One that was `mute` had closed its channel and was killed from here, if it had not ended by itself just then.
    """
    if not 0 <= wait_status <= _LARGEST_STATUS:
        return Ending("crashed", "the worker process ended without an answer")
    if os.WIFEXITED(wait_status):
        code = os.WEXITSTATUS(wait_status)
        if code == EXIT_MEMORY:
            text = "the arguments, or the report of its end, do not fit into memory_mb beside the tool itself"
            return Ending("memory_limit", text)
        return Ending("crashed", f"the worker process exited by itself with code {code}, without an answer")
    import signal  # makes its enumerations anew in each program

    number = os.WTERMSIG(wait_status)
    if number == signal.SIGXCPU:
        return over_cpu(limits)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if mute and number == signal.SIGKILL:
        return Ending("crashed", MUTE)
    if number in (signal.SIGKILL, signal.SIGTERM):
        return Ending("killed", f"the worker process was killed from outside ({name})")
    if number == signal.SIGSYS:
        return Ending(
            "denied", "the seccomp filter ended the worker: a forbidden kind of system call (SIGSYS)"
        )
    return Ending("crashed", f"the worker process died of {name}")
