"""Which live values are plain data: what the wire carries as it is, without any class of the tool's own."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import uuid
from typing import Any

MAX_DEPTH = 50
_LEAVES = (
    type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, type(...),
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone,
    decimal.Decimal, fractions.Fraction, uuid.UUID,
)  # fmt: skip
IMMUTABLE = frozenset(_LEAVES) - {bytearray, slice}
"""Types of leaves whose values never change."""

_CONTAINERS = (list, tuple, set, frozenset, dict)
_TABLES = frozenset({"ndarray", "DataFrame", "Series", "Index", "Timestamp", "Timedelta"})


def why_not_plain(value: Any, depth: int = 0) -> str | None:
    """Return what keeps `value` from being plain data; None when it is."""
    kind = type(value)
    if kind in _LEAVES or isinstance(value, pathlib.PurePath) or _is_table(kind):
        return None
    if kind not in _CONTAINERS:
        return f"a {kind.__qualname__}"
    if depth >= MAX_DEPTH:
        return "something nested too deeply"
    # Taken at once: another thread may change it meanwhile.
    items = [*value.keys(), *value.values()] if kind is dict else list(value)
    return next((reason for item in items if (reason := why_not_plain(item, depth + 1))), None)


def _is_table(kind: type) -> bool:
    root = kind.__module__.partition(".")[0]
    return root == "numpy" or (root == "pandas" and kind.__name__ in _TABLES)


def plain_copy(value: Any) -> Any:
    """Copy the containers of plain data, so that nothing in it is shared with another value."""
    if type(value) is dict:
        return {plain_copy(key): plain_copy(item) for key, item in list(value.items())}
    if type(value) in _CONTAINERS:
        return type(value)(map(plain_copy, list(value)))
    return value


def is_copy(value: Any, copied: Any) -> bool:
    """Whether plain data of immutable leaves is still what `plain_copy` made a copy of: the very leaves, in order."""
    if value is copied:
        return True
    if type(value) in (set, frozenset):
        return type(copied) is type(value) and bool(value == copied)  # a copy may have another order
    kind = type(value)
    if kind is not type(copied) or kind not in _CONTAINERS or len(value) != len(copied):
        return False
    if kind is dict:
        value, copied = _flat(value), _flat(copied)
    for one, other in zip(list(value), copied, strict=False):
        if one is not other and not is_copy(one, other):
            return False
    return True


def _flat(value: dict[Any, Any]) -> list[Any]:
    return [*value.keys(), *value.values()]


def has_only_immutable_leaves(value: Any) -> bool:
    """Whether nothing in plain data can change but its containers."""
    if type(value) not in _CONTAINERS:
        return type(value) in IMMUTABLE or isinstance(value, pathlib.PurePath)
    return all(map(has_only_immutable_leaves, _flat(value) if type(value) is dict else list(value)))
