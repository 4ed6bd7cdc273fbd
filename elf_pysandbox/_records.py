"""Frozen records: dataclasses that are made without importing `dataclasses`, which brings `inspect` along.

Decided here and nowhere else: what a record of the face can do. To users it is a frozen dataclass, and all of that
module works on it (`replace`, `fields`, `asdict`, `is_dataclass`): what only that module needs is made when it first
asks, and the constructor when it is first looked at. Most records of this package are never made before a program's
first call has its result, and that is what a program waits for.
"""

from __future__ import annotations

import sys
from _operator import attrgetter

__all__ = ["field", "record"]

TYPE_CHECKING = False  # `typing` costs more than all that stands before the start of the zygote
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as record
    from dataclasses import field
    from typing import Any
else:

    def field(**options: Any) -> _Field:
        """Return a field with options, as `dataclasses.field`."""
        return _Field(options)

    def record(*, frozen: bool, slots: bool = False, eq: bool = True) -> Callable[[type], type]:
        """Make a class a record; as ``dataclasses.dataclass(frozen=True, slots=…, eq=…)``."""
        assert frozen, "records are frozen"
        return lambda cls: _made(cls, slots, eq)


class _Field(dict[str, "Any"]):
    """A field's options."""


def _made(cls: type, slots: bool, eq: bool) -> type:
    options = {name: _options_of(cls, name) for name in cls.__annotations__}
    made = _with_slots(cls, tuple(options)) if slots else cls
    own = made.__dict__
    compared = [name for name, given in options.items() if given.get("compare", True)]
    added: dict[str, Any] = {
        "__init__": _Constructor(made, options),
        "__dataclass_fields__": _ForDataclasses("__dataclass_fields__", made, options, eq),
        "__dataclass_params__": _ForDataclasses("__dataclass_params__", made, options, eq),
        "__match_args__": tuple(options),
        "__setattr__": _refusing(made, "__setattr__", "assign to"),
        "__delattr__": _refusing(made, "__delattr__", "delete"),
        "__replace__": _replaced,
    }
    if "__repr__" not in own:
        added["__repr__"] = _representation(
            [name for name, given in options.items() if given.get("repr", True)]
        )
    if eq and "__eq__" not in own:
        added["__eq__"] = _equality(_content(compared))
    if eq and own.get("__hash__") is None:
        hashed = [name for name in compared if options[name].get("hash") is not False]
        added["__hash__"] = _hashing(_content(hashed))
    for name, given in options.items():
        if not slots and "default" in given:
            added[name] = given["default"]
        elif not slots and name in own:
            delattr(made, name)  # a `field` without a default
    for name, value in added.items():
        setattr(made, name, value)
    return made


def _with_slots(cls: type, names: tuple[str, ...]) -> type:
    """Return the class with slots, which can only be had from the beginning."""
    gone = {*names, "__dict__", "__weakref__"}
    own = {name: value for name, value in cls.__dict__.items() if name not in gone}
    # A frozen object is not restored by setting its attributes, as pickle and copy would.
    own |= {"__slots__": names, "__getstate__": _getting(names), "__setstate__": _setting(names)}
    made = type(cls)(cls.__name__, cls.__bases__, own)
    made.__qualname__ = cls.__qualname__
    return made


def _options_of(cls: type, name: str) -> dict[str, Any]:
    """Return the options of a field, as `dataclasses.field` takes them."""
    if name not in cls.__dict__:
        return {}
    given = cls.__dict__[name]
    return dict(given) if type(given) is _Field else {"default": given}


class _Constructor:
    """Becomes the class's `__init__` when that is first looked at: compiling it takes most of the time of a record.

    Two threads may look at once, and one find this when the other has replaced it: then both make the same.
    """

    def __init__(self, home: type, options: dict[str, dict[str, Any]]) -> None:
        self._home, self._options = home, options

    def __get__(self, instance: object, owner: type) -> Any:
        init = _constructor(self._home, self._options)
        self._home.__init__ = init  # type: ignore[misc]
        return init.__get__(instance, owner)


def _constructor(cls: type, options: dict[str, dict[str, Any]]) -> Any:
    """Compile a constructor that has the fields as its parameters, in the class's module: hints are read there."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_unset": _UNSET}
    parameters, body = [], []
    for name, given in options.items():
        value = name
        if "default" in given:
            known[f"_default_{name}"] = given["default"]
            parameters.append(f"{name}=_default_{name}")
        elif "default_factory" in given:
            known[f"_make_{name}"] = given["default_factory"]
            parameters.append(f"{name}=_unset")
            value = f"_make_{name}() if {name} is _unset else {name}"
        else:
            parameters.append(name)
        body.append(f" _set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    made: dict[str, Any] = {}
    head = f"def _made({', '.join(known)}):\n def __init__(self, {', '.join(parameters)}):\n"
    exec(
        head + "\n".join(f" {line}" for line in body) + "\n return __init__",
        vars(sys.modules[cls.__module__]),
        made,
    )
    init: Any = made["_made"](**known)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {**cls.__annotations__, "return": None}
    return init


class _Unset:
    def __repr__(self) -> str:
        return "<factory>"


_UNSET = _Unset()


class _ForDataclasses:
    """Becomes what `dataclasses` keeps in a class, once that module looks for it."""

    def __init__(self, name: str, home: type, options: dict[str, dict[str, Any]], eq: bool) -> None:
        self._name, self._home, self._options, self._eq = name, home, options, eq

    def __get__(self, instance: object, owner: type) -> Any:
        import dataclasses

        home = self._home
        twin: Any = dataclasses.dataclass(frozen=True, eq=self._eq)(
            type(
                home.__name__,
                (),
                {
                    "__module__": home.__module__,
                    "__annotations__": home.__annotations__,
                    **{name: dataclasses.field(**given) for name, given in self._options.items()},
                },
            )
        )
        home.__dataclass_fields__ = twin.__dataclass_fields__  # type: ignore[attr-defined]
        home.__dataclass_params__ = twin.__dataclass_params__  # type: ignore[attr-defined]
        return getattr(home, self._name)


def _refusing(cls: type, name: str, what: str) -> Callable[..., None]:
    """Return `__setattr__` or `__delattr__` of a frozen class; its subclasses may have attributes of their own."""

    def refuse(self: object, attribute: str, *value: object) -> None:
        if type(self) is cls or attribute in cls.__match_args__:  # type: ignore[attr-defined]
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot {what} field {attribute!r}")
        getattr(super(cls, self), name)(attribute, *value)

    return refuse


def _replaced(self: Any, /, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(self, **changes)


def _representation(names: list[str]) -> Callable[[object], str]:
    def represent(self: object) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({shown})"

    return represent


def _equality(content: Callable[[Any], object]) -> Callable[[object, object], Any]:
    def equal(self: object, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return content(self) == content(other)

    return equal


def _content(names: list[str]) -> Callable[[Any], object]:
    """Return what reads the values of fields, as a tuple also where there is one: that compares by identity first."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda self: tuple([getattr(self, name) for name in names])


def _hashing(content: Callable[[Any], object]) -> Callable[[object], int]:
    return lambda self: hash(content(self))


def _getting(names: tuple[str, ...]) -> Callable[[object], list[object]]:
    return lambda self: [getattr(self, name) for name in names]


def _setting(names: tuple[str, ...]) -> Callable[[object, list[object]], None]:
    def restore(self: object, state: list[object]) -> None:
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return restore
