"""Keepers that are ending: whoever closes a pool waits for the last of them.

A keeper outlives its template by the time the kernel takes to end a namespace. It is told to end when its channel
closes, and is gone when its pidfd says so (pidfd_open(2)); end of file on the channel comes a moment before that.
"""

from __future__ import annotations

import select
import socket
import time

from elf_pysandbox._host import processes


class Farewells:
    """The keepers told to end and not yet seen gone."""

    def __init__(self) -> None:
        self._leaving: list[_Leaving] = []

    def add(self, channel: socket.socket, pidfd: int) -> None:
        """Take over the channel of a keeper, and its pidfd if that came (else -1)."""
        try:
            # Another handle may still be open; the keeper must see the end all the same.
            channel.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self._leaving.append(_Leaving(channel, pidfd))

    def prune(self) -> None:
        """Forget those that are gone."""
        self._leaving = [item for item in self._leaving if not item.gone(0.0)]

    def wait(self, seconds: float) -> None:
        """Wait until all are gone, at most so long."""
        end = time.monotonic() + seconds
        for item in self._leaving:
            if not item.gone(end - time.monotonic()):
                item.release()
        self._leaving = []


class _Leaving:
    """One keeper that is ending."""

    __slots__ = ("_channel", "_pidfd")

    def __init__(self, channel: socket.socket, pidfd: int) -> None:
        self._channel, self._pidfd = channel, pidfd

    def gone(self, seconds: float) -> bool:
        """Wait for its end, at most so long; let go of the descriptors once it is gone."""
        end = time.monotonic() + seconds
        while self._pidfd < 0:
            self._channel.settimeout(max(end - time.monotonic(), 0.001))
            try:
                # Told to end before its `Started` was heard: that message is still to come, with the pidfds.
                data, descriptors, _flags, _address = socket.recv_fds(self._channel, 1 << 16, 2)
            except TimeoutError:
                return False
            except OSError:
                data, descriptors = b"", []
            if descriptors:
                self._pidfd = descriptors.pop()
                for other in descriptors:
                    processes.close(other)
            elif not data:
                self.release()
                return True
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if not poller.poll(max(end - time.monotonic(), 0.0) * 1000):
            return False
        self.release()
        return True

    def release(self) -> None:
        """Close the descriptors."""
        self._channel.close()
        processes.close(self._pidfd)
