"""What a message would become in memory, found before it is built.

Decided here and nowhere else: the price of each kind of item in CPython objects, and how many of them one
value may have. Two answers: a bound that takes one pass in C over the bytes, and the exact sum, item by
item, for the few messages where the bound is too coarse or that are nested deeper than usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from elf_pysandbox_worker.wire.errors import WireError, WireTooLarge
from elf_pysandbox_worker.wire.tags import MAX_DEPTH

if TYPE_CHECKING:
    import re


class Caps(msgspec.Struct, frozen=True):
    """What a received value may cost.

    Attributes
    ----------
    bytes : int
        Bytes of the message and its buffers.
    memory : int
        Bytes of the objects made of it, however long the message.
    memory_base, memory_per_byte : int
        Bytes of objects that any message may become, and that each of its bytes adds. Rows of small dicts
        come to 33 per byte, empty containers to 72.
    items : int
        Items that are counted one by one before the value is refused; bounds the time of the exact scan.
    """

    bytes: int = 1 << 30
    memory: int = 2 << 30
    memory_base: int = 64 << 20
    memory_per_byte: int = 48
    items: int = 10_000_000

    def allowed(self, size: int) -> int:
        """Return the bytes of objects that a message of `size` bytes may become."""
        return min(self.memory, self.memory_base + self.memory_per_byte * size)


DEFAULT_CAPS: Final = Caps()
TRUSTED_CAPS: Final = Caps(
    bytes=1 << 40, memory=1 << 50, memory_base=1 << 50, memory_per_byte=0, items=1 << 50
)
"""For what the host sends to the confined side: the message was its own choice."""

HARMLESS: Final = 64 << 10
"""A message this short becomes 5 MiB at worst: nothing to look for."""

# Price in bytes of the objects of CPython 3.11 to 3.13, 64 bit, with the pointer to it in its container.
_SLOT, _NUMBER, _TEXT, _ARRAY, _MAP, _EXT = 8, 40, 88, 96, 96, 130
_DICT: Final = 144  # what the first pair adds to an empty dict
_DEAREST: Final = 256  # no byte becomes more
_WIDEST: Final = 4  # bytes of a character, if one of its string is beyond the BMP
_TEXT_CLASS: Final = 2

_FIRST: Final = (  # ranges of first bytes -> class of item (0 slot, 1 number, 2 text, 3 array, 4 map, 5 ext)
    (0x00, 0x7F, 0),
    (0x80, 0x8F, 4),
    (0x90, 0x9F, 3),
    (0xA0, 0xBF, 2),
    (0xC0, 0xC3, 0),
    (0xC4, 0xC6, 0),
    (0xC7, 0xC9, 5),
    (0xCA, 0xD3, 1),
    (0xD4, 0xD8, 5),
    (0xD9, 0xDB, 2),
    (0xDC, 0xDD, 3),
    (0xDE, 0xDF, 4),
    (0xE0, 0xFF, 1),
)
_PRICES: Final = (_SLOT, _NUMBER, _TEXT, _ARRAY, _MAP, _EXT)
_CLASS: Final = bytes(kind for low, high, kind in _FIRST for _ in range(low, high + 1))
_PRICE: Final = tuple(_PRICES[kind] for kind in _CLASS)
# Each class taken out leaves less for the next to look through.
_BY_FREQUENCY: Final = tuple(
    (price + (_DICT if price == _MAP else 0), bytes(byte for byte in range(256) if _CLASS[byte] == kind))
    for kind, price in enumerate(_PRICES)
)
_ONE_BYTE: Final = tuple(byte < 0x80 or byte >= 0xE0 or 0xC0 <= byte <= 0xC3 for byte in range(256))

_CHUNK: Final = 1024
_NUMBER_ITEM: Final = (
    rb"[\x00-\x7f\xc0\xc2\xc3\xe0-\xff]|\xcb.{8}|[\xcc\xd0].|[\xcd\xd1].{2}|[\xca\xce\xd2].{4}|[\xcf\xd3].{8}"
)
_patterns: list[
    re.Pattern[bytes]
] = []  # of a chunk of numbers, once one was met: `re` is not imported for less


def harmless(data: bytes | memoryview, caps: Caps) -> bool:
    """Whether a message, with all that lies in its ext items, surely becomes no more objects than allowed."""
    allowed = caps.allowed(len(data))
    return len(data) <= HARMLESS or _DEAREST * len(data) <= allowed or coarse(bytes(data)) <= allowed


def coarse(data: bytes) -> int:
    """Return an upper bound of the objects' bytes: as if each byte were the first of an item."""
    total = len(data)
    for price, members in _BY_FREQUENCY:
        rest = data.translate(None, members)
        total += price * (len(data) - len(rest))
        data = rest
    return total


def measure(data: bytes | memoryview, allowed: int, caps: Caps) -> tuple[int, int]:
    """Walk the items of one payload, not into ext items; return its depth and the bytes of its objects.

    Raises
    ------
    WireTooLarge
        Objects of more than `allowed` bytes, more items or levels than `caps` has.
    WireError
        Truncated, trailing bytes, no MessagePack, or a map with another key than str.
    """
    at, end, items, price = 0, len(data), 1, 0
    # Of the container under way and of those around it: how many items are to come, whether it is a map.
    left, is_map, stack = 1, False, list[tuple[int, bool]]()
    depth = 0
    while True:
        while left == 0:
            if not stack:
                if at != end:
                    raise WireError("bytes after the value")
                if price > allowed:
                    raise _too_large(end, allowed)
                return depth, price
            left, is_map = stack.pop()
        if at >= end:
            raise WireError("truncated value")
        first = data[at]
        if is_map and left % 2 == 0 and _CLASS[first] != _TEXT_CLASS:
            raise WireError("map with a key that is no str")
        left -= 1
        price += _PRICE[first]
        if _ONE_BYTE[first]:
            at += 1
            continue
        start = at
        at, inner, pairs = _step(data, at, first)
        if inner < 0:
            price += _WIDEST * (at - start)
            if price > allowed:
                raise _too_large(end, allowed)
            continue
        if inner > end - at:
            raise WireError("truncated value")
        items += inner
        price += _DICT if pairs and inner else 0
        if inner:
            stack.append((left, is_map))
            left, is_map = inner, pairs
        depth = max(depth, len(stack) + (not inner))
        if depth > MAX_DEPTH:
            raise WireTooLarge(f"value is nested more than {MAX_DEPTH} levels deep")
        if not pairs:
            at, left, price = _skip_numbers(data, at, left, price) if inner else (at, left, price)
        if price > allowed or items > caps.items:
            raise _too_large(end, allowed)


def _too_large(size: int, allowed: int) -> WireTooLarge:
    return WireTooLarge(f"value of {size} bytes would become more than {allowed} bytes of objects")


def _skip_numbers(data: bytes | memoryview, at: int, left: int, price: int) -> tuple[int, int, int]:
    """Step over whole chunks of numbers at the begin of an array; the regular expression walks them in C."""
    if left < _CHUNK:
        return at, left, price
    if not _patterns:
        import re

        _patterns.append(re.compile(b"(?:%b){%d}+" % (_NUMBER_ITEM, _CHUNK), re.DOTALL))
    while left >= _CHUNK and (match := _patterns[0].match(data, at)):
        at, left, price = match.end(), left - _CHUNK, price + _NUMBER * _CHUNK
    return at, left, price


def _step(data: bytes | memoryview, at: int, first: int) -> tuple[int, int, bool]:
    """Return where the next item begins, how many this one contains (-1: none can), and if it is a map."""
    if first < 0x90:
        return at + 1, 2 * (first & 15), True
    if first < 0xA0:
        return at + 1, first & 15, False
    if first < 0xC0:
        return at + 1 + (first & 31), -1, False
    head = _HEADS.get(first)
    if head is None:
        raise WireError(f"no MessagePack: byte {first:#x}")
    width, extra, kind = head
    size = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    after = at + 1 + width
    if kind == 0:
        return after + extra + size, -1, False
    return after, size * kind, kind == 2


# first byte -> width of the length, fixed bytes after it, kind (0 leaf, 1 array, 2 map)
_HEADS: Final = {
    **{0xC7 + i: (1 << i, 1, 0) for i in range(3)},  # ext
    0xCA: (0, 4, 0),
    0xCB: (0, 8, 0),
    **{0xCC + i: (0, 1 << i, 0) for i in range(4)},  # uint
    **{0xD0 + i: (0, 1 << i, 0) for i in range(4)},  # int
    **{0xD4 + i: (0, 1 + (1 << i), 0) for i in range(5)},  # fixext
    **{0xD9 + i: (1 << i, 0, 0) for i in range(3)},  # str
    **{0xDC + i: (2 << i, 0, 1) for i in range(2)},  # array
    **{0xDE + i: (2 << i, 0, 2) for i in range(2)},  # map
}
