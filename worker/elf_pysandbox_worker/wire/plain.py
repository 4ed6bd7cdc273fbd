"""Whether a value is made of nothing but what MessagePack has, found at the speed of C.

Decided here and nowhere else: which values `msgspec` may encode directly. Its encoder turns tuples, sets,
datetimes, UUIDs, Enum members, dataclasses and more into plain ones without a word; so nothing goes to it
before every type in it was seen here, exactly. The check goes level by level, with `set(map(type, level))`:
a list of a million ints costs no Python per item, a list of dicts costs it per dict only where levels are
mixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

from elf_pysandbox_worker.wire.tags import MAX_DEPTH

SCALARS: Final = frozenset({type(None), bool, int, float})
LEAVES: Final = SCALARS | {str}
BOXES: Final = frozenset({list, dict})
PLAIN: Final = LEAVES | BOXES
_STR: Final = frozenset({str})
_ITEM_BYTES: Final = 9  # the most a scalar, or the head of anything else, takes on the wire


def plain_boxes(level: list[Any], seen: set[int], room: int, depth: int) -> set[int] | None:
    """Return the ids of all lists and dicts below `level`, or None unless all of it is plain.

    Plain means: only None, bool, int, float, str, list and dict with str keys, exactly; no list or dict
    twice, neither here nor in `seen`; no more than `MAX_DEPTH` levels; certainly no more than `room` bytes
    on the wire. (Lone surrogates and ints beyond 64 bits are left to the encoder, which refuses them.)

    Parameters
    ----------
    level : list
        The items of a container that lies `depth` levels below the root.
    """
    found: set[int] = set()
    while True:
        kinds = set(map(type, level))
        room -= _ITEM_BYTES * len(level)
        if not kinds <= PLAIN or room < 0:
            return None
        if str in kinds:
            room -= _text_bytes(level if kinds == _STR else [x for x in level if type(x) is str], room)
            if room < 0:
                return None
        if kinds <= LEAVES:
            return found
        boxes = level if kinds <= BOXES else [x for x in level if type(x) in BOXES]
        ids = set(map(id, boxes))
        depth += 1
        if (
            len(ids) < len(boxes)
            or depth >= MAX_DEPTH
            or not (ids.isdisjoint(found) and ids.isdisjoint(seen))
        ):
            return None
        found |= ids
        level, keys = _inside(boxes, kinds)
        if not set(map(type, keys)) <= _STR:
            return None
        room -= _ITEM_BYTES * len(keys) + _text_bytes(keys, room)


def _inside(boxes: list[Any], kinds: set[type]) -> tuple[list[Any], list[str]]:
    """Return the items of all boxes, and the keys of those that are dicts."""
    if dict not in kinds:
        return list(chain.from_iterable(boxes)), []
    dicts = boxes if list not in kinds else [x for x in boxes if type(x) is dict]
    keys = list(chain.from_iterable(dicts))
    items = list(chain.from_iterable(map(dict.values, dicts)))
    if list in kinds:
        items += chain.from_iterable([x for x in boxes if type(x) is list])
    return items, keys


def _text_bytes(texts: list[str], room: int) -> int:
    """Return an upper bound of the UTF-8 bytes in `texts`; close enough that only near `room` it matters."""
    count = sum(map(len, texts))
    if 4 * count <= room or count > room:
        return 4 * count
    return count if all(map(str.isascii, texts)) else 4 * count


def only(kinds: frozenset[type], items: Iterable[object]) -> bool:
    """Whether the exact types of `items` are all among `kinds`."""
    return set(map(type, items)) <= kinds
