"""A zygote that runs: asking it for templates, noticing why it ended, ending it.

The zygote is a fresh interpreter, not a fork of the host: a fork would carry the host's secrets, threads and locks.
"""

from __future__ import annotations

import os
import select
import signal
import socket

from elf_pysandbox._host import processes
from elf_pysandbox._host.launch import Launched
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import Confinement, Spawn, encode

_END_S = 5.0


class Zygote:
    """One running zygote.

    Parameters
    ----------
    launched : Launched
    """

    def __init__(self, launched: Launched) -> None:
        self.python, self.pid, self.sock, self._errors = launched

    def spawn(self, confinement: Confinement, keeper: socket.socket, template: socket.socket) -> None:
        """Ask for a blank template; raises OSError when the zygote is gone."""
        data = b"".join(frame(encode(Spawn(confinement))))
        processes.send_with_descriptors(self.sock, data, [keeper.fileno(), template.fileno()])

    def last_words(self) -> str:
        """Return what a zygote that ended had written to standard error, its last 2,000 characters."""
        # Keepers and templates do not hold the other end: they close their descriptors first thing.
        try:
            return os.read(self._errors, 1 << 16).decode(errors="replace")[-2000:].strip()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        """End the zygote and wait for it; its templates are not touched by that."""
        self.sock.close()
        os.close(self._errors)
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return  # somebody else waits for all children of this process, and has
        try:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            if not poller.poll(_END_S * 1000):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass
        finally:
            os.close(pidfd)
