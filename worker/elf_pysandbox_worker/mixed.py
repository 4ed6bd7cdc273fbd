"""Values of which part is JSON and part is Python's own, read strictly all the same.

Pydantic's strict mode takes a dataclass from JSON, or an instance of it, but no dict that holds a `datetime`. So the
schema that pydantic made is read in lax mode, in which containers and classes are made of dicts and lists, with
every leaf of it that would convert made strict.
"""

from __future__ import annotations

from typing import Any

_STRICT = frozenset({"int", "float", "bool", "str"})
_TIMES = frozenset({"date", "datetime", "time", "timedelta"})
# These are not schemas, though a default may look like one; a key of a dict is text in JSON whatever its type.
_NOT_SCHEMAS = frozenset(
    {"metadata", "serialization", "default", "default_factory", "cls", "config", "expected", "members"}
    | {"function", "keys_schema", "computed_fields"}
)


def validator_of(schema: Any) -> Any:
    """Return a validator for a pydantic core schema whose leaves convert nothing."""
    from pydantic_core import SchemaValidator

    made: Any = SchemaValidator
    try:
        # Since pydantic 2.10 a class's own validator would be used in place of its part of the schema.
        return made(_exact(schema), _use_prebuilt=False)
    except TypeError:
        # 2.10 and 2.11 reuse them and have no such option: models within such values are read in lax mode there.
        return made(_exact(schema))


def _exact(part: Any) -> Any:
    if isinstance(part, (list, tuple)):
        return type(part)(map(_exact, part))
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if not isinstance(kind, str):  # fields by name
        return {key: _exact(value) for key, value in part.items()}
    made = {key: value if key in _NOT_SCHEMAS else _exact(value) for key, value in part.items()}
    if kind in _STRICT:
        made["strict"] = True
    if kind in _TIMES:
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": _no_number},
            "schema": made,
        }
    return made


def _no_number(value: Any) -> Any:
    """Refuse seconds since an epoch for a date, and numbers for a span of time."""
    if isinstance(value, (int, float)):
        raise ValueError("a number is no date or time here")
    return value
