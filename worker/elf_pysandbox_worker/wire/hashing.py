"""Sets and dicts of hostile items, made in a time that is of the order of what honest ones take.

Decided here and nowhere else: how long that may be. Hashes of numbers and tuples can be chosen: so that they are equal,
or so that each item meets most of the others on its way to a free place, which for a million items takes days. To tell
beforehand costs more than to make the table, and one call that makes all of it cannot be interrupted. So it is made
piece by piece, with an eye on the CPU time of this thread. Hashes of str and bytes are keyed and cannot be chosen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Sized
from typing import Any, Final

from elf_pysandbox_worker.wire.errors import WireError

_KEYED: Final = frozenset({str, bytes})
_FEW: Final = 64  # so many may collide as they like
_PIECE: Final = 64  # items between two looks at the clock
_FREE_S: Final = 0.1
_EACH_S: Final = 4e-6  # an item of a table of a million takes a tenth of that


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
            for piece in self._pieces(len(items)):
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
            for piece in self._pieces(len(keys)):
                table.update(zip(keys[piece], values[piece], strict=True))
        _check_all(table, keys)
        return table

    def _pieces(self, count: int) -> Iterator[slice]:
        """Yield the pieces of a table as long as there is time for the next."""
        allowed = _PIECE * self._each_s
        before = time.thread_time()
        for start in range(0, count, _PIECE):
            yield slice(start, start + _PIECE)
            now = time.thread_time()
            self._left_s += allowed - (now - before)
            before = now
            if self._left_s < 0:
                raise WireError("set or dict of colliding items")


def _is_quick(items: Sequence[Any]) -> bool:
    return len(items) <= _FEW or set(map(type, items)) <= _KEYED


def _check_all(table: Sized, items: Sequence[Any]) -> None:
    """Refuse a table in which not each of `items` got its own place."""
    if len(table) != len(items):
        raise WireError("key or member given twice")
