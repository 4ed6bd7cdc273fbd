"""The values of a bundle: globals and cells that a captured tool uses, as one piece of bytes.

Small values are as `values.pack` writes them. Those with large buffers (arrays, tables, bytes) are a frame behind a
byte that no MessagePack begins with, so that sets saved before there were such read as they did.
"""

from __future__ import annotations

from typing import Any, Final

from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, frame
from elf_pysandbox_worker.wire.values import Packed, unpack

_FRAMED: Final = b"\xc1"  # "never used" by the MessagePack specification


def join(packed: Packed) -> bytes:
    """Return packed values as one piece."""
    if not packed.buffers:
        return bytes(packed.data)
    return b"".join((_FRAMED, *frame(packed.data, packed.buffers)))


def read(data: bytes) -> Any:
    """Read what `join` made.

    Raises
    ------
    WireError
        It is something else.
    """
    if data[:1] != _FRAMED:
        return unpack(data)
    reader = FrameReader(FrameCaps())
    reader.feed(memoryview(data)[1:])
    whole = reader.next()
    if whole is None:
        raise WireError("the values of the bundle are cut off")
    reader.eof()
    return unpack(*whole)
