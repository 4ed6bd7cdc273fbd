"""What is still to be sent on a channel whose peer reads when it can: nobody ever waits for that.

What fits into the channel is sent at once. The rest stands here until the supervisor finds room for it; so a peer that
is slow, stopped or hostile holds up nobody but itself.
"""

from __future__ import annotations

import _socket as socket
from collections import deque
from collections.abc import Callable, Sequence

from elf_pysandbox._host import processes


class Outbox:
    """Messages on their way into one channel, in order; guarded by the engine's lock.

    Parameters
    ----------
    sock : socket.socket
    """

    __slots__ = ("_queue", "_sock", "watch")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._queue: deque[tuple[memoryview, Sequence[socket.socket]]] = deque()
        self.watch: Callable[[bool], None] | None = None
        """Told when `flush` has to be called once there is room (True), and when not any more."""

    def __len__(self) -> int:
        return len(self._queue)

    def send(self, data: bytes, handed: Sequence[socket.socket] = ()) -> None:
        """Send a message, now or later; takes over the sockets whose descriptors ride along.

        Raises
        ------
        OSError
            The peer is gone, or no more descriptors may be under way.
        """
        self._queue.append((memoryview(data), handed))
        if len(self._queue) > 1:
            return
        self._send()
        if self._queue and self.watch is not None:
            self.watch(True)

    def flush(self) -> None:
        """Send what there is room for; raises OSError when the peer is gone."""
        if self._queue:
            self._send()
            if not self._queue and self.watch is not None:
                self.watch(False)

    def _send(self) -> None:
        try:
            while self._queue:
                data, handed = self._queue[0]
                sent = processes.send_some(self._sock, data, [sock.fileno() for sock in handed])
                for sock in handed:
                    sock.close()
                if sent == len(data):
                    self._queue.popleft()
                else:
                    self._queue[0] = (data[sent:], ())
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Forget what was not sent."""
        while self._queue:
            for sock in self._queue.popleft()[1]:
                sock.close()
