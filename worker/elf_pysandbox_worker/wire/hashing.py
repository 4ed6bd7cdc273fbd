"""Sets and dicts of hostile items, made in a time that is of the order of what honest ones take.

Decided here and nowhere else: how long that may be. Hashes of numbers and tuples can be chosen: so that they are equal,
or so that each item meets most of the others on its way to a free place, which for a million items takes days. To tell
beforehand costs more than to make the table, and one call that makes all of it cannot be interrupted. So it is made
piece by piece, with an eye on the CPU time of this thread. Hashes of str and bytes are keyed and cannot be chosen.

Items of one hash are compared, and what is made of other values (tuples, fractions, paths) may take as long to compare
as the whole message to read, two of them. Where such items have hashes in common, each is a piece.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Sized
from typing import Any, Final

from elf_pysandbox_worker.wire.errors import WireError

_KEYED: Final = frozenset({str, bytes})
_FLAT: Final = _KEYED | {int, float, bool, type(None)}  # compared in no time
_FEW: Final = 64  # so many flat ones may collide as they like
_PIECE: Final = 64  # items between two looks at the clock
_FREE_S: Final = 0.1
_EACH_S: Final = 4e-6  # an item of a table of a million takes a tenth of that
_PER_HASH: Final = 4  # what takes long to hash, as any table must, may take so many times as long


class Hashing:
    """Makes the sets and dicts of one message.

    Parameters
    ----------
    free_s : float, optional
        CPU seconds that all tables of the message may take, whatever they hold.
    each_s : float, optional
        CPU seconds more for each of their items.
    """

    __slots__ = ("_each_s", "_left_s")

    def __init__(self, free_s: float = _FREE_S, each_s: float = _EACH_S) -> None:
        self._left_s, self._each_s = free_s, each_s

    def set_of(self, items: Sequence[Any]) -> set[Any]:
        """Return the set of `items`.

        Raises
        ------
        WireError
            It takes too long, or two of them are equal.
        TypeError
            One of them cannot be hashed.
        """
        table: set[Any] = set()
        if _is_quick(items):
            table.update(items)
        else:
            for piece in self._pieces(items):
                table.update(items[piece])
        _check_all(table, items)
        return table

    def dict_of(self, keys: Sequence[Any], values: Sequence[Any]) -> dict[Any, Any]:
        """Return the dict of `keys` with `values`; raises as `set_of` does, and WireError if they are not as many."""
        if len(keys) != len(values):
            raise WireError("dict of more keys than values, or fewer")
        table: dict[Any, Any] = {}
        if _is_quick(keys):
            table.update(zip(keys, values, strict=True))
        else:
            for piece in self._pieces(keys):
                table.update(zip(keys[piece], values[piece], strict=True))
        _check_all(table, keys)
        return table

    def _pieces(self, items: Sequence[Any]) -> Iterator[slice]:
        """Yield the pieces of a table of `items` as long as there is time for the next."""
        alone = not _FLAT.issuperset(map(type, items)) and self._have_hashes_in_common(items)
        yield from self._timed(len(items), 1 if alone else _PIECE)

    def _have_hashes_in_common(self, items: Sequence[Any]) -> bool:
        before = time.thread_time()
        hashes = list(map(hash, items))
        self._left_s += _PER_HASH * (time.thread_time() - before)
        seen: set[int] = set()
        for piece in self._timed(len(hashes), _PIECE):
            seen.update(hashes[piece])
        return len(seen) < len(hashes)

    def _timed(self, count: int, size: int) -> Iterator[slice]:
        allowed = size * self._each_s
        before = time.thread_time()
        for start in range(0, count, size):
            yield slice(start, start + size)
            now = time.thread_time()
            self._left_s += allowed - (now - before)
            before = now
            if self._left_s < 0:
                raise WireError("set or dict of colliding items")


def _is_quick(items: Sequence[Any]) -> bool:
    if len(items) > _FEW:
        return _KEYED.issuperset(map(type, items))
    # Items of different hashes are never compared.
    return _FLAT.issuperset(map(type, items)) or len(set(map(hash, items))) == len(items)


def _check_all(table: Sized, items: Sequence[Any]) -> None:
    """Refuse a table in which not each of `items` got its own place."""
    if len(table) != len(items):
        raise WireError("key or member given twice")
