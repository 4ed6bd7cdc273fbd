"""Results as the caller's own types: what came as data becomes an instance of a class that this process has."""

from __future__ import annotations

from typing import Any

from elf_pysandbox._errors import BadResultError
from elf_pysandbox_worker.wire.values import Record


def to_type(value: Any, wanted: Any) -> Any:
    """Make `value` one of type `wanted`, as pydantic reads types.

    Raises
    ------
    BadResultError
        It does not fit; every place is named.
    """
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(wanted, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        adapter = TypeAdapter(wanted)
    try:
        return adapter.validate_python(as_data(value))
    except ValidationError as error:
        lines = [f"result{_spell(item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)]
        raise BadResultError(f"the result is no {wanted!r}: {'; '.join(lines)}") from error


def as_data(value: Any) -> Any:
    """Records as dicts of their fields, enum members as their value; everything else as it is."""
    if isinstance(value, Record):
        if value.kind == "enum":
            return value.fields["value"]
        return {name: as_data(item) for name, item in value.fields.items()}
    if type(value) in (list, tuple):
        return type(value)(map(as_data, value))
    return {key: as_data(item) for key, item in value.items()} if type(value) is dict else value


def _spell(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
