"""Arguments to the annotated types, before a tool is called: what every call passes through.

`prepare` runs once, in the template. What it returns costs a call nothing where every argument has the exact type
of a plain annotation already, and keeps the template lean: `inspect` and pydantic (`binder`, `readers`) are loaded
there only for annotations that need more than that.

Two ways to read a value: *strict* (default) takes a value of the annotated type, or what stands for one in JSON, and
nothing else: what the published schema says. *Lax*, where a tool or caller asks for it, also converts as pydantic
does ("3" to int).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Converter = Callable[[tuple[Any, ...], dict[str, Any], Mapping[str, str]], Arguments]

_NO_OPTIONS: Mapping[str, str] = {}
_PLAIN = frozenset(
    {str, int, float, bool, bytes, list, dict, tuple, set, frozenset, complex, bytearray, type(None)}
)
_SPELT = {kind.__name__: kind for kind in _PLAIN} | {"None": type(None)}
_NOTHING: frozenset[type] = frozenset()
_MISSING = object()
_FLOAT, _INT = frozenset({float}), frozenset({int})
_EXACT = 1 << 53
"""Whole numbers below are floats without loss."""
_VARARGS, _VARKEYWORDS = 0x04, 0x08  # CO_VARARGS, CO_VARKEYWORDS (inspect module)


class _Shape(NamedTuple):
    """The parameters of a Python function, from its code object; types by `exact_types`."""

    positional: tuple[str, ...]
    in_order: tuple[frozenset[type] | None, ...]
    by_name: dict[str, frozenset[type] | None]
    required: frozenset[str]
    rest: Any
    extra: Any
    positional_only: int

    @property
    def trivial(self) -> bool:
        """Whether any argument will do, and Python's own binding says all there is to say."""
        kinds = (*self.in_order, *self.by_name.values(), self.rest, self.extra)
        return (
            not self.positional_only
            and all(kind in (None, _MISSING) for kind in kinds)
            and self.rest is _MISSING
        )

    @property
    def simple(self) -> bool:
        """Whether a look at the types is enough."""
        return _NOTHING not in (*self.in_order, *self.by_name.values(), self.rest, self.extra)


def prepare(function: Callable[..., Any]) -> Converter | None:
    """Return what makes the arguments of a call fit, None when there is nothing to fit.

    Returns
    -------
    callable or None
        ``(args, kwargs, options) -> (args, kwargs)``; raises `BadArguments` with every problem. Options:
        ``lax`` ("1"), ``named`` ("1": `kwargs` holds every argument by name, also those that Python takes by
        position only).
    """
    lazy = _Lazy(function)
    if not isinstance(function, (types.FunctionType, types.MethodType)):
        if isinstance(
            function, (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
        ):
            return lazy.only_with_options
        return lazy.load()
    shape = _shape_of(function)
    if shape is None or not shape.simple:
        return lazy.load()
    return None if shape.trivial else _with_fast_path(shape, lazy)


class _Lazy:
    """The `Binder` of a function, made when a call first needs it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._bind: Converter | None = None

    def load(self) -> Converter | None:
        """Make it now, with all that it imports; None when the function tells no signature or wants nothing."""
        from elf_pysandbox_worker import binder

        made = binder.binder_of(self._function)
        self._bind = made.bind if made is not None else _as_they_are
        return self._bind if made is not None else None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, str]) -> Arguments:
        """Bind and convert."""
        if self._bind is None:
            self.load()
        assert self._bind is not None
        return self._bind(args, kwargs, options)

    def only_with_options(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, str] = _NO_OPTIONS
    ) -> Arguments:
        """For C functions: they check their arguments themselves, but may have to be given them by position."""
        if not options or not kwargs:
            return args, kwargs
        names = _builtin_names(self._function)
        if not args and tuple(kwargs) == names[: len(kwargs)]:
            return tuple(kwargs.values()), {}
        return self.bind(args, kwargs, options)


def _as_they_are(args: tuple[Any, ...], kwargs: dict[str, Any], _options: Mapping[str, str]) -> Arguments:
    return args, kwargs


def _shape_of(function: Any) -> _Shape | None:
    """Read the parameters off the code object; None where only `inspect` can tell."""
    bound = isinstance(function, types.MethodType)
    if bound:
        function = function.__func__
    if not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
        return None
    if hasattr(function, "__signature__") or (
        hasattr(function, "__type_params__") and function.__type_params__
    ):
        return None
    code, hints = function.__code__, function.__annotations__
    space = function.__globals__
    count, keyword_only = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    kinds = {name: exact_types(_spelt(hints[name], space)) for name in hints if name != "return"}
    defaults = function.__defaults__ or ()
    if any(
        type(value).__name__ == "FieldInfo"
        for value in (*defaults, *(function.__kwdefaults__ or {}).values())
    ):
        return None
    after = count + keyword_only
    rest: Any = _MISSING
    extra: Any = _MISSING
    if code.co_flags & _VARARGS:
        rest = kinds.get(names[after])
        after += 1
    if code.co_flags & _VARKEYWORDS:
        extra = kinds.get(names[after])
    first = int(bound)
    positional = names[first:count]
    by_name = names[max(code.co_posonlyargcount, first) : count + keyword_only]
    required = {*names[first : count - len(defaults)], *names[count : count + keyword_only]}
    return _Shape(
        positional,
        tuple(kinds.get(name) for name in positional),
        {name: kinds.get(name) for name in by_name},
        frozenset(required.difference(function.__kwdefaults__ or ())),
        rest,
        extra,
        code.co_posonlyargcount,
    )


def _spelt(annotation: Any, space: dict[str, Any]) -> Any:
    """Read the plainest annotations out of their text (PEP 563): builtin names, and unions of them."""
    if not isinstance(annotation, str):
        return annotation
    parts = [part.strip() for part in annotation.split("|")]
    if not all(part in _SPELT and part not in space for part in parts):
        return annotation
    kinds: Any = _SPELT[parts[0]]
    for part in parts[1:]:
        kinds = kinds | _SPELT[part]
    return kinds


def exact_types(annotation: Any) -> frozenset[type] | None:
    """Return the types that satisfy an annotation as they are: None for any type; no type at all when it takes
    more than a look."""
    typing = sys.modules.get("typing")
    if annotation is object or (typing is not None and annotation is typing.Any):
        return None
    if annotation is None:
        return frozenset({type(None)})
    if isinstance(annotation, type):
        if annotation.__module__ == "inspect" and annotation.__name__ == "_empty":
            return None
        return frozenset({annotation}) if annotation in _PLAIN else _NOTHING
    union = isinstance(annotation, types.UnionType)
    if not union and typing is not None:
        union = typing.get_origin(annotation) is typing.Union
    if not union:
        return _NOTHING
    kinds: frozenset[type] = _NOTHING
    for part in annotation.__args__:
        found = exact_types(part)
        if found is None or not found:
            return found
        kinds |= found
    return kinds


def _scalar(value: Any, kinds: frozenset[type], lax: bool) -> Any:
    """Convert between text and numbers in the plain cases, as pydantic would; `_MISSING` for any other."""
    kinds = kinds - {type(None)}
    if len(kinds) != 1:
        return _MISSING
    if kinds == _FLOAT:
        if type(value) is int and -_EXACT < value < _EXACT:
            return float(value)
        if type(value) is str and lax and len(value) < 40 and value.isascii() and value.isdigit():
            return float(value)
    elif kinds == _INT:
        if type(value) is float and -_EXACT < value < _EXACT and value.is_integer():
            return int(value)
        if type(value) is str and lax and len(value) < 40:
            digits = value.removeprefix("-")
            return int(value) if digits.isascii() and digits.isdigit() else _MISSING
    return _MISSING


def _builtin_names(function: Any) -> tuple[str, ...]:
    """Parameters that a C function takes by position only, from its ``__text_signature__``: ``($module, x, /)``."""
    text = getattr(function, "__text_signature__", None) or ""
    head, slash, _ = text.strip("()").partition("/")
    names = [part.strip() for part in head.split(",") if part.strip()] if slash else []
    names = [name for name in names if not name.startswith("$")]
    return tuple(names) if all(name.isidentifier() for name in names) else ()


def _with_fast_path(shape: _Shape, lazy: _Lazy) -> Converter:
    positional, in_order, by_name, required = shape.positional, shape.in_order, shape.by_name, shape.required
    others = _NOTHING if shape.extra is _MISSING else shape.extra
    most = sys.maxsize if shape.rest is None else len(in_order)
    least = sum(name in required and name not in by_name for name in positional)
    special = bool(shape.positional_only) or shape.rest is not _MISSING

    def convert(
        args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, str] = _NO_OPTIONS
    ) -> Arguments:
        if not least <= len(args) <= most or not required.issubset((*positional[: len(args)], *kwargs)):
            return lazy.bind(args, kwargs, options)
        if special and options:
            return lazy.bind(args, kwargs, options)
        lax = bool(options) and "lax" in options
        for index, kinds in enumerate(in_order[: len(args)]):
            if kinds is not None and type(args[index]) not in kinds:
                fitting = _scalar(args[index], kinds, lax)
                if fitting is _MISSING:
                    return lazy.bind(args, kwargs, options)
                args = (*args[:index], fitting, *args[index + 1 :])
        for name, value in kwargs.items():
            kinds = by_name.get(name, others)
            if kinds is not None and type(value) not in kinds:
                fitting = _scalar(value, kinds, lax)
                if fitting is _MISSING:
                    return lazy.bind(args, kwargs, options)
                kwargs = {**kwargs, name: fitting}
        return args, kwargs

    return convert
