"""Who dies with whom: the template with its keeper (PR_SET_PDEATHSIG(2const)).

Decided here and nowhere else: how a template notices that its keeper died before the signal was armed.
getppid(2) is 0 across a PID namespace, so it tells nothing; a pipe whose write end only the keeper keeps
does.
"""

from __future__ import annotations

import os
import select
import signal

from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.context import Context


def lay(context: Context) -> None:
    """Make the pipe; in the keeper, before it forks the template."""
    context.alive = os.pipe()


def take(context: Context) -> None:
    """Tie this process to the keeper; in the template, after its change of uid (which clears the signal)."""
    read, write = context.alive
    os.close(write)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    ends = select.poll()
    ends.register(read, 0)  # POLLHUP is always reported.
    if ends.poll(0):
        os._exit(1)  # The keeper died before the signal was armed.
    os.close(read)
