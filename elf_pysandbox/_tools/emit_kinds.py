"""Kinds of objects that are written in a way of their own: shorter, or where ``__reduce_ex__`` says too
little."""

from __future__ import annotations

import collections
import enum
import functools
import re
import types
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elf_pysandbox._tools.emit import Emitter


def write(emitter: Emitter, value: Any, where: str) -> str | None:
    """Return an expression for an object of these kinds, None for any other."""
    for kind, writer in _WRITERS:
        if isinstance(value, kind):
            found = writer(emitter, value, where)
            if found is not None:
                return found  # type: ignore[no-any-return]
    return None


def _partial(emitter: Emitter, value: Any, where: str) -> str:
    parts = [emitter.expression(value.func, f"{where}: its function")]
    parts += [emitter.expression(item, f"{where}: argument {index}") for index, item in enumerate(value.args)]
    for key, item in value.keywords.items():
        parts.append(f"{key}={emitter.expression(item, f'{where}: argument {key!r}')}")
    return f"{emitter.expression(functools.partial, where)}({', '.join(parts)})"


def _method(emitter: Emitter, value: Any, where: str) -> str:
    name = value.__func__.__name__
    owner = emitter.expression(value.__self__, f"{where}: the object it is bound to")
    bound = getattr(type(value.__self__), name, None)
    if isinstance(value.__self__, type) or bound is value.__func__:
        return f"{owner}.{name}"
    function = emitter.expression(value.__func__, where)
    return f"{emitter.expression(types.MethodType, where)}({function}, {owner})"


def _builtin_method(emitter: Emitter, value: Any, where: str) -> str | None:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return None
    written = emitter.expression(owner, f"{where}: the object it is bound to")
    return f"({written}).{value.__name__}" if written[0].isdigit() else f"{written}.{value.__name__}"


def _cached(emitter: Emitter, value: Any, where: str) -> str:
    options = value.cache_parameters()
    with emitter.inside(value, where):
        inner = emitter.expression(value.__wrapped__, where)
    cache = emitter.expression(functools.lru_cache, where)
    return f"{cache}(maxsize={options['maxsize']!r}, typed={options['typed']!r})({inner})"


def _pattern(emitter: Emitter, value: Any, where: str) -> str:
    return f"{emitter.expression(re.compile, where)}({value.pattern!r}, {int(value.flags)})"


def _enum_member(emitter: Emitter, value: Any, where: str) -> str:
    return (
        f"{emitter.expression(type(value), f'{where}: its class')}({emitter.expression(value.value, where)})"
    )


def _named_tuple(emitter: Emitter, value: Any, where: str) -> str | None:
    if type(value) is tuple or not hasattr(value, "_fields"):
        return None
    items = [emitter.expression(item, f"{where}[{index}]") for index, item in enumerate(value)]
    return f"{emitter.expression(type(value), f'{where}: its class')}({', '.join(items)})"


def _named_tuple_class(emitter: Emitter, value: Any, where: str) -> str | None:
    if not (issubclass(value, tuple) and value.__bases__ == (tuple,) and hasattr(value, "_field_defaults")):
        return None
    defaults = [emitter.expression(item, where) for item in value._field_defaults.values()]
    make = emitter.expression(collections.namedtuple, where)
    target = value.__name__ if emitter.reserve(value.__name__, value) else emitter.fresh(value.__name__)
    written = f"{make}({value.__name__!r}, {list(value._fields)!r}, defaults=[{', '.join(defaults)}])"
    emitter.lines.append(f"{target} = {written}")
    return target


def _type_variable(emitter: Emitter, value: Any, where: str) -> str:
    parts = [repr(value.__name__)]
    parts += [emitter.expression(item, where) for item in getattr(value, "__constraints__", ())]
    if (bound := getattr(value, "__bound__", None)) is not None:
        parts.append(f"bound={emitter.expression(bound, where)}")
    parts += [f"{key}=True" for key in ("covariant", "contravariant") if getattr(value, f"__{key}__", False)]
    return f"{emitter.expression(type(value), where)}({', '.join(parts)})"


def _new_type(emitter: Emitter, value: Any, where: str) -> str:
    kind = emitter.expression(typing.NewType, where)
    return f"{kind}({value.__name__!r}, {emitter.expression(value.__supertype__, where)})"


def _static(emitter: Emitter, value: Any, where: str) -> str:
    return f"{type(value).__name__}({emitter.expression(value.__func__, where)})"


_WRITERS: list[tuple[Any, Any]] = [
    (functools.partial, _partial),
    (types.MethodType, _method),
    ((types.BuiltinMethodType, types.MethodWrapperType), _builtin_method),
    (type(functools.lru_cache(lambda: None)), _cached),
    (re.Pattern, _pattern),
    ((typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple), _type_variable),
    (typing.NewType, _new_type),
    (enum.Enum, _enum_member),
    (tuple, _named_tuple),
    ((staticmethod, classmethod), _static),
    (type, _named_tuple_class),
]
