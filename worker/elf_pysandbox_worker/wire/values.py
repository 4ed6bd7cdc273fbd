"""Python values to bytes and back: the closed, tagged set. Does not know its side.

What crosses, with its exact type: None, bool, int of any size, float, complex, str, bytes, bytearray, list,
tuple, dict, set, frozenset, range, slice, Ellipsis; datetime, date, time, timedelta, timezone, ZoneInfo;
Decimal, Fraction, UUID, the paths of pathlib; numpy arrays and scalars without objects in them; pandas
DataFrame, Series and Index. A memoryview arrives as bytes. Enum members, dataclasses, pydantic models,
named tuples and msgspec structs arrive as `Record`. Everything else is refused by name: nothing is degraded
to something similar.

`plain`, `writer`, `instances` and `leaves` write; `scan` and `reader` read; `tags` is what they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from elf_pysandbox_worker.wire import tags
from elf_pysandbox_worker.wire.errors import (
    PackError,
    UnsupportedValue,
    ValueTooLarge,
    WireError,
    WireTooLarge,
)
from elf_pysandbox_worker.wire.frames import Buffer
from elf_pysandbox_worker.wire.plain import BOXES, LEAVES, is_flat, plain_boxes
from elf_pysandbox_worker.wire.reader import Reader, Rebuild, decode_call, decode_plain
from elf_pysandbox_worker.wire.record import Record
from elf_pysandbox_worker.wire.scan import DEFAULT_CAPS, HARMLESS, TRUSTED_CAPS, Caps
from elf_pysandbox_worker.wire.tags import encode, ext, ext_head
from elf_pysandbox_worker.wire.writer import Writer

__all__ = [
    "DEFAULT_CAPS",
    "TRUSTED_CAPS",
    "Caps",
    "PackError",
    "Packed",
    "Record",
    "UnsupportedValue",
    "ValueTooLarge",
    "WireError",
    "WireTooLarge",
    "pack",
    "unpack",
]


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A value as bytes.

    Attributes
    ----------
    data : bytes
        One MessagePack item; may be put into a message as it is (`msgspec.Raw`).
    buffers : sequence of buffer
        What travels out of band, in the order in which `data` mentions it. Not copies.
    """

    data: bytes
    buffers: Sequence[Buffer] = ()


_NO_ARGUMENTS: Final = Packed(ext(tags.CALL, b"\x92\x90\x80"))
_NONE: Final = Packed(b"\xc0")


def pack(value: Any, *, max_bytes: int, root: str = "result") -> Packed:
    """Write a value out.

    Parameters
    ----------
    value : object
    max_bytes : int
        The most bytes, data and buffers together.
    root : str
        What the value is called in the paths of errors.

    Raises
    ------
    UnsupportedValue
        Something in it is outside the set, met twice though it can change, or more than 100 levels deep.
        The first such place in order is named.
    ValueTooLarge
        It is more than `max_bytes` when written out; found before that many were written.
    """
    if value is None and max_bytes > 0:
        return _NONE
    if type(value) is tuple and len(value) == 2 and type(value[0]) is tuple and type(value[1]) is dict:
        data = _pack_call(*value, max_bytes) if value[0] or value[1] else _NO_ARGUMENTS.data
    else:
        data = _pack_plain(value, max_bytes)
    if data is not None and len(data) <= max_bytes:
        return Packed(data)
    writer = Writer(value, root, max_bytes)
    try:
        writer.write(value)
    except RecursionError:  # the caller's own stack is deep already
        raise writer.refuse(value, "lies too deep for this stack", f"{writer.give} a flatter value") from None
    return Packed(bytes(writer.out), writer.buffers)


def _pack_plain(value: Any, room: int) -> bytes | None:
    """Return the value encoded if it is made of plain types and surely fits; else None."""
    kind = type(value)
    if kind not in LEAVES and not (
        kind in BOXES and (is_flat(value, room) or plain_boxes([value], set(), room, -1) is not None)
    ):
        return None
    if kind is str and 4 * len(value) > room:
        return None
    try:
        return encode(value)
    except (OverflowError, UnicodeEncodeError):
        return None


def _pack_call(args: tuple[Any, ...], kwargs: dict[Any, Any], room: int) -> bytes | None:
    """Return `(args, kwargs)` encoded if all in it is plain; the two containers go without tags."""
    flat = is_flat(kwargs, room) and (not args or is_flat(args, room - 4 * len(kwargs)))
    # Items of args lie in two containers. So deep a kwargs, which lies in one, is left to the writer.
    if not flat and plain_boxes([*args, kwargs], set(), room, 1) is None:
        return None
    try:
        return ext(tags.CALL, encode((args, kwargs)))
    except (OverflowError, UnicodeEncodeError):
        return None


def unpack(
    data: bytes | memoryview | msgspec.Raw,
    buffers: Sequence[bytes | bytearray] = (),
    *,
    caps: Caps = DEFAULT_CAPS,
    rebuild: Rebuild | None = None,
) -> Any:
    """Make the value of bytes that may be hostile.

    Parameters
    ----------
    data : bytes, memoryview or msgspec.Raw
        What `Packed.data` was.
    buffers : sequence of bytes or bytearray
        What `Packed.buffers` was. Arrays and bytearrays keep the buffer they were given; they are not copied.
    caps : Caps
    rebuild : callable, optional
        Makes an object of each `Record`, on the side that has the classes.

    Raises
    ------
    WireError
        Whatever is wrong with the bytes; no other exception leaves, MemoryError and RecursionError included.
    WireTooLarge
        A `WireError`: the value would take more memory, items or levels than `caps` allows.
    """
    try:
        if type(data) is msgspec.Raw:
            data = memoryview(data)
        size = len(data) + sum(map(len, buffers)) if buffers else len(data)
        if size > caps.bytes:
            raise WireTooLarge(f"value of {size} bytes is over the cap of {caps.bytes}")
        if len(data) <= HARMLESS and not buffers:
            try:
                return _unpack_small(data)
            except msgspec.ValidationError:
                pass  # tags in it, or hostile
        return Reader(buffers, caps, rebuild).read(data)
    except WireError:
        raise
    except Exception as error:
        # The one door: every loader may raise what its constructor raises.
        raise WireError(f"no valid value: {type(error).__name__}: {str(error)[:200]}") from None


def _unpack_small(data: bytes | memoryview) -> Any:
    """Return a plain value, or a call with plain arguments; too short to become large.

    Raises
    ------
    msgspec.ValidationError
        It is neither.
    """
    head = CALL_HEADS.get(data[0])
    if head is None or data[head - 1] != tags.CALL:
        value = decode_plain(data)
        size = len(encode(value))
    else:
        payload = data[head:]
        if data[:head] != ext_head(tags.CALL, len(payload)):
            raise WireError("call of another length than it says")
        args, kwargs = decode_call(payload)
        size = len(encode((args, kwargs))) + head
        value = tuple(args), kwargs
    if size != len(data):
        raise WireError("key given twice, or a spelling that is not the shortest")
    return value


CALL_HEADS: Final = {0xC7: 3, 0xC8: 4, 0xD4: 2, 0xD5: 2, 0xD6: 2, 0xD7: 2, 0xD8: 2}
"""First byte of an ext item -> bytes of its head, of which the last is the code."""
