"""The extension codes of the value set (MessagePack ext types), and what both directions know of them.

Decided here and nowhere else: which code stands for which kind of value. What MessagePack has of its own
(nil, bool, 64-bit int, float64, str, array, map with str keys) stands for itself; every other kind is an
ext item.
"""

from __future__ import annotations

from typing import Final

from msgspec.msgpack import Encoder

encode = Encoder().encode

MAX_DEPTH: Final = 100
"""Levels of containers in one value: deeper ones would overflow the stack of whoever prints them."""

OUT_OF_BAND: Final = 64 << 10
"""Bytes from which on data travels beside the payload: below, one copy costs less than one more iovec."""

MAX_DIGITS: Final = 65_536
"""Digits of a Decimal; the work on the usual operations stays in milliseconds."""

MAX_EXPONENT: Final = 999_999
"""Largest exponent of a Decimal either way: that of the default context."""

MAX_FRACTION_BITS: Final = 8_192
"""Bits of a Fraction's numerator and denominator: their greatest common divisor costs time squared."""

BIGINT: Final = 1  # signed little-endian bytes
TEXT: Final = 2  # UTF-8 with lone surrogates
BYTES: Final = 3
BYTEARRAY: Final = 4
BYTES_BUFFER: Final = 5  # index of the out-of-band buffer
BYTEARRAY_BUFFER: Final = 6
TUPLE: Final = 7  # array
SET: Final = 8  # array
FROZENSET: Final = 9  # array
DICT: Final = 10  # [keys, values]: a dict with other keys than plain str
CALL: Final = 11  # [args, kwargs]: (tuple, dict) with plain items
TUPLES: Final = 12  # array of arrays: a list of tuples of scalars
COMPLEX: Final = 13
RANGE: Final = 14
SLICE: Final = 15
ELLIPSIS: Final = 16
DATETIME: Final = 20
DATE: Final = 21
TIME: Final = 22
TIMEDELTA: Final = 23
TIMEZONE: Final = 24
DECIMAL: Final = 25
FRACTION: Final = 26
UUID: Final = 27
PATH: Final = 28
RECORD: Final = 30  # [type name, module, kind, field names, field values]
NDARRAY: Final = 40  # [dtype, shape, order, writable, data]
NUMPY_SCALAR: Final = 41  # [dtype, data]
DATAFRAME: Final = 50
SERIES: Final = 51
INDEX: Final = 52
TIMESTAMP: Final = 53
PANDAS_TIMEDELTA: Final = 54
PANDAS_SINGLETON: Final = 55  # NaT, NA

_FIXED: Final = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}


def ext(code: int, payload: bytes) -> bytes:
    """Return `payload` as one ext item."""
    return ext_head(code, len(payload)) + payload


def ext_head(code: int, size: int) -> bytes:
    """Return the head of an ext item, in the shortest form: the reader accepts no other."""
    if size in _FIXED:
        return bytes((_FIXED[size], code))
    if size < 1 << 8:
        return bytes((0xC7, size, code))
    return b"\xc8" + size.to_bytes(2, "big") + bytes((code,)) if size < 1 << 16 else _long_head(code, size)


def _long_head(code: int, size: int) -> bytes:
    return b"\xc9" + size.to_bytes(4, "big") + bytes((code,))


def array_head(count: int) -> bytes:
    """Return the head of an array of `count` items."""
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")


def map_head(count: int) -> bytes:
    """Return the head of a map of `count` pairs."""
    if count < 16:
        return bytes((0x80 | count,))
    return b"\xde" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdf" + count.to_bytes(4, "big")
