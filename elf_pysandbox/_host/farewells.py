"""Templates and keepers that are ending: whoever closes a pool waits for the last of them.

A keeper outlives its template by the time the kernel takes to end a namespace. It is told to end when its channel
closes. A process is gone when its pidfd says so (pidfd_open(2)); end of file on the channel comes a moment before that.
A keeper that was killed leaves its template behind for that moment: so both are waited for.
"""

from __future__ import annotations

import _socket as socket
import select
import time

from elf_pysandbox._host import processes

_PRUNE_EVERY = 8


class Farewells:
    """The templates told to end, with their keepers, not yet seen gone."""

    def __init__(self) -> None:
        self._leaving: list[_Leaving] = []

    def add(self, channel: socket.socket, pidfds: list[int]) -> None:
        """Take over the channel of a keeper, and the pidfds of template and keeper if they came."""
        try:
            # Another handle may still be open; the keeper must see the end all the same.
            channel.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if len(self._leaving) % _PRUNE_EVERY == 0:
            self.prune()
        self._leaving.append(_Leaving(channel, pidfds))

    def prune(self) -> None:
        """Forget those that are gone."""
        self._leaving = [item for item in self._leaving if not item.gone(0.0)]

    def let_go(self) -> None:
        """Close the descriptors, in a forked child."""
        for item in self._leaving:
            item.release()
        self._leaving = []

    def wait(self, seconds: float) -> None:
        """Wait until all are gone, at most so long, and end what is not then; interrupted, it can be taken up again.

        A keeper that is stopped does not see its channel's end.
        """
        end = time.monotonic() + seconds
        while self._leaving:
            if not self._leaving[-1].gone(end - time.monotonic()):
                self._leaving[-1].kill()
                self._leaving[-1].release()
            self._leaving.pop()


class _Leaving:
    """One template that is ending, and its keeper."""

    __slots__ = ("_channel", "_pidfds")

    def __init__(self, channel: socket.socket, pidfds: list[int]) -> None:
        self._channel, self._pidfds = channel, pidfds

    def gone(self, seconds: float) -> bool:
        """Wait for its end, at most so long; let go of the descriptors once it is gone."""
        end = time.monotonic() + seconds
        while not self._pidfds:
            # Told to end before its `Started` was heard: that message is still to come, with the pidfds.
            if not _readable(self._channel.fileno(), end):
                return False
            try:
                data, self._pidfds = processes.receive_with_descriptors(self._channel, 1 << 16, 2)
            except OSError:
                data = b""
            if not data:
                break
        if not all(_readable(pidfd, end) for pidfd in self._pidfds):
            return False
        self.release()
        return True

    def kill(self) -> None:
        """End both, as far as they are known."""
        for pidfd in self._pidfds:
            processes.kill(pidfd)

    def release(self) -> None:
        """Close the descriptors."""
        self._channel.close()
        while self._pidfds:
            processes.close(self._pidfds.pop())


def _readable(descriptor: int, end: float) -> bool:
    """Wait until a descriptor is readable, or its process gone, or that time has come."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(max(end - time.monotonic(), 0.0) * 1000))
