"""Importing msgspec without what it imports for others; both sides do it first of all.

Two fifths of that import are for two words of `typing_extensions`, which brings inspect, ast and dis along, and one of
`platform`, which `uuid` asks for. While it lasts, stand-ins say those; whoever else meets one finds the real module in
it, loaded when anything else is looked at.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` has its turn
if TYPE_CHECKING:
    from typing import Any


class Later(type(sys)):  # type: ignore[misc]  # `types` has its turn, too
    """A module that is loaded when something of it is first looked at, as `importlib.util.LazyLoader` has it.

    Parameters
    ----------
    name : str
    **known
        What is known of it without loading it.
    """

    def __init__(self, name: str, **known: Any) -> None:
        super().__init__(name)
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # asked of every module that something is imported from; these are no packages
            raise AttributeError(name)
        self._load()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        self._load()
        return dir(self)

    def _load(self) -> None:
        from importlib import import_module

        own = self.__name__
        stood = sys.modules.get(own) is self
        if stood:
            del sys.modules[own]
        try:
            found = import_module(own)
        except BaseException:
            if stood:
                sys.modules[own] = self  # to be tried again
            raise
        self.__dict__.update(found.__dict__)
        self.__class__ = type(sys)  # type: ignore[assignment]


def import_msgspec(later: tuple[str, ...] = ()) -> None:
    """Import msgspec; the modules `later`, parts of it, when they are first used."""
    modules: dict[str, Any] = sys.modules
    if "msgspec" in modules:
        return
    import typing

    # From 3.11 on these are what `typing_extensions` has, or do the same for msgspec, which wants all extras.
    known = {name: getattr(typing, name) for name in ("get_type_hints", "NotRequired", "Required")}
    stand_ins = {
        "typing_extensions": Later("typing_extensions", **known),
        "platform": Later("platform", system=sys.platform.capitalize),
    }
    for name, stand_in in stand_ins.items():
        modules.setdefault(name, stand_in)
    modules.update((name, Later(name)) for name in later)
    try:
        import msgspec  # noqa: F401
    finally:
        for name, stand_in in stand_ins.items():
            if modules.get(name) is stand_in:
                del modules[name]
