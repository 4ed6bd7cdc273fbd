"""Whether a value is made of nothing but what MessagePack has, found at the speed of C.

Decided here and nowhere else: which values `msgspec` may encode directly. Its encoder turns tuples, sets,
datetimes, UUIDs, Enum members, dataclasses and more into plain ones without a word; so nothing goes to it
before every type in it was seen here, exactly. The check goes level by level, with `set(map(type, level))`:
a list of a million ints costs no Python per item, a list of dicts costs it per dict only where levels are
mixed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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
    count = 0  # of boxes; more than `found` has means that one came twice
    while True:
        kinds = set(map(type, level))
        room -= _ITEM_BYTES * len(level)
        if not kinds <= PLAIN or room < 0:
            return None
        if str in kinds:
            room = _less_text(room, level if len(kinds) == 1 else [x for x in level if type(x) is str])
        if kinds <= LEAVES:
            return found if room >= 0 and found.isdisjoint(seen) else None
        boxes = level if kinds <= BOXES else [x for x in level if type(x) in BOXES]
        found.update(map(id, boxes))
        count += len(boxes)
        depth += 1
        if len(found) < count or depth >= MAX_DEPTH:
            return None
        if dict not in kinds:
            level = list(chain.from_iterable(boxes))
            continue
        dicts = [x for x in boxes if type(x) is dict] if list in kinds else boxes
        keys = list(chain.from_iterable(dicts))
        if not set(map(type, keys)) <= _STR:
            return None
        room = _less_text(room, keys) - _ITEM_BYTES * len(keys)
        level = list(chain.from_iterable(map(dict.values, dicts)))
        if list in kinds:
            level += chain.from_iterable([x for x in boxes if type(x) is list])


def _less_text(room: int, texts: list[str]) -> int:
    """Return `room` less an upper bound of the UTF-8 bytes in `texts`, tight only where that matters."""
    chars = sum(map(len, texts))
    if 4 * chars > room and all(map(str.isascii, texts)):
        return room - chars
    return room - 4 * chars


def is_flat(box: list[Any] | tuple[Any, ...] | dict[Any, Any], room: int) -> bool:
    """Whether all items of `box` are leaves and its keys str, in surely less than `room` bytes.

    What `plain_boxes` says for the commonest case, in a third of its time.
    """
    items: Collection[Any] = box
    if type(box) is dict:
        if not set(map(type, box)) <= _STR:
            return False
        room -= 4 * sum(map(len, box))
        items = box.values()
    kinds = set(map(type, items))
    if str in kinds:
        room -= 4 * sum([len(item) for item in items if type(item) is str])
    return kinds <= LEAVES and room > 2 * _ITEM_BYTES * (len(box) + 1)


def only(kinds: frozenset[type], items: Iterable[object]) -> bool:
    """Whether the exact types of `items` are all among `kinds`."""
    return set(map(type, items)) <= kinds
