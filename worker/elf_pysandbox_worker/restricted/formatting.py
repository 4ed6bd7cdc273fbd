"""`str.format` and `format_map` without attribute walks.

A format string is data that reads attributes (``"{0.__globals__}"``). The safe methods parse the string
first, refuse field names that read a guarded attribute, and then call the real method: results are those of
plain CPython.
"""

from __future__ import annotations

import _string  # type: ignore[import-not-found]
import types
from collections.abc import Callable
from typing import Any

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, finding
from elf_pysandbox_worker.restricted.state import STATE

_CACHE_SIZE = 512
_seen: set[str] = set()


def check_format(template: str) -> None:
    """Refuse a format string with a field that reads a guarded attribute.

    Raises
    ------
    DeniedAttribute
        Naming the attribute.
    """
    template = str.__str__(template)  # a subclass could answer `in` as it likes
    if "." not in template or "{" not in template or template in _seen:
        return
    _check_fields(template, depth=2)
    if len(template) < 1024:
        if len(_seen) >= _CACHE_SIZE:
            _seen.clear()
        _seen.add(template)


def _check_fields(template: str, depth: int) -> None:
    try:
        fields = list(_string.formatter_parser(template))
    except ValueError:
        return  # the real method raises the same, with its own message
    for _, field, spec, _ in fields:
        if field:
            check_field_name(field)
        if spec and depth:
            _check_fields(spec, depth - 1)


def check_field_name(field: str) -> None:
    """Refuse a replacement field's name that reads a guarded attribute."""
    _, rest = _string.formatter_field_name_split(field)
    for is_attribute, part in rest:
        if is_attribute and names.decide(part) != names.PLAIN:
            message = f"The format field {{{field}}} reads `{part}`."
            if not STATE.permits(part, message, ""):
                raise DeniedAttribute([finding("PSB204", message)])


def _bound(real: Callable[..., str]) -> Callable[..., str]:
    template = str.__str__(real.__self__)  # type: ignore[attr-defined]
    if "." not in template:
        return real  # no field reads an attribute: the real method, at its own speed

    def safe_format(*args: Any, **kwargs: Any) -> str:
        check_format(template)
        return real(*args, **kwargs)

    return safe_format


def _unbound(name: str) -> Callable[..., str]:
    def safe_format(self: str, /, *args: Any, **kwargs: Any) -> str:
        check_format(str.__str__(self))
        return getattr(str, name)(self, *args, **kwargs)  # type: ignore[no-any-return]

    safe_format.__name__ = name
    return safe_format


_UNBOUND = {str.format: _unbound("format"), str.format_map: _unbound("format_map")}


def safe_format_method(value: Any) -> Any:
    """Return the safe form of a string's `format` or `format_map`; anything else as it is."""
    kind = type(value)
    if kind is types.BuiltinMethodType and isinstance(value.__self__, str):
        return _bound(value)
    if kind is types.MethodDescriptorType:
        return _UNBOUND.get(value, value)
    return value
