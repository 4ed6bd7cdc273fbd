"""Whether a set or dict of hostile items can be made in a time that honest ones take.

Decided here and nowhere else: how far items may collide. Hashes of numbers and tuples can be chosen: so that they are
equal, or so that each item meets most of the others on its way to a free place, which for a million items takes days
that nothing can interrupt. Hashes of str and bytes are keyed and cannot be chosen.

The way of an item is that of CPython 3.11 to 3.13 (Objects/dictobject.c, Objects/setobject.c): the lowest bits of its
hash, then all of it by and by, then a fixed cycle of all places.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any, Final

from elf_pysandbox_worker.wire.errors import WireError

_KEYED: Final = frozenset({str, bytes})
_MOST_ALIKE: Final = 64
_FEW: Final = 1024  # so many may collide as they like: a millisecond
_STEPS: Final = 32  # for each item, on average; random hashes take less than 2
_SHIFT: Final = 5  # PERTURB_SHIFT
_NEIGHBOURS: Final = 9  # LINEAR_PROBES of sets
_WORD: Final = (1 << 64) - 1


def check_spread(items: Sequence[Any], *, of_set: bool) -> None:
    """Refuse items that a table takes too long to find places for.

    Parameters
    ----------
    items : sequence
    of_set : bool
        Whether they are members of a set; else keys of a dict.

    Raises
    ------
    WireError
    """
    if len(items) <= _MOST_ALIKE or set(map(type, items)) <= _KEYED:
        return
    hashes = list(map(hash, items))
    # Honest tuples collide a little, since -1 and -2 have the same hash.
    ordered = sorted(hashes)
    if any(map(operator.eq, ordered, itertools.islice(ordered, _MOST_ALIKE, None))):
        raise _collide()
    bits = _FEW.bit_length()
    while len(items) > _FEW and _begins(bits) <= len(items):
        # A table grows as it fills, and is as full as it gets before it grows.
        _place(hashes[: _room(bits)], bits, of_set)
        bits += 1


def _room(bits: int) -> int:
    """Return how many items a table of 2**bits places has at most."""
    return (2 << bits) // 3


def _begins(bits: int) -> int:
    """Return with how many items a table may come to have 2**bits places."""
    return _room(bits) // 8


def _place(hashes: list[int], bits: int, of_set: bool) -> None:
    """Look for the places of items with these hashes, in a table of 2**bits."""
    mask = (1 << bits) - 1
    if len(set(map(mask.__and__, hashes))) == len(hashes):
        return  # each finds its first place free
    taken = bytearray(mask + 1)
    left = _STEPS * len(hashes)
    for number in hashes:
        at, rest = number & mask, number & _WORD
        while (free := _free(taken, at, mask, of_set)) < 0:
            rest >>= _SHIFT
            at = (at * 5 + rest + 1) & mask
            left -= 1
        if left < 0:
            raise _collide()
        taken[free] = 1


def _free(taken: bytearray, at: int, mask: int, of_set: bool) -> int:
    """Return the free place that an item finds when it comes to one, -1 if there is none."""
    if not taken[at]:
        return at
    # A set looks at the neighbours too, except at the table's end.
    return taken.find(0, at, at + 1 + _NEIGHBOURS) if of_set and at + _NEIGHBOURS <= mask else -1


def _collide() -> WireError:
    return WireError("set or dict of colliding items")
