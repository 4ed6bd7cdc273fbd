"""Importing msgspec without what it imports for others; both sides do it first of all.

Half of that import is for two words of `typing_extensions`, which brings inspect, ast and dis along, one of `platform`,
which `uuid` asks for, and three of `re`. While it lasts, stand-ins say those; whoever else meets
one finds the real module in it, loaded when anything else is looked at.
"""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False  # `typing` has its turn
if TYPE_CHECKING:
    from typing import Any


LATER = ("msgspec.inspect", "msgspec.json", "msgspec.toml", "msgspec.yaml")
"""Parts of msgspec that are not used here, and by few programs and tools."""

_LOADING = _thread.RLock()
_ORIGINS = ("__spec__", "__loader__", "__package__", "__file__", "__cached__")
"""What says where a module is (PEP 451), to whoever looks for it without wanting more."""


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
        if name in _ORIGINS and self.__name__.startswith("msgspec."):
            _describe(self, sys.modules["msgspec"].__path__)
            return self.__dict__[name]
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
        spec = self.__spec__  # None: of a stand-in
        if spec is not None:
            self.__dict__["__loads__"] = True
            try:
                spec.loader.exec_module(self)
            finally:
                self.__dict__.pop("__loads__", None)
        else:
            from importlib import import_module

            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
            self.__dict__.update(import_module(self.__name__).__dict__)
        self.__class__ = type(sys)  # type: ignore[assignment]


def import_msgspec(later: tuple[str, ...] = (), *, alone: bool = False) -> None:
    """Import msgspec; the modules `later`, parts of it, when they are first used.

    Parameters
    ----------
    later : tuple of str
    alone : bool
        Whether no other code runs in this process. Then msgspec does without the reference that it only tries: its
        text would be compiled, and the first `compile` of a process makes the types of syntax trees, 2 to 3 ms.
    """
    modules: dict[str, Any] = sys.modules
    if "msgspec" in modules:
        return
    if "datetime" not in modules:
        _make_datetime()
    stand_ins = {"platform": Later("platform", system=sys.platform.capitalize)}
    if "re" not in modules:
        stand_ins["re"] = _expressions()
    references = None
    try:
        modules.update((name, stand_in) for name, stand_in in stand_ins.items() if name not in modules)
        import typing

        # From 3.11 on these are what `typing_extensions` has, or do the same for msgspec, which wants all extras.
        if alone:
            references = typing.ForwardRef
            typing.ForwardRef = lambda *_, **__: None  # type: ignore[misc, assignment]
        known = {name: getattr(typing, name) for name in ("get_type_hints", "NotRequired", "Required")}
        stand_ins["typing_extensions"] = Later("typing_extensions", **known)
        modules.setdefault("typing_extensions", stand_ins["typing_extensions"])
        modules.update((name, Later(name)) for name in later)
        import msgspec  # noqa: F401
    finally:
        if references is not None:
            typing.ForwardRef = references  # type: ignore[misc]
        for name, stand_in in stand_ins.items():
            if modules.get(name) is stand_in:
                del modules[name]
    for name in later:
        for origin in _ORIGINS:  # looked for when somebody asks: `__getattr__`
            modules[name].__dict__.pop(origin, None)


def _expressions() -> Later:
    """Return what `typing` (until 3.12) and msgspec want of `re`: the types of patterns and matches, a function."""
    from _sre import compile as compiled  # type: ignore[import-not-found]

    def compile_later(*arguments: Any) -> Any:
        # Another thread may import `re` while the stand-in is in its place, and keep it: it becomes the real one.
        stand_in.__dir__()
        return stand_in.compile(*arguments)

    pattern = compiled("", 0, [1], 0, {}, ())  # the program of one operation, SUCCESS: it matches anything
    stand_in = Later("re", Pattern=type(pattern), Match=type(pattern.match("")), compile=compile_later)
    return stand_in


def _make_datetime() -> None:
    """Make `datetime` of what is written in C; that of 3.11 writes it all in Python first, to have it replaced."""
    if sys.version_info >= (3, 12):
        return
    import _datetime  # type: ignore[import-not-found]

    module: Any = type(sys)("datetime")
    module.__dict__.update((name, value) for name, value in vars(_datetime).items() if name[0] != "_")
    module.__all__ = tuple(name for name in vars(module) if name[0] != "_" and name != "datetime_CAPI")
    _describe(module, None)
    sys.modules["datetime"] = module


def _describe(module: Any, path: Any) -> None:
    """Let a module say where it is."""
    from _frozen_importlib import _init_module_attrs
    from _frozen_importlib_external import PathFinder

    spec = PathFinder.find_spec(module.__name__, path)
    if spec is None:
        raise ImportError(f"there is no module {module.__name__!r}", name=module.__name__)
    _init_module_attrs(spec, module, override=True)
