"""Values of the wire as JSON: for models, saved history and schemas, where nothing else crosses."""

from __future__ import annotations

import base64
import datetime
import math
from typing import Any

from elf_pysandbox_worker.wire.values import Record


def to_json(value: Any) -> Any:
    """Return `value` in JSON types.

    Records become objects, enum members their value, dates ISO 8601 text, bytes base64 text, arrays lists, tables lists
    of rows; NaN and the infinities text. Anything else becomes its text.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Record):
        if value.kind == "enum":
            return to_json(value.fields["value"])
        return {name: to_json(item) for name, item in value.fields.items()}
    if isinstance(value, dict):
        return {key if type(key) is str else str(to_json(key)): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [to_json(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((to_json(item) for item in value), key=repr)
    return _leaf(value)


def _leaf(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    kind = type(value)
    if kind.__module__.partition(".")[0] == "pandas":
        return _table(value)
    if hasattr(value, "tolist"):
        return to_json(value.tolist())
    return str(value)


def _table(value: Any) -> Any:
    if type(value).__name__ == "DataFrame":
        return to_json(value.to_dict("records"))
    return to_json(value.tolist()) if hasattr(value, "tolist") else str(value)
