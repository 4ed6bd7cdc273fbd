"""Bytes to frames and back: length prefix, out-of-band buffers, caps. Sans-I/O; does not know its side.

Decided here and nowhere else: how a frame lies on the stream, and how much of one is accepted.

A frame is a header of 8 bytes, little-endian (`struct` format ``<IHH``): length of the payload, number of
out-of-band buffers, reserved (0); then one u64 per buffer; then the payload; then the buffers back to back.
The lower 63 bits of a buffer's u64 are its length; the top bit says that the receiver's copy must be
writable. So each buffer is received straight into memory of the right kind (`bytearray` or `bytes`) and never
copied again. A frame without buffers is therefore its length as one u64, followed by the payload.

A blocking receiver drains a `FrameReader` like this::

    while (frame := reader.next()) is None:
        if reader.fill(sock.recv_into) is None:
            reader.feed(sock.recv(max(reader.want(), 65536)))     # b"" at the end of file: reader.eof()
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TypeAlias

import msgspec

from elf_pysandbox_worker.wire.errors import WireError, WireTooLarge

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER_BYTES: Final = 8
MAX_BUFFERS: Final = 1023
"""Buffers of one frame: with the header they fit one sendmsg(2), whose IOV_MAX is 1024 on Linux."""

MAX_PAYLOAD: Final = (1 << 32) - 1
_HEADER = struct.Struct("<IHH")
_U64 = struct.Struct("<Q")
_WRITABLE = 1 << 63


class FrameCaps(msgspec.Struct, frozen=True):
    """How much of a frame is accepted; beyond is a `WireTooLarge` before anything is allocated.

    Attributes
    ----------
    payload : int
        Bytes of the payload.
    total : int
        Bytes of payload and buffers together.
    buffers : int
        Number of buffers, at most `MAX_BUFFERS`.
    """

    payload: int = 64 << 20
    total: int = 256 << 20
    buffers: int = MAX_BUFFERS


def frame(payload: bytes, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the pieces of one frame, to be sent in order (sendmsg(2)); the buffers are not copied.

    Parameters
    ----------
    payload : bytes
    buffers : sequence of bytes, bytearray or contiguous memoryview of bytes
        A writable one asks the receiver for a writable copy.

    Raises
    ------
    WireError
        More than `MAX_BUFFERS` buffers or `MAX_PAYLOAD` bytes of payload.
    """
    if len(payload) > MAX_PAYLOAD or len(buffers) > MAX_BUFFERS:
        raise WireError(f"no frame holds {len(payload)} bytes and {len(buffers)} buffers")
    if not buffers:
        return [_U64.pack(len(payload)) + payload]
    head = _HEADER.pack(len(payload), len(buffers), 0)
    table = struct.pack(f"<{len(buffers)}Q", *map(_claim, buffers))
    return [b"".join((head, table, payload)), *buffers]


def _claim(buffer: Buffer) -> int:
    """Return the table entry of `buffer`: its length, and whether the copy must be writable."""
    view = memoryview(buffer)
    return view.nbytes if view.readonly else view.nbytes | _WRITABLE


def parse_single(data: bytes) -> bytes | None:
    """Return the payload if `data` is exactly one whole frame without buffers, else None.

    The hot path of a small call: one receive, one frame. None says nothing about validity; the same bytes
    then go to a `FrameReader`.
    """
    size = len(data) - HEADER_BYTES
    # Read as one u64, header and length agree only if count and reserved are zero.
    if size < 0 or _U64.unpack_from(data)[0] != size:
        return None
    return data[HEADER_BYTES:]


class FrameReader:
    """Collects frames from a stream, in time linear in its length.

    An invalid stream raises `WireError` from `next` and from every call after it.

    Parameters
    ----------
    caps : FrameCaps
    """

    __slots__ = ("_body", "_broken", "_buffers", "_caps", "_head", "_pending", "_piece", "_sizes")

    def __init__(self, caps: FrameCaps) -> None:
        self._caps = caps
        self._pending = bytearray()
        self._broken: WireError | None = None
        self._reset()

    def _reset(self) -> None:
        self._head: tuple[int, int] | None = None  # payload bytes, number of buffers
        self._sizes: list[int] | None = None  # table entries of the buffers still to come, last first
        self._body: bytes | None = None
        self._buffers: list[bytes | bytearray] = []
        self._piece: _Piece | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take received bytes; never fails, `next` tells what they are."""
        if self._piece is not None and not self._pending:
            used = self._piece.take(data)
            if used == len(data):
                return
            data = memoryview(data)[used:]
        self._pending += data

    def next(self) -> tuple[bytes, list[bytes | bytearray]] | None:
        """Return the next whole frame as payload and buffers, or None if more bytes are needed.

        Raises
        ------
        WireError
            The stream is no sequence of frames.
        WireTooLarge
            A `WireError`: the next frame is over the caps.
        """
        if self._broken is not None:
            raise self._broken.with_traceback(None)
        if self._body is None and not self._read_front():
            return None
        while self._piece is not None or self._sizes:
            if not self._read_piece():
                return None
        assert self._body is not None
        whole = self._body, self._buffers
        self._reset()
        return whole

    def want(self) -> int:
        """Return how many more bytes the part under way needs (header, table, payload or one buffer).

        Never 0 after `next` returned None.
        """
        if self._piece is not None:
            return self._piece.missing - len(self._pending)
        if self._head is None:
            return HEADER_BYTES - len(self._pending)
        payload, count = self._head
        return (payload if self._sizes is not None else 8 * count) - len(self._pending)

    def fill(self, receive: Callable[[memoryview], int]) -> int | None:
        """Receive into the rest of the buffer under way.

        Parameters
        ----------
        receive : callable
            Called with the memory to write to, as `socket.recv_into`; returns the number of bytes written, from the
            front. It must not keep the memory.

        Returns
        -------
        int or None
            What `receive` returned; None when no buffer is under way, or fed bytes still wait for `next`.
        """
        if self._piece is None or self._pending or not self._piece.missing:
            return None
        with self._piece.room() as room:
            count = receive(room)
        self._piece.missing -= count
        return count

    def eof(self) -> None:
        """Say that the stream ended.

        Raises
        ------
        WireError
            It ended inside a frame.
        """
        if self._broken is not None:
            raise self._broken.with_traceback(None)
        if self._pending or self._head is not None:
            raise WireError("the stream ended inside a frame")

    def _read_front(self) -> bool:
        """Advance over header, table and payload; whether all three are complete."""
        if self._head is None:
            if len(self._pending) < HEADER_BYTES:
                return False
            payload, count, reserved = _HEADER.unpack(self._take(HEADER_BYTES))
            if reserved:
                self._fail(WireError("frame with reserved bits"))
            if payload > self._caps.payload or count > min(self._caps.buffers, MAX_BUFFERS):
                self._fail(WireTooLarge(f"frame over the caps: {payload} bytes and {count} buffers"))
            self._head = payload, count
        payload, count = self._head
        if self._sizes is None:
            if len(self._pending) < 8 * count:
                return False
            sizes = struct.unpack(f"<{count}Q", self._take(8 * count))
            total = payload + sum(size & ~_WRITABLE for size in sizes)
            if total > self._caps.total:
                self._fail(WireTooLarge(f"frame of {total} bytes is over the cap of {self._caps.total}"))
            self._sizes = list(reversed(sizes))
        if len(self._pending) < payload:
            return False
        self._body = self._take(payload)
        return True

    def _read_piece(self) -> bool:
        """Advance over one buffer; whether it is complete."""
        if self._piece is None:
            assert self._sizes
            try:
                self._piece = _Piece(self._sizes.pop())
            except MemoryError:
                self._fail(WireTooLarge("no memory for a buffer of the declared size"))
        if self._pending:
            used = self._piece.take(self._pending)
            del self._pending[:used]
        if self._piece.missing:
            return False
        self._buffers.append(self._piece.finish())
        self._piece = None
        return True

    def _take(self, count: int) -> bytes:
        with memoryview(self._pending) as view:
            taken = bytes(view[:count])
        del self._pending[:count]  # moves the start of a bytearray, not its contents
        return taken

    def _fail(self, error: WireError) -> NoReturn:
        self._broken = error
        raise error


class _Piece:
    """One buffer under way, received in place: its memory is asked for at once and taken as bytes come.

    A large block from calloc(3) is pages that exist once they are written to, so a declared size costs nothing.
    A `BytesIO` that alone holds a `bytes` object lends its memory out writable, and hands out the object itself once
    nothing is lent out any more: a `bytes` is filled without being copied.
    """

    __slots__ = ("_memory", "_stream", "_view", "missing")

    def __init__(self, claim: int) -> None:
        self.missing = claim & ~_WRITABLE
        self._memory = bytearray(self.missing) if claim & _WRITABLE else None
        self._stream = io.BytesIO(bytes(self.missing)) if self._memory is None else None
        self._view = self._stream.getbuffer() if self._stream is not None else memoryview(self._memory or b"")

    def room(self) -> memoryview:
        return self._view[-self.missing :]

    def take(self, data: bytes | bytearray | memoryview) -> int:
        """Take what belongs to this buffer from the front of `data`; return how much that was."""
        count = min(self.missing, len(data))
        if count:
            with memoryview(data) as source:
                self._view[len(self._view) - self.missing :][:count] = source[:count]
        self.missing -= count
        return count

    def finish(self) -> bytes | bytearray:
        self._view.release()
        if self._memory is not None:
            return self._memory
        assert self._stream is not None
        return self._stream.getvalue()
