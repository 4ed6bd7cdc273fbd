"""Instances of classes: as records where their class declares its fields, by name where it does not cross.

Decided here and nowhere else: which instances have declared fields, and what is said of those that have not.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from elf_pysandbox_worker.wire import tags
from elf_pysandbox_worker.wire.record import MAX_NAME, Record

if TYPE_CHECKING:
    from elf_pysandbox_worker.wire.writer import Writer

_HINTS: Final = {
    "generator": "{give} list(...) of it",
    "async_generator": "{give} a list of its items",
    "coroutine": "await it",
    "function": "{give} what it computes",
    "builtin_function_or_method": "{give} what it computes",
    "method": "{give} what it computes",
    "partial": "{give} what it computes",
    "lock": "make it where it is used: it is one process's own",
    "RLock": "make it where it is used: it is one process's own",
    "NotImplementedType": "{give} None instead",
    "count": "{give} a list of as many of its items as are needed",
    "cycle": "{give} a list of as many of its items as are needed",
    "repeat": "{give} a list of as many of its items as are needed",
    "SimpleNamespace": "{give} vars(...) of it",
    "UserDict": "{give} dict(...) of it",
    "ChainMap": "{give} dict(...) of it",
    "module": "{give} what you need of it",
    "dict_keys": "{give} list(...) of it",
    "dict_values": "{give} list(...) of it",
    "dict_items": "{give} list(...) of it",
    "map": "{give} list(...) of it",
    "filter": "{give} list(...) of it",
    "zip": "{give} list(...) of it",
    "enumerate": "{give} list(...) of it",
    "mappingproxy": "{give} dict(...) of it",
    "deque": "{give} list(...) of it",
    "array": "{give} its tolist() or tobytes()",
    "TextIOWrapper": "{give} what it contains",
    "BufferedReader": "{give} what it contains",
    "BytesIO": "{give} its getvalue()",
    "StringIO": "{give} its getvalue()",
}
_BASES: Final = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_MODULES: Final = frozenset({"numpy", "pandas"})


def full_name(kind: type) -> str:
    """Return module and qualified name of a class; without the module for builtins."""
    name = str(kind.__qualname__)[:200]
    module = str(kind.__module__)[:200]
    return name if module == "builtins" else f"{module}.{name}"


def write(writer: Writer, value: Any) -> None:
    """Write an instance of none of the builtin kinds, or refuse it.

    Raises
    ------
    UnsupportedValue
    """
    kind = type(value)
    if kind is Record:
        _write_record(writer, value, value.type_name, value.module, value.kind, dict(value.fields))
        return
    if str(kind.__module__).partition(".")[0] in _MODULES and _write_table(writer, value):
        return
    try:
        found = _declared(value)
    except Exception as error:  # a property of the value's own class
        raise writer.refuse(value, f"has a field that cannot be read: {type(error).__name__}") from error
    if found is None:
        raise writer.refuse(value, f"is of type {full_name(kind)}, which cannot cross", _hint(writer, value))
    how, fields, mutable = found
    if mutable:
        writer.enter(value)
    _write_record(writer, value, kind.__qualname__, kind.__module__, how, fields)


def _write_table(writer: Writer, value: Any) -> bool:
    """Write what numpy and pandas have; neither is imported for anything else."""
    if "numpy" not in sys.modules:
        return False
    from elf_pysandbox_worker.wire import arrays

    if arrays.write(writer, value):
        return True
    if "pandas" not in sys.modules:
        return False
    from elf_pysandbox_worker.wire import tables

    return tables.write(writer, value)


def _declared(value: Any) -> tuple[str, dict[str, Any], bool] | None:
    """Return the kind of record, the fields by name, and whether the object can change; or None."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return "enum", {"name": value._name_, "value": value._value_}, False
    if hasattr(kind, "__pydantic_fields__") and "__pydantic_extra__" in dir(kind):
        return "pydantic", {**value.__dict__, **(value.__pydantic_extra__ or {})}, True
    declared = getattr(kind, "__dataclass_fields__", None)
    if type(declared) is dict and not isinstance(value, (*_BASES, type)):
        names = [name for name, field in declared.items() if field._field_type.name == "_FIELD"]
        return "dataclass", _attributes(value, names), not kind.__dataclass_params__.frozen
    if isinstance(value, tuple) and _is_names(getattr(kind, "_fields", None), len(value)):
        return "namedtuple", dict(zip(kind._fields, value, strict=True)), False
    if isinstance(value, msgspec.Struct):
        return "struct", _attributes(value, value.__struct_fields__), not value.__struct_config__.frozen
    return None


def _attributes(value: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _is_names(names: object, count: int) -> bool:
    return type(names) is tuple and len(names) == count and all(type(name) is str for name in names)


def _write_record(
    writer: Writer, value: object, name: str, module: str, kind: str, fields: dict[str, Any]
) -> None:
    if len(writer.steps) >= tags.MAX_DEPTH:
        raise writer.refuse(
            value, f"lies more than {tags.MAX_DEPTH} levels deep", f"{writer.give} a flatter value"
        )
    writer.keep(fields)
    head = [_printable(name), _printable(module), kind]
    writer.tagged(tags.RECORD, _write_fields, writer, head, fields)


def _write_fields(writer: Writer, head: list[str], fields: dict[str, Any]) -> None:
    writer.put(b"\x95" + b"".join(map(tags.encode, head)))
    writer.write_array(fields)
    writer.put(tags.array_head(len(fields)))
    writer.steps.append(0)
    for name, item in fields.items():
        writer.steps[-1] = name
        writer.write(item)
    writer.steps.pop()


def _printable(name: object) -> str:
    """Return the name of a class or module as the reader accepts it: printable, and short."""
    text = str(name)[:MAX_NAME]
    return text if text.isprintable() else ascii(text)[1:-1][:MAX_NAME]


def _hint(writer: Writer, value: object) -> str:
    kind = type(value)
    if kind.__name__ in _HINTS:
        return _HINTS[kind.__name__].format(give=writer.give)
    for base in _BASES:
        if isinstance(value, base):
            return f"{writer.give} {base.__name__}(...) of it"
    if isinstance(value, type):
        return f"{writer.give} its name"
    if isinstance(value, BaseException):
        return f"raise it, or {writer.give} its text" if writer.give == "return" else "pass its text"
    if hasattr(kind, "__next__") and hasattr(kind, "__iter__"):
        return f"{writer.give} list(...) of it"
    if str(kind.__module__).partition(".")[0] in _MODULES | sys.stdlib_module_names:
        return f"{writer.give} what you need of it"  # nobody can declare the fields of its class
    return f"{writer.give} its fields in a dict, or make its class a dataclass"
