"""Importing msgspec without what it imports for others; both sides do it first of all.

Two fifths of that import are for two words of `typing_extensions`, which brings inspect, ast and dis along, and one of
`platform`, which `uuid` asks for. While it lasts, stand-ins say those; whoever else meets one finds the real module in
it, loaded when anything else is looked at.
"""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False  # `typing` has its turn
if TYPE_CHECKING:
    from typing import Any


_LOADING = _thread.RLock()


class Later(type(sys)):  # type: ignore[misc]  # `types` has its turn, too
    """A module that is loaded when something of it is first looked at, as `importlib.util.LazyLoader` has it.

    Where it stands in `sys.modules` the real one's code is run in it, so that there is only one; a stand-in that has
    left that place takes over what the real one has.

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
        with _LOADING:
            if type(self) is Later:
                if "__loads__" in self.__dict__:  # its own code asks for what it does not have
                    raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
                self._load()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        with _LOADING:
            if type(self) is Later:
                self._load()
        return dir(self)

    def _load(self) -> None:
        if self.__spec__ is not None:
            self.__dict__["__loads__"] = True
            try:
                self.__spec__.loader.exec_module(self)
            finally:
                self.__dict__.pop("__loads__", None)
        else:
            from importlib import import_module

            self.__dict__.update(import_module(self.__name__).__dict__)
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
        import msgspec
    finally:
        for name, stand_in in stand_ins.items():
            if modules.get(name) is stand_in:
                del modules[name]
    for name in later:
        _describe(modules[name], msgspec.__path__)


def _describe(module: Later, path: Any) -> None:
    """Let a module say where it is, to whoever looks for it without wanting it."""
    from _frozen_importlib import _init_module_attrs
    from _frozen_importlib_external import PathFinder

    spec = PathFinder.find_spec(module.__name__, path)
    if spec is None:
        raise ImportError(f"msgspec has no part {module.__name__!r}", name=module.__name__)
    _init_module_attrs(spec, module, override=True)
