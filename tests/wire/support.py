"""Both ends of the wire in one process, and what they compare by."""

from __future__ import annotations

import decimal
from typing import Any

from elf_pysandbox_worker.wire import frames, values

LIMIT = 64 << 20


def received(packed: values.Packed) -> tuple[bytes, list[bytes | bytearray]]:
    """Return what a receiver gets of `packed`, through frames."""
    reader = frames.FrameReader(frames.FrameCaps())
    for piece in frames.frame(packed.data, packed.buffers):
        reader.feed(piece)
    found = reader.next()
    assert found is not None
    reader.eof()
    return found


def round_trip(value: Any, **options: Any) -> Any:
    return values.unpack(*received(values.pack(value, max_bytes=LIMIT)), **options)


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal in every type and, for floats, every bit that has a meaning."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (int, range)):
        return left == right  # the repr of a large int is refused
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    if isinstance(left, (set, frozenset)):
        return _spelt(left) == _spelt(right)
    if isinstance(left, slice):
        return same((left.start, left.stop, left.step), (right.start, right.stop, right.step))
    if isinstance(left, values.Record):
        return left._key() == right._key() and same(dict(left.fields), dict(right.fields))
    if isinstance(left, decimal.Decimal):
        return left.as_tuple() == right.as_tuple()
    return repr(left) == repr(right) and bool(left == right)


def _spelt(value: Any) -> str:
    """Return a text that is the same for sets of the same members, in whatever order they come."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(_spelt, value))}"
    return f"({', '.join(map(_spelt, value))},)" if isinstance(value, tuple) else repr(value)
