"""The kernel's part of the boundary: layers, each one kernel feature, behind three doors.

1. `enter_namespaces`, in the keeper, before it forks the template, and `admit` right after;
2. `confine`, in the template, before the first byte of tool code;
3. `prepare_worker`, in the template before its first fork, and what it returns, in each worker right after
  it.

Import this in the zygote: everything is bound and assembled before any fork. Nothing here is confined to
Python: what runs behind the doors is the tool, whatever it has become.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import os
from collections.abc import Callable

from elf_pysandbox_worker.isolation import cgroup, libc, worker
from elf_pysandbox_worker.isolation.cgroup import release_cgroup
from elf_pysandbox_worker.isolation.context import Context
from elf_pysandbox_worker.isolation.errors import LayerMissing, Missing
from elf_pysandbox_worker.isolation.layers import LAYERS, apply_door
from elf_pysandbox_worker.isolation.scratch import wipe_scratch
from elf_pysandbox_worker.wire.messages import Confinement, LayerReport

__all__ = [
    "LAYERS",
    "LayerMissing",
    "Missing",
    "admit",
    "confine",
    "current",
    "end_call",
    "enter_namespaces",
    "prepare_worker",
    "release_cgroup",
    "wipe_scratch",
]

_context: Context | None = None


def enter_namespaces(spec: Confinement, keep: set[int]) -> list[LayerReport]:
    """Prepare the keeper: descriptors, session, environment, namespaces, cgroup.

    The next process it forks is the template, PID 1 of the new PID namespace; it must fork no other, and `admit` that
    one.

    Parameters
    ----------
    spec : Confinement
    keep : set of int
        Descriptors to keep open; 0, 1 and 2 become /dev/null unless they are among them.

    Returns
    -------
    list of LayerReport
        The layers that are complete now; the template's door returns the others.

    Raises
    ------
    LayerMissing
    """
    global _context
    _context = Context(spec, frozenset(keep))
    reports = apply_door(_context, "keeper")
    # The template may run under the keeper's own uid: nothing of the keeper's memory may be open to it.
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    return reports


def admit(template: int, alive: int) -> None:
    """Let the template into what the keeper has made for it; in the keeper, right after the fork.

    The template's `confine` waits for this where it cannot enter by itself.

    Parameters
    ----------
    template : int
        Its pid.
    alive : int
        Write end of the pipe whose read end `confine` is given.
    """
    if _context is not None:
        cgroup.admit(_context, template, alive)


def confine(spec: Confinement, alive: int) -> list[LayerReport]:
    """Confine the template for good.

    Parameters
    ----------
    spec : Confinement
        The same that the keeper entered.
    alive : int
        Read end of a pipe whose write end only the keeper holds, and gives to `admit`; closed here. The template dies
        with its keeper.

    Returns
    -------
    list of LayerReport
        The layers that the keeper's door did not report.

    Raises
    ------
    LayerMissing
        A required layer does not hold; the process must end without running any tool code.
    """
    context = _entered(spec)
    context.alive = alive
    return apply_door(context, "template")


def prepare_worker(spec: Confinement, close_from: int | None = None) -> Callable[[int], None]:
    """Return `confine_worker(slot)`, which a fresh worker calls right after its fork; slot -1 for no scratch.

    It begins by closing all descriptors from `close_from` on.
    """
    return worker.prepare_worker(_entered(spec), close_from)


def end_call(worker: int) -> None:
    """End the processes that a worker left behind; for the template, right after it has reaped the worker.

    Does nothing where a worker may start no processes. They are in the worker's own process group, which the
    worker's filter keeps them from leaving; the template reaps them as any orphan of its namespace.

    Parameters
    ----------
    worker : int
        Its pid; no other worker may have been forked since it was reaped.
    """
    if _context is not None and _context.spec.processes and _context.holds("pid_namespace"):
        try:
            os.killpg(worker, signal.SIGKILL)
        except ProcessLookupError:
            pass  # It left none.


def current() -> Context | None:
    """Return what this process is confined by, None if it never went through the keeper's door."""
    return _context


def _entered(spec: Confinement) -> Context:
    if _context is None or _context.spec != spec:
        raise RuntimeError("this confinement was not entered by enter_namespaces() in the keeper")
    return _context
