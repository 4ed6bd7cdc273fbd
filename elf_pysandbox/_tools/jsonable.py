"""Values of the wire as JSON, for models, saved history and schemas, where nothing else crosses; and JSON as people and
models write it."""

from __future__ import annotations

import base64
import datetime
import json
import math
import sys
from dataclasses import dataclass
from typing import Any

from elf_pysandbox_worker.wire.values import Record

_MOST_UNWRITTEN = 1_000_000
"""Elements of ranges and of empty arrays, together, that are written out: of any length, they come in a few bytes."""

_SURELY_DECIMAL = 2_000  # bits; the lowest limit that can be set is 640 digits
_BITS_A_DIGIT = 3.32


@dataclass(slots=True)
class _Form:
    """How values are written, and how many unwritten elements there is still room for."""

    for_programs: bool
    room: int = _MOST_UNWRITTEN


def to_json(value: Any, *, for_programs: bool = False) -> Any:
    """Return `value` in JSON types.

    Records become objects, enum members their value, dates ISO 8601 text, durations seconds, bytes base64 text, arrays
    lists, tables lists of rows (rows are lists where two columns have one name), dicts objects by the text of their
    keys (lists of [key, value] where two keys have one text); NaN and the infinities text. Anything else becomes its
    text; so do ranges that are too long to write out, and an int that Python does not write in decimal is written in
    hexadecimal.

    Parameters
    ----------
    value : object
    for_programs : bool
        No text stands for a number or for bytes: NaN, the infinities and missing values (``NaT``, ``NA``) are null, and
        bytes ``{"base64": text}``.
    """
    return _to_json(value, _Form(for_programs))


def _to_json(value: Any, form: _Form) -> Any:
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if value.bit_length() < _SURELY_DECIMAL or _decimal(value) else hex(value)
    if type(value) is float:
        return value if math.isfinite(value) else None if form.for_programs else str(value)
    if isinstance(value, Record):
        if value.kind == "enum":
            return _to_json(value.fields["value"], form)
        return {name: _to_json(item, form) for name, item in value.fields.items()}
    if isinstance(value, dict):
        return _object(value, form)
    if isinstance(value, range) and not _fits(value, form):
        return _text(value)
    if isinstance(value, (list, tuple, range)):
        return [_to_json(item, form) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_to_json(item, form) for item in value), key=repr)
    return _leaf(value, form)


def _object(value: dict[Any, Any], form: _Form) -> Any:
    items = [_to_json(item, form) for item in value.values()]
    written = dict(zip([_key(key, form) for key in value], items, strict=True))
    if len(written) < len(items):  # As an object it would lose items.
        return [[_to_json(key, form), item] for key, item in zip(value, items, strict=True)]
    return written


def _key(key: Any, form: _Form) -> str:
    if type(key) is str:
        return key
    if isinstance(key, Record) and key.kind == "enum":
        return _key(key.fields["value"], form)
    written = _to_json(key, form)
    return _text(key) if written is None else str(written)  # NaN is not None's key.


def _fits(value: Any, form: _Form) -> bool:
    """Take room for the elements of something that has none in memory; whether there was as much."""
    try:
        return _take(len(value), form)
    except OverflowError:
        return False


def _take(count: int, form: _Form) -> bool:
    if count > form.room:
        return False
    form.room -= count
    return True


def _decimal(value: int) -> bool:
    limit = sys.get_int_max_str_digits()
    return not limit or value.bit_length() < limit * _BITS_A_DIGIT


def _text(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # of an int inside it
        return f"<{type(value).__name__} with a number too long to write>"


def _leaf(value: Any, form: _Form) -> Any:
    if isinstance(value, (bytes, bytearray)):
        text = base64.b64encode(value).decode("ascii")
        return {"base64": text} if form.for_programs else text
    kind = type(value)
    if form.for_programs and kind.__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if kind.__module__.partition(".")[0] == "pandas":
        return _table(value, form)
    if hasattr(value, "tolist"):
        if 0 in value.shape and not _take(math.prod(value.shape[: value.shape.index(0)]), form):
            return f"<{kind.__name__} of shape {value.shape}>"
        plain = _array(value).tolist()
        # A scalar that Python has no type for gives itself.
        return _text(value) if type(plain) is kind else _to_json(plain, form)
    return _text(value)


def _array(value: Any) -> Any:
    """Return an array whose elements become types of Python's: dates in nanoseconds become bare numbers, and floats
    that are longer than Python's stay as they are."""
    kind, size = getattr(value.dtype, "kind", ""), value.dtype.itemsize
    if kind in ("M", "m"):
        return value.astype("datetime64[us]" if kind == "M" else "timedelta64[us]")
    if (kind, size) in (("f", 8), ("c", 16)) or kind not in ("f", "c"):
        return value
    with sys.modules["numpy"].errstate(over="ignore"):  # what is beyond float is infinite there
        return value.astype("float64" if kind == "f" else "complex128")


def _table(value: Any, form: _Form) -> Any:
    name = type(value).__name__
    # What has no column has its rows nowhere in memory either.
    if (name == "RangeIndex" or (name == "DataFrame" and not len(value.columns))) and not _fits(value, form):
        return f"<{name} of {len(value)} rows>"
    if name == "DataFrame":
        return _rows(value, form)
    return _to_json(value.tolist(), form) if hasattr(value, "tolist") else _text(value)


def _rows(table: Any, form: _Form) -> list[Any]:
    names = [_key(name, form) for name in table.columns]
    if not names:
        return [{} for _ in range(len(table))]
    rows = ([_to_json(item, form) for item in row] for row in table.itertuples(index=False, name=None))
    if len(set(names)) < len(names):
        return list(rows)  # As objects they would lose columns.
    return [dict(zip(names, row, strict=True)) for row in rows]


def strict_json(text: str | bytes | bytearray) -> Any:
    """Parse JSON that people or models wrote; a key that an object has twice is an error.

    Python would let the last one win; RFC 8259 (section 4) leaves the meaning of such an object open.

    Raises
    ------
    ValueError
        It is no JSON, or has a key twice.
    RecursionError
        It is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {json.dumps(twice, ensure_ascii=False)} stands there twice")
    return found
