"""Stand-ins for library callables that read attributes by names inside strings, or evaluate text.

Results are those of the real ones; what differs is that every name is decided by `names` first.
"""

from __future__ import annotations

import _string  # type: ignore[import-not-found]
import functools
import operator
from collections.abc import Callable
from typing import Any

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.formatting import check_field_name
from elf_pysandbox_worker.restricted.guards import guarded_getattr, plain_text


def attrgetter(attr: str, /, *attrs: str) -> Callable[[Any], Any]:
    """Return `operator.attrgetter` itself for plain names, a guarded reader for others."""
    paths = [plain_text(path).split(".") for path in (attr, *attrs)]
    if all(names.decide(part) == names.PLAIN for path in paths for part in path):
        return operator.attrgetter(attr, *attrs)

    def get(obj: Any) -> Any:
        found = tuple(functools.reduce(guarded_getattr, path, obj) for path in paths)
        return found if attrs else found[0]

    return get


def methodcaller(name: str, /, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """Return `operator.methodcaller` itself for a plain name, a guarded caller for others."""
    name = plain_text(name)
    if names.decide(name) == names.PLAIN:
        return operator.methodcaller(name, *args, **kwargs)

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


class catch_warnings:  # noqa: N801 - the library's name
    """`warnings.catch_warnings`, whose own instances hand out the module they save."""

    __slots__ = ("__globals__",)  # a name that no route reads

    def __init__(self, **options: Any) -> None:
        import warnings

        options.pop("module", None)
        self.__globals__ = warnings.catch_warnings(**options)

    def __enter__(self) -> Any:
        return self.__globals__.__enter__()

    def __exit__(self, *exc_info: Any) -> None:
        self.__globals__.__exit__(*exc_info)


REPLACED: dict[str, dict[str, Any]] = {
    "operator": {"attrgetter": attrgetter, "methodcaller": methodcaller},
    "string": {"Formatter": Formatter},
    "warnings": {"catch_warnings": catch_warnings},
}
"""Module -> published name -> what its facade holds instead."""
