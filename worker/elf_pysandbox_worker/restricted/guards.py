"""The guards that run beside tool code: attribute access by risky or dynamic name, and pattern classes.

A guard decides by what the attribute *is*, wherever it can: `x.format` on a tool's own class is the tool's
own method, on a string it becomes the safe formatter. A refusal is an `AttributeError`, so `hasattr` and
`getattr(x, name, default)` work as for a missing attribute.
"""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable
from typing import Any

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, finding
from elf_pysandbox_worker.restricted.formatting import safe_format_method
from elf_pysandbox_worker.restricted.patterns import check_match_args
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.restricted.views import (
    ModuleNamespace,
    check_module_write,
    class_namespace,
    module_namespace,
)

_real_getattr = getattr
_real_setattr = setattr
_real_delattr = delattr

_RAW_TYPES = (types.FrameType, types.CodeType)
# By identity: a class of the caller's would be asked whether it equals one of these.
_SUSPECTS = frozenset(
    map(id, (*_RAW_TYPES, types.ModuleType, types.BuiltinFunctionType, types.GetSetDescriptorType))
)
_RAW_FUNCTIONS = frozenset(
    id(vars(builtins)[name])
    for name in names.words(
        "eval exec compile __import__ open input breakpoint getattr setattr delattr vars globals locals"
    )
)
_DESCRIPTOR_TYPES = (types.GetSetDescriptorType, types.MemberDescriptorType)
_HEAP_TYPE = (
    1 << 9
)  # Py_TPFLAGS_HEAPTYPE: a class that Python code or a module's set-up made, not a built-in type
_DEFINED = (type, types.FunctionType, types.BuiltinFunctionType)
_INTERNAL_HOMES = frozenset(
    names.words(
        "os posix sys subprocess importlib _frozen_importlib _imp socket _socket pickle marshal ctypes gc"
    )
)
_SLOT_TYPES = (types.WrapperDescriptorType, types.MethodWrapperType)


def plain_text(name: Any) -> str:
    """Return an attribute name as an exact str: a subclass could answer comparisons as it likes."""
    if type(name) is str:
        return name
    if isinstance(name, str):
        exact: str = str.__str__(name)
        return exact
    raise TypeError(f"attribute name must be string, not '{type(name).__name__}'")


def guarded_getattr(obj: Any, name: str, *default: Any) -> Any:
    """Read an attribute by the policy's table; the builtin `getattr` of tool code."""
    if type(name) is not str:
        name = plain_text(name)
    verdict = names.decide(name)
    if verdict == names.PLAIN:
        return _real_getattr(obj, name, *default)
    try:
        if verdict == names.REFUSED and not STATE.permits(name, *names.refusal(name)):
            raise DeniedAttribute([finding("PSB201", *names.refusal(name))])
        return admit(obj, name, _real_getattr(obj, name))
    except AttributeError:
        if default:
            return default[0]
        raise


def guarded_format(obj: Any) -> Any:
    """Read `obj.format`: for a string without a field that reads attributes, the method itself."""
    if type(obj) is str and "." not in obj:
        return obj.format
    return guarded_getattr(obj, "format")


class Formatted:
    """Stands for an object whose `format` is read, where what is read is not the attribute itself."""

    __slots__ = ("format",)

    def __init__(self, obj: Any) -> None:
        self.format = guarded_getattr(obj, "format")


def only_text(space: Any) -> dict[str, Any]:
    """Return a namespace of the caller's as a dict of plain text: other keys could compare equal to what they like."""
    named = {str.__str__(key): value for key, value in dict(space).items() if isinstance(key, str)}
    return {name: value for name, value in named.items() if names.GUARD_OPEN not in name}


def visible(names_of_scope: Any) -> Any:
    """Take the compiler's own variables out of what `locals()` or `dir()` gave."""
    if isinstance(names_of_scope, list):
        return [name for name in names_of_scope if names.GUARD_OPEN not in name]
    return {name: value for name, value in names_of_scope.items() if names.GUARD_OPEN not in name}


def guarded_hasattr(obj: Any, name: str) -> bool:
    """Tell whether `guarded_getattr` gives something."""
    try:
        guarded_getattr(obj, name)
    except AttributeError:
        return False
    return True


def guarded_setattr(obj: Any, name: str, value: Any) -> None:
    """Assign an attribute by a name that is not refused; the builtin `setattr` of tool code."""
    name = plain_text(name)
    if name == "__match_args__":
        check_match_args(value, type(obj) is type)
    else:
        _check_write(name)
    _real_setattr(obj, name, value)


def dataclass_setattr(cls: Any, name: str, value: Any) -> None:
    """Assign what `dataclasses` writes: field names may be guarded ones, unless one is a module of a base class.

    A pattern that would read such a name is refused where it stands (`patterns.guarded_pattern_class`).
    """
    if name == "__match_args__" and type(value) is tuple:
        for field in value:
            guarded = type(field) is str and names.decide(field) == names.GUARDED
            if not guarded or is_raw(_real_getattr(cls, field, None)):
                check_match_args((field,))
        _real_setattr(cls, name, value)
    else:
        guarded_setattr(cls, name, value)


def check_write(name: str) -> None:
    """Refuse a name that may not be assigned.

    Raises
    ------
    DeniedAttribute
    """
    _check_write(plain_text(name))


def guarded_delattr(obj: Any, name: str) -> None:
    """Delete an attribute by a name that is not refused."""
    name = plain_text(name)
    _check_write(name)
    _real_delattr(obj, name)


_NO_ARGUMENT = object()


def guarded_vars(obj: Any = _NO_ARGUMENT) -> Any:
    """Return `obj.__dict__`, as the builtin does; the compiler serves calls without an argument."""
    if obj is _NO_ARGUMENT:
        raise TypeError("vars() without an argument must be called by that name")
    try:
        return guarded_getattr(obj, "__dict__")
    except AttributeError:
        raise TypeError("vars() argument must have __dict__ attribute") from None


def _check_write(name: str) -> None:
    if name in names.REFUSED_WRITES or names.GUARD_OPEN in name:
        message, hint = names.refusal(name)
        if not STATE.permits(name, message, hint):
            raise DeniedAttribute([finding("PSB202", message, hint)])


# -- handlers: what a guarded name may give ----------------------------------------------------------------


def is_raw(value: Any) -> bool:
    """Tell whether a value is a module, namespace, frame, code object or builtin that is not published."""
    kind = type(value)
    if issubclass(kind, types.ModuleType):
        return not STATE.is_published(value)
    if _home(value if isinstance(value, _DEFINED) else kind) in _INTERNAL_HOMES:
        return True
    if kind in _RAW_TYPES or id(value) in _RAW_FUNCTIONS:
        return True
    if kind in _DESCRIPTOR_TYPES:
        # `type(len).__self__` gives the descriptor, and `__get__` then reads without the guard.
        return not value.__objclass__.__flags__ & _HEAP_TYPE or issubclass(value.__objclass__, type)
    return kind is dict and ("__builtins__" in value or "__build_class__" in value or value is sys.modules)


def admit(obj: Any, name: str, value: Any) -> Any:
    """Return what tool code gets for a guarded attribute with this real value, or refuse it."""
    return _HANDLERS.get(name, _not_raw)(obj, name, value)


def _home(value: Any) -> str:
    """Return the top-level module that a class or function says it comes from."""
    module = getattr(value, "__module__", None)
    return module.partition(".")[0] if type(module) is str else ""


def _not_raw(obj: Any, name: str, value: Any) -> Any:
    if is_raw(value):
        message = f"`{name}` of {type(obj).__name__} is an internal {type(value).__name__} and not published."
        if not STATE.permits(name, message, ""):
            raise DeniedAttribute([finding("PSB205", message)])
    return value


def _format(obj: Any, name: str, value: Any) -> Any:
    return safe_format_method(value)


def _namespace(obj: Any, name: str, value: Any) -> Any:
    """Guard `__dict__` by what it is: `super(…)` and `GenericAlias` objects hand out that of another object."""
    kind = type(value)
    if kind is types.MappingProxyType:
        return class_namespace(obj, value, admit)
    if kind is types.GetSetDescriptorType:
        # Of any class: its `__get__` gives the namespace of a module that is an instance of a subclass.
        return _DICT
    if kind is dict and issubclass(type(obj), types.ModuleType):
        return module_namespace(value)
    if kind is dict and _may_hold_raw(value):
        return _without_raw(_not_raw(obj, name, value))
    return value if kind is ModuleNamespace else _not_raw(obj, name, value)


def _may_hold_raw(space: dict[Any, Any]) -> bool:
    """Tell at little cost whether a look at each value is due: libraries write there without a guard."""
    return not (
        _SUSPECTS.isdisjoint(map(id, map(type, space.values()))) and names.GUARDED_NAMES.isdisjoint(space)
    )


def _accessor(obj: Any, name: str, value: Any) -> Any:
    """Wrap `__getattribute__` and the like: they take the attribute's name as an argument."""
    if name in ("__setattr__", "__delattr__"):
        return _checked_writer(value) if isinstance(value, _SLOT_TYPES) else value
    return _checked_reader(value)


def _checked_reader(reader: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*args: Any) -> Any:
        name = plain_text(args[-1]) if args else ""
        verdict = names.decide(name)
        if verdict == names.REFUSED and not STATE.permits(name, *names.refusal(name)):
            raise DeniedAttribute([finding("PSB201", *names.refusal(name))])
        value = reader(*args[:-1], name) if args else reader()
        return value if verdict == names.PLAIN else admit(args[0], name, value)

    return checked


def _checked_writer(writer: Callable[..., Any]) -> Callable[..., Any]:
    unbound = isinstance(writer, types.WrapperDescriptorType)

    def checked(*args: Any) -> Any:
        rest = args[1:] if unbound else args
        if rest:
            name = plain_text(rest[0])
            written = args[0] if unbound else writer.__self__  # type: ignore[attr-defined]
            if issubclass(type(written), types.ModuleType):  # `isinstance` would ask the object for its class
                check_module_write(name)
            if name == "__match_args__" and len(rest) == 2:
                check_match_args(rest[1])
            else:
                _check_write(name)
            rest = (name, *rest[1:])
        return writer(*args[:1], *rest) if unbound else writer(*rest)

    return checked


_DICT = property(guarded_vars)
"""What `vars(cls)["__dict__"]` is."""


def _state(obj: Any, name: str, value: Any) -> Any:
    """Wrap the interpreter's own `__getstate__` and its like: they hand out a namespace past `__dict__`'s guard."""
    if not isinstance(value, (types.BuiltinMethodType, types.MethodDescriptorType)):
        return _not_raw(obj, name, value)

    def checked(*args: Any) -> Any:
        subject = (
            _real_getattr(value, "__self__", None) if type(value) is types.BuiltinMethodType else args[:1]
        )
        for one in subject if type(subject) is tuple else (subject,):
            if isinstance(one, (type, types.ModuleType)):
                message = f"`{name}` of a class or module gives its namespace itself."
                raise DeniedAttribute([finding("PSB205", message, "Use vars() of it.")])
        found = value(*args)
        if name == "__getstate__":
            return _without_raw(found)
        return tuple(map(reduced, found)) if type(found) is tuple else found

    def reduced(part: Any) -> Any:
        # The interpreter looks it up among the builtins of whoever calls: those of this module are not the tool's.
        return guarded_getattr if part is _real_getattr else _without_raw(_not_raw(obj, name, part))

    return checked


def _without_raw(state: Any) -> Any:
    """Return a state without what tools may not read: a dict of attributes, or a tuple with such dicts."""
    if type(state) is tuple:
        return tuple(map(_without_raw, state))
    if type(state) is not dict or not any(_is_hidden(key, item) for key, item in state.items()):
        return state
    return {key: item for key, item in state.items() if not _is_hidden(key, item)}


def _is_hidden(key: Any, item: Any) -> bool:
    return is_raw(item) or (type(key) is str and names.decide(key) == names.REFUSED)


def _operator_helper(obj: Any, name: str, value: Any) -> Any:
    import operator

    from elf_pysandbox_worker.restricted import standins

    if value is operator.attrgetter:
        return standins.attrgetter
    if value is operator.methodcaller:
        return standins.methodcaller
    return _not_raw(obj, name, value)


def _formatter(obj: Any, name: str, value: Any) -> Any:
    from elf_pysandbox_worker.restricted import standins

    owner = getattr(value, "__func__", value)
    if isinstance(value, type):
        real = value.__module__ == "string" and value.__qualname__ == "Formatter"
        return standins.formatter_class() if real else value
    if (
        getattr(owner, "__module__", None) == "string"
        and getattr(owner, "__qualname__", "")[:10] == "Formatter."
    ):
        raise DeniedAttribute([finding("PSB204", f"`{name}` evaluates attribute names inside a string.")])
    return _not_raw(obj, name, value)


_HANDLERS: dict[str, Callable[[Any, str, Any], Any]] = {
    **dict.fromkeys(names.FORMAT_NAMES, _format),
    **dict.fromkeys(names.ACCESSOR_NAMES, _accessor),
    **dict.fromkeys(("attrgetter", "methodcaller"), _operator_helper),
    **dict.fromkeys(("Formatter", "vformat", "get_field"), _formatter),
    **dict.fromkeys(("__getstate__", "__reduce__", "__reduce_ex__"), _state),
    "__dict__": _namespace,
}
