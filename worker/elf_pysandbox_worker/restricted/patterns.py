"""Positional class patterns: which attributes they may read, decided once and held to.

`case Point(x, y)` reads the attributes that `Point.__match_args__` names, and no guard can stand inside a pattern. The
interpreter looks those names up after it has asked the class's metaclass whether the subject is an instance, and that
may be tool code, which changes them. So a pattern is given a class of the policy's own: it has the names that were
checked, and asks the real one.
"""

from __future__ import annotations

from typing import Any

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, finding
from elf_pysandbox_worker.restricted.state import STATE

_SELF_MATCHING = (bool, bytearray, bytes, dict, float, frozenset, int, list, set, str, tuple)
"""Classes whose patterns take one positional subpattern, the subject itself (PEP 634): no attribute is read."""

_SELF_MATCHING_IDS = frozenset(map(id, _SELF_MATCHING))
_MATCHES_SELF = 1 << 22  # Py_TPFLAGS_MATCH_SELF, which subclasses inherit
_CACHE_SIZE = 512

_missing: Any = object()
_cache: dict[int, tuple[type, Any, type]] = {}


class _Checked(type):
    """The metaclass of what stands in a pattern; `__globals__` is a name that no route reads."""

    def __instancecheck__(cls, subject: Any) -> bool:
        return isinstance(subject, cls.__globals__)  # type: ignore[attr-defined]


def guarded_pattern_class(cls: Any) -> Any:
    """Return what stands for a class in a positional pattern.

    Raises
    ------
    DeniedAttribute
        When its `__match_args__` name what is guarded or refused.
    """
    if id(cls) in _SELF_MATCHING_IDS or not issubclass(type(cls), type) or STATE.learn:
        return cls
    args = getattr(cls, "__match_args__", _missing)
    known = _cache.get(id(cls))
    if known is not None and known[0] is cls and known[1] is args:
        return known[2]
    if args is not _missing:
        check_match_args(args, type(cls) is type)
    made = _stand_in(cls, args)
    if len(_cache) >= _CACHE_SIZE:
        _cache.clear()
    _cache[id(cls)] = cls, args, made
    return made


def _stand_in(cls: type, args: Any) -> type:
    space = {"__globals__": cls, "__slots__": ()}
    if args is not _missing:
        space["__match_args__"] = args
    bases = (int,) if cls.__flags__ & _MATCHES_SELF and args is _missing else ()
    return _Checked(type.__dict__["__name__"].__get__(cls), bases, space)


def check_match_args(value: Any, own_instances: bool = False) -> None:
    """Refuse names that need a guard.

    `obj` is risky on exceptions that the interpreter raised; a class whose instances are its own matches none of them.
    """
    if type(value) is not tuple:
        _deny_pattern("`__match_args__` must be a tuple.")
    for name in value:
        harmless = type(name) is str and (
            names.decide(name) == names.PLAIN or (own_instances and name == "obj")
        )
        if not harmless:
            _deny_pattern(f"`__match_args__` names {name!r}.")


def _deny_pattern(message: str) -> None:
    if not STATE.permits("__match_args__", message, ""):
        raise DeniedAttribute([finding("PSB403", message)])
