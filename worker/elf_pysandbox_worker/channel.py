"""A blocking channel of the confined side: framed messages in and out, descriptors riding along.

Decided here: how zygote, keeper and template read and write their channels. The worker's own channel is on
the hot path and has its own code in `life`. All use `_socket`, the part of `socket` that is not about names,
hosts and files: the rest is more to import than all of the confined side's own wire.
"""

from __future__ import annotations

import struct
from _socket import CMSG_LEN, MSG_CTRUNC, SCM_RIGHTS, SOL_SOCKET, socket
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from elf_pysandbox_worker.wire import messages
from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, frame

_CHUNK = 1 << 16
_MAX_FDS = 253  # SCM_MAX_FD of the kernel
_INT = struct.calcsize("i")
_ROOM = CMSG_LEN(_MAX_FDS * _INT)
_CONTROL_CAPS = FrameCaps(payload=256 << 20, total=256 << 20)


class Channel:
    """One end of a stream socket pair that carries `messages`.

    Parameters
    ----------
    sock : _socket.socket
    kind : type
        The union of messages the peer may send.
    """

    def __init__(self, sock: socket, kind: Any) -> None:
        self.sock = sock
        self.descriptors: deque[int] = deque()
        self._inbox: deque[Any] = deque()
        self._reader = FrameReader(_CONTROL_CAPS)
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def send(self, message: msgspec.Struct, descriptors: Sequence[int] = ()) -> None:
        """Send one message; raises OSError when the peer is gone."""
        data = b"".join(frame(messages.encode(message)))
        if descriptors:
            rights = struct.pack(f"{len(descriptors)}i", *descriptors)
            sent = self.sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, rights)])
            data = data[sent:]
        if data:
            self.sock.sendall(data)

    def receive(self) -> Any | None:
        """Wait for the next message; None when the peer closed its end."""
        while not self._inbox:
            if not self.read():
                return None
        return self._inbox.popleft()

    def read(self) -> bool:
        """Take in what is here, waiting for at least one byte; False when the peer closed its end.

        Raises
        ------
        WireError
            The peer sent bytes that are no message of this channel.
        """
        data, ancillary, flags, _address = self.sock.recvmsg(_CHUNK, _ROOM)
        for level, kind, payload in ancillary:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                self.descriptors.extend(struct.unpack_from(f"{len(payload) // _INT}i", payload))
        if flags & MSG_CTRUNC:
            # The order of descriptors is their meaning: with one missing, every later one would be mistaken.
            raise WireError("descriptors were lost: this process may not open so many")
        if not data:
            return False
        self._reader.feed(data)
        while (found := self._reader.next()) is not None:
            try:
                self._inbox.append(self._decode(found[0]))
            except msgspec.MsgspecError as error:
                raise WireError(str(error)) from None
        return True

    def take(self) -> Any | None:
        """Return the next message already taken in, or None."""
        return self._inbox.popleft() if self._inbox else None
