"""Who dies with whom: the template with its keeper (PR_SET_PDEATHSIG(2const)).

Decided here and nowhere else: how a template notices that its keeper died before the signal was armed.
getppid(2) is 0 across a PID namespace, so it tells nothing; a pipe whose write end only the keeper keeps
does.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import os
import select

from elf_pysandbox_worker.isolation import libc


def tie(alive: int) -> None:
    """Tie this process to its keeper; in the template, after its change of uid (which clears the signal).

    Parameters
    ----------
    alive : int
        Read end of a pipe whose write end only the keeper holds; closed here.
    """
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    ends = select.poll()
    ends.register(alive, 0)  # POLLHUP is always reported.
    if ends.poll(0):
        os._exit(1)  # The keeper died before the signal was armed.
    os.close(alive)
