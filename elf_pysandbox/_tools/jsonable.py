"""Values of the wire as JSON: for models, saved history and schemas, where nothing else crosses."""

from __future__ import annotations

import base64
import datetime
import math
import sys
from typing import Any

from elf_pysandbox_worker.wire.values import Record

_MOST_UNWRITTEN = 1_000_000
"""Elements of ranges, together, that are written out: a range of any length is a few bytes when it comes."""

_SURELY_DECIMAL = 2_000  # bits; the lowest limit that can be set is 640 digits
_BITS_A_DIGIT = 3.32


def to_json(value: Any) -> Any:
    """Return `value` in JSON types.

    Records become objects, enum members their value, dates ISO 8601 text, bytes base64 text, arrays lists, tables lists
    of rows; NaN and the infinities text. Anything else becomes its text; so do ranges that are too long to write out,
    and an int that Python does not write in decimal is written in hexadecimal.
    """
    return _to_json(value, [_MOST_UNWRITTEN])


def _to_json(value: Any, room: list[int]) -> Any:
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if value.bit_length() < _SURELY_DECIMAL or _decimal(value) else hex(value)
    if type(value) is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Record):
        if value.kind == "enum":
            return _to_json(value.fields["value"], room)
        return {name: _to_json(item, room) for name, item in value.fields.items()}
    if isinstance(value, dict):
        return {
            key if type(key) is str else str(_to_json(key, room)): _to_json(item, room)
            for key, item in value.items()
        }
    if isinstance(value, range) and not _fits(value, room):
        return _text(value)
    if isinstance(value, (list, tuple, range)):
        return [_to_json(item, room) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_to_json(item, room) for item in value), key=repr)
    return _leaf(value, room)


def _fits(value: Any, room: list[int]) -> bool:
    """Take room for the elements of something that has none in memory; whether there was as much."""
    try:
        count = len(value)
    except OverflowError:
        return False
    if count > room[0]:
        return False
    room[0] -= count
    return True


def _decimal(value: int) -> bool:
    limit = sys.get_int_max_str_digits()
    return not limit or value.bit_length() < limit * _BITS_A_DIGIT


def _text(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # of an int inside it
        return f"<{type(value).__name__} with a number too long to write>"


def _leaf(value: Any, room: list[int]) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    kind = type(value)
    if kind.__module__.partition(".")[0] == "pandas":
        return _table(value, room)
    if hasattr(value, "tolist"):
        return _to_json(value.tolist(), room)
    return _text(value)


def _table(value: Any, room: list[int]) -> Any:
    name = type(value).__name__
    # What has no column has its rows nowhere in memory either.
    if (name == "RangeIndex" or (name == "DataFrame" and not len(value.columns))) and not _fits(value, room):
        return f"<{name} of {len(value)} rows>"
    if name == "DataFrame":
        return _to_json(value.to_dict("records"), room)
    return _to_json(value.tolist(), room) if hasattr(value, "tolist") else _text(value)
