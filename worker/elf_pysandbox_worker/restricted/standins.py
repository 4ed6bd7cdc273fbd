"""Stand-ins for library callables that read attributes by names inside strings, or evaluate text.

Results are those of the real ones; what differs is that every name is decided by `names` first.
"""

from __future__ import annotations

import _string  # type: ignore[import-not-found]
import functools
from collections.abc import Callable
from keyword import iskeyword
from types import DynamicClassAttribute
from typing import Any

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute
from elf_pysandbox_worker.restricted.formatting import check_field_name
from elf_pysandbox_worker.restricted.guards import guarded_getattr, guarded_vars, plain_text
from elf_pysandbox_worker.restricted.untouched import mro_of


def attrgetter(attr: str, /, *attrs: str) -> Callable[[Any], Any]:
    """Return a reader of attributes, guarded where a name needs it.

    Never `operator.attrgetter`'s own instance: its class can be had from it, and takes any name.
    """
    paths = tuple(tuple(plain_text(path).split(".")) for path in (attr, *attrs))
    found = _readers.get(paths)
    if found is None:
        found = _reader(paths)
        if len(_readers) < _READERS:
            _readers[paths] = found
    return found


_READERS = 256
_readers: dict[tuple[tuple[str, ...], ...], Callable[[Any], Any]] = {}


def _reader(paths: tuple[tuple[str, ...], ...]) -> Callable[[Any], Any]:
    parts = [part for path in paths for part in path]
    if all(part.isascii() and part.isidentifier() and not iskeyword(part) for part in parts) and all(
        names.decide(part) == names.PLAIN for part in parts
    ):
        reads = [".".join(("obj", *path)) for path in paths]
        text = reads[0] if len(paths) == 1 else f"({', '.join(reads)})"
        return eval(f"lambda obj: {text}", {"__builtins__": {}})  # type: ignore[no-any-return]

    def get(obj: Any) -> Any:
        found = tuple(functools.reduce(guarded_getattr, path, obj) for path in paths)
        return found if len(paths) > 1 else found[0]

    return get


def methodcaller(name: str, /, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """Return a caller of a method, guarded; as little `operator.methodcaller`'s own instance."""
    name = plain_text(name)

    def call(obj: Any) -> Any:
        return guarded_getattr(obj, name)(*args, **kwargs)

    return call


class Formatter:
    """`string.Formatter` with guarded field names.

    Written anew instead of derived: from a subclass, `super(Formatter, f).get_field` would reach the real
    one.
    """

    def format(self, format_string: str, /, *args: Any, **kwargs: Any) -> str:
        """Format with the arguments, as `str.format`."""
        return self.vformat(format_string, args, kwargs)

    def vformat(self, format_string: str, args: Any, kwargs: Any) -> str:
        """Format with a sequence and a mapping."""
        used: set[int | str] = set()
        result, _ = self._expand(format_string, args, kwargs, used, 2, 0)
        self.check_unused_args(used, args, kwargs)
        return result

    def _expand(
        self, text: str, args: Any, kwargs: Any, used: set[int | str], depth: int, auto: int | bool
    ) -> tuple[str, int | bool]:
        if depth < 0:
            raise ValueError("Max string recursion exceeded")
        result: list[str] = []
        for literal, field, spec, conversion in self.parse(text):
            if literal:
                result.append(literal)
            if field is None:
                continue
            numbered, auto = _numbered(field, auto)
            obj, key = self.get_field(numbered, args, kwargs)
            used.add(key)
            obj = self.convert_field(obj, conversion)
            expanded, auto = self._expand(spec or "", args, kwargs, used, depth - 1, auto)
            result.append(self.format_field(obj, expanded))
        return "".join(result), auto

    def get_value(self, key: int | str, args: Any, kwargs: Any) -> Any:
        """Return the argument that a field starts from."""
        return args[key] if isinstance(key, int) else kwargs[key]

    def check_unused_args(self, used_args: Any, args: Any, kwargs: Any) -> None:
        """Accept arguments that no field used; for subclasses to override."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format one value."""
        return format(value, format_spec)

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        """Apply `!s`, `!r` or `!a`."""
        if conversion is None:
            return value
        conversions: dict[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}
        convert = conversions.get(conversion)
        if convert is None:
            raise ValueError(f"Unknown conversion specifier {conversion!s}")
        return convert(value)

    def parse(self, format_string: str) -> Any:
        """Split a format string into literals and fields."""
        return _string.formatter_parser(format_string)

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return the value a field names, and the key it starts from."""
        check_field_name(field_name)
        first, rest = _string.formatter_field_name_split(field_name)
        obj = self.get_value(first, args, kwargs)
        for is_attribute, part in rest:
            obj = guarded_getattr(obj, part) if is_attribute else obj[part]
        return obj, first


Formatter.__module__ = "string"


def _numbered(field: str, auto: int | bool) -> tuple[str, int | bool]:
    """Number an empty field, as `str.format` does; `auto` is False once fields were numbered by hand."""
    if field == "":
        if auto is False:
            raise ValueError("cannot switch from manual field specification to automatic field numbering")
        return str(auto), auto + 1
    if field.isdigit():
        if auto:
            raise ValueError("cannot switch from manual field specification to automatic field numbering")
        return field, False
    return field, auto


def formatter_class() -> type[Formatter]:
    """Return the stand-in for `string.Formatter`."""
    return Formatter


def getmembers(object: Any, predicate: Callable[[Any], Any] | None = None) -> list[tuple[str, Any]]:
    """Return what `inspect.getmembers` does, without what tools may not read.

    The real one takes from the dict of a class what `getattr` refuses, by keys that compare as `__dir__` wants.
    """
    bases = mro_of(object) if issubclass(type(object), type) else ()  # whatever a metaclass says of them
    listed = [plain_text(name) for name in dir(object)]
    if bases:
        virtual = [items for base in object.__bases__ for items in guarded_vars(base).items()]
        listed += [plain_text(name) for name, value in virtual if isinstance(value, DynamicClassAttribute)]
    found: list[tuple[str, Any]] = []
    seen: set[str] = set()
    for name in listed:
        try:
            value = guarded_getattr(object, name)
            in_class = name in seen
        except DeniedAttribute:
            continue
        except AttributeError:
            in_class = True
        if in_class:
            spaces = [space for space in map(guarded_vars, bases) if name in space]
            if not spaces:
                continue
            value = spaces[0][name]
        seen.add(name)
        # What stands in for a slot is a function, which the slot is not.
        real = value if names.decide(name) == names.PLAIN else getattr(object, name, None)
        if predicate is None or (value is real and predicate(value)):
            found.append((name, value))
    return sorted(found, key=lambda pair: pair[0])


class catch_warnings:  # noqa: N801 - the library's name
    """`warnings.catch_warnings`, whose own instances hand out the module they save."""

    __slots__ = ("__globals__",)  # a name that no route reads

    def __init__(self, **options: Any) -> None:
        import warnings

        options.pop("module", None)
        # Not by attribute: a subclass may have a `__setattr__`, and the real class another subclass.
        _caught.__set__(self, warnings.catch_warnings(**options))

    def __enter__(self) -> Any:
        return _caught.__get__(self).__enter__()

    def __exit__(self, *exc_info: Any) -> None:
        _caught.__get__(self).__exit__(*exc_info)


_caught: Any = catch_warnings.__dict__["__globals__"]


REPLACED: dict[str, dict[str, Any]] = {
    "inspect": {"getmembers": getmembers},
    "operator": {"attrgetter": attrgetter, "methodcaller": methodcaller},
    "string": {"Formatter": Formatter},
    "warnings": {"catch_warnings": catch_warnings},
}
"""Module -> published name -> what its facade holds instead."""
