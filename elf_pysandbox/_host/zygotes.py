"""A zygote that runs: asking it for templates, noticing why it ended, ending it; how often one may be started.

The zygote is a fresh interpreter, not a fork of the host: a fork would carry the host's secrets, threads and locks.
"""

from __future__ import annotations

import _socket as socket
import contextlib
import os
import time
from collections import deque

from elf_pysandbox._host import processes, sockets
from elf_pysandbox._host.launch import Launched
from elf_pysandbox._host.outbox import Outbox
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import Confinement, Prepare, Spawn, encode

_MOST_STARTS = 6  # restart intensity: so many within the period below are too many
_PERIOD_S = 10.0


class Zygote:
    """One running zygote.

    Parameters
    ----------
    launched : Launched
    """

    def __init__(self, launched: Launched) -> None:
        self.python, self.pid, self._errors = launched.python, launched.pid, launched.errors
        self.sock = sockets.at(launched.channel)
        self.outbox = Outbox(self.sock)
        self._prepared: set[str] = set()
        try:
            # Now, while the pid is surely its own: somebody else may wait for all children of this process.
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._pidfd = -1

    def spawn(self, confinement: Confinement, keeper: socket.socket, template: socket.socket) -> None:
        """Ask for a blank template, taking over the far ends of its channels; OSError when the zygote is gone.

        Never waiting: one that is busy, or stopped, reads it later. Who asked has a clock of his own.
        """
        self.outbox.send(b"".join(frame(encode(Spawn(confinement)))), (keeper, template))

    def prepare(self, profile: str) -> None:
        """Have it import what templates of this profile need, once; those it was asked for before do so themselves."""
        if profile not in self._prepared:
            self._prepared.add(profile)
            with contextlib.suppress(OSError):  # it is gone: who asks it for a template next learns of it
                self.outbox.send(b"".join(frame(encode(Prepare(profile)))))

    def prepare_first(self, profile: str) -> None:
        """Have it do so before it forks the first template, which then need not; OSError when it is gone."""
        self.outbox.send(b"".join(frame(encode(Prepare(profile)))))

    def has_ended(self) -> bool:
        """Whether its channel has come to an end; it says nothing there."""
        try:
            return not self.sock.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def last_words(self) -> str:
        """Return what a zygote that ended had written to standard error, its last 2,000 characters."""
        # Keepers and templates do not hold the other end: they close their descriptors first thing.
        try:
            return os.read(self._errors, 1 << 16).decode(errors="replace")[-2000:].strip()
        except BlockingIOError:
            return ""

    def let_go(self) -> None:
        """Close this process's copies of the descriptors, in a forked child."""
        self.outbox.close()
        self.sock.close()
        for descriptor in (self._errors, self._pidfd):
            processes.close(descriptor)

    def close(self) -> None:
        """End the zygote and wait for it; its templates are not touched by that. May be called again."""
        self.outbox.close()
        self.sock.close()
        processes.close(self._errors)
        self._errors = -1
        if self._pidfd < 0:
            return
        # At once: it holds nothing that would have to be put in order, and one that is stopped reads no end of file.
        processes.kill(self._pidfd)
        try:
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            pass
        processes.close(self._pidfd)
        self._pidfd = -1


class Starts:
    """When zygotes were started of late: a pool whose zygotes keep ending breaks instead of spinning."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST_STARTS)
        self._last_words = ""

    def hear(self, words: str) -> None:
        """Remember the last line of what a zygote that ended had written."""
        self._last_words = words.rpartition("\n")[2] or self._last_words

    def count(self) -> None:
        """Count one more start; OSError, with what the last one wrote, when there were too many."""
        now = time.monotonic()
        if len(self._times) == _MOST_STARTS and now - self._times[0] < _PERIOD_S:
            ends = f"the zygote ended {_MOST_STARTS} times within {_PERIOD_S:g} s"
            raise OSError(f"{ends}; its last words: {self._last_words}" if self._last_words else ends)
        self._times.append(now)
