"""Instances as data: what a host sees of an object whose class it does not import."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

Kind = Literal["dataclass", "enum", "namedtuple", "pydantic", "struct"]
KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))
MAX_NAME: Final = 256
"""Characters of the name of a class or module."""


class Record:
    """An Enum member, dataclass, pydantic model, named tuple or msgspec struct, as plain data.

    Nothing of its class is imported or run. Fields are read as attributes (``record.name``), or by
    ``record["name"]`` where a field begins with an underscore or is called as one of the attributes or methods below.
    ``dict(record)`` has the fields as they are, `as_dict` converts the records in them as well. Of a named tuple,
    ``record[0]`` is the first field; iterating gives the names. Records are read-only and compare equal when type,
    kind and fields do.

    Attributes
    ----------
    type_name, module : str
        `__qualname__` and `__module__` of the class, as the sender states them.
    kind : {"dataclass", "enum", "namedtuple", "pydantic", "struct"}
    fields : mapping of str to value
        For an Enum member `name` and `value`.
    """

    __slots__ = ("fields", "kind", "module", "type_name")

    type_name: str
    module: str
    kind: str
    fields: Mapping[str, Any]

    def __init__(self, type_name: str, module: str, kind: str, fields: Mapping[str, Any]) -> None:
        put = object.__setattr__
        put(self, "type_name", type_name)
        put(self, "module", module)
        put(self, "kind", kind)
        put(self, "fields", MappingProxyType(dict(fields)))

    def __getattr__(self, name: str) -> Any:
        # Protocols are looked up as attributes too, and the sender chose the names of the fields: numpy would
        # read the memory that an `__array_interface__` points to, a notebook would show a `_repr_html_`.
        # (A slot that copy or pickle has not filled yet comes here as well.)
        if not name.startswith("_") and name not in Record.__slots__ and name in self.fields:
            return self.fields[name]
        raise AttributeError(f"{self.type_name!r} record has no field {name!r}")

    def __getitem__(self, name: str | int) -> Any:
        if isinstance(name, int) and self.kind == "namedtuple":
            return tuple(self.fields.values())[name]
        return self.fields[name]  # type: ignore[index]

    def keys(self) -> KeysView[str]:
        """Return the names of the fields; what makes ``dict(record)`` and ``**record`` work."""
        return self.fields.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"records are read-only: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"records are read-only: cannot delete {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (self.type_name, self.module, self.kind, dict(self.fields))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self._key() == other._key() and self.fields == other.fields

    def __hash__(self) -> int:
        return hash((self._key(), tuple(self.fields.items())))

    def __repr__(self) -> str:
        if self.kind == "enum":
            return f"<{self.type_name}.{self.fields['name']}: {self.fields['value']!r}>"
        inner = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"{self.type_name}({inner})"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a new dict, with the records inside lists, tuples and dicts converted too.

        Enum members become their value.
        """
        return {name: _plain(value) for name, value in self.fields.items()}

    def _key(self) -> tuple[str, str, str]:
        return self.type_name, self.module, self.kind


def _plain(value: Any) -> Any:
    if type(value) is Record:
        return _plain(value.fields["value"]) if value.kind == "enum" else value.as_dict()
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) is list:
        return [_plain(item) for item in value]
    if type(value) is tuple:
        return tuple(_plain(item) for item in value)
    return value
