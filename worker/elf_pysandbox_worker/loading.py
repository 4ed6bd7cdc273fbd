"""From a bundle to callables: picks the profile's loader and finds what a path names.

Runs in the template, confined. What can be done once for all calls of a tool is done here, before the first
fork: resolving the usual path, preparing the conversion of arguments, importing asyncio for async tools.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from elf_pysandbox_worker.errors import ToolMissing
from elf_pysandbox_worker.wire.messages import Load

SYNC, ASYNC, GENERATOR, ASYNC_GENERATOR = "sync", "async", "generator", "async_generator"

# Markers of code objects: CO_COROUTINE and CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR, CO_GENERATOR.
_KINDS = ((0x80 | 0x100, ASYNC), (0x200, ASYNC_GENERATOR), (0x20, GENERATOR))

Converter = Callable[
    [tuple[Any, ...], dict[str, Any], Mapping[str, str]], tuple[tuple[Any, ...], dict[str, Any]]
]


class Target(Struct, frozen=True):
    """What a path names: the callable, how it runs, how its arguments are converted first."""

    function: Callable[..., Any]
    kind: str
    convert: Converter | None


class LoadedTool:
    """A loaded module and the targets found in it so far.

    Attributes
    ----------
    ordinary : dict of str to (function, converter or None)
        Those that are plain functions, by path: all that the shortest path of a call looks up.
    """

    __slots__ = ("load", "module", "ordinary", "targets")

    def __init__(self, module: types.ModuleType, load: Load) -> None:
        self.module = module
        self.load = load
        self.targets: dict[str, Target] = {}
        self.ordinary: dict[str, tuple[Callable[..., Any], Converter | None]] = {}

    def target(self, path: str) -> Target:
        """Return what `path` names.

        Raises
        ------
        ToolMissing
        """
        found = self.targets.get(path)
        if found is None:
            found = self.targets[path] = _resolve(self.module, path)
            if found.kind == SYNC:
                self.ordinary[path] = found.function, found.convert
        return found


def prepare(profile: str) -> None:
    """Import what `load` will need for this profile, in a template that waits for its bundle."""
    importlib.import_module(f"elf_pysandbox_worker.{profile}")
    if profile == "restricted":
        importlib.import_module("elf_pysandbox_worker.restricted.importer")
        importlib.import_module("elf_pysandbox_worker.restricted.compiler")


def load(load: Load) -> LoadedTool:
    """Load the bundle by its profile; whatever the module raises passes through."""
    loader = importlib.import_module(f"elf_pysandbox_worker.{load.profile}")
    if load.profile == "restricted":
        module = loader.load(
            load.bundle,
            allowed_imports=load.allowed_imports,
            search=load.search,
            files_granted=load.files_granted,
        )
    else:
        module = loader.load(load.bundle, search=load.search)
    tool = LoadedTool(module, load)
    try:
        target = tool.target(load.path)
    except ToolMissing:
        return tool  # told to the call that names it
    if target.kind in (ASYNC, ASYNC_GENERATOR):
        # 20 ms of import, once here instead of in every worker.
        importlib.import_module("asyncio")
    return tool


def _resolve(module: types.ModuleType, path: str) -> Target:
    value: Any = module
    walked = module.__name__
    for name in path.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            raise ToolMissing(f"{walked} has no {name!r}{_nearest(value, name)}") from None
        walked = f"{walked}.{name}"
    if not callable(value):
        name = type(value).__name__
        article = "an" if name[0] in "aeiouAEIOU" else "a"
        raise ToolMissing(f"{walked} is {article} {name}, not something that can be called")
    return Target(value, _kind(value), _converter(value))


_module_dict: Any = vars(types.ModuleType)["__dict__"]


def _nearest(value: Any, name: str) -> str:
    from difflib import get_close_matches

    # Not by `dir`, which asks a module of restricted code for its `__dict__` and gets a view, which it refuses.
    names = _module_dict.__get__(value) if isinstance(value, types.ModuleType) else dir(value)
    public = [key for key in names if isinstance(key, str) and not key.startswith("_")]
    close = get_close_matches(name, public, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _kind(function: Any) -> str:
    """Tell how a callable runs, from its code's flags (inspect module, CO_*); `inspect` itself costs 5 ms."""
    call = function
    while (wrapped := getattr(call, "__wrapped__", None)) is not None and not hasattr(call, "__code__"):
        call = wrapped
    if not hasattr(call, "__code__") and not isinstance(call, type):
        # A bound method, a partial, an object with __call__.
        for name in ("__func__", "func", "__call__"):
            inner = getattr(call, name, None)
            if inner is not None:
                call = getattr(inner, "__func__", inner)
                break
    flags = getattr(getattr(call, "__code__", None), "co_flags", 0)
    for flag, kind in _KINDS:
        if flags & flag:
            return kind
    return SYNC


def _converter(function: Any) -> Converter | None:
    # Unannotated functions, and those annotated with nothing that needs converting, pay nothing for this.
    if isinstance(function, types.FunctionType) and not function.__annotations__:
        return None
    try:
        from elf_pysandbox_worker import binding
    except ImportError:
        return None
    return binding.prepare(function)
