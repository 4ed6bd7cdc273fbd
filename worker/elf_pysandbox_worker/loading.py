"""From a bundle to callables: picks the profile's loader and finds what a path names.

Runs in the template, confined. What can be done once for all calls of a tool is done here, before the first fork:
resolving the usual path, preparing the conversion of arguments, importing asyncio for async tools.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from elf_pysandbox_worker.errors import ToolMissing
from elf_pysandbox_worker.wire.messages import Load

SYNC, ASYNC, GENERATOR, ASYNC_GENERATOR = "sync", "async", "generator", "async_generator"

Converter = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(slots=True)
class Target:
    """What a path names: the callable, how it runs, how its arguments are converted first."""

    function: Callable[..., Any]
    kind: str
    convert: Converter | None


@dataclass(slots=True)
class LoadedTool:
    """A loaded module and the targets found in it so far."""

    module: types.ModuleType
    load: Load
    targets: dict[str, Target] = field(default_factory=dict)

    def target(self, path: str) -> Target:
        """Return what `path` names.

        Raises
        ------
        ToolMissing
        """
        found = self.targets.get(path)
        if found is None:
            found = self.targets[path] = _resolve(self.module, path)
        return found


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
        raise ToolMissing(f"{walked} is a {type(value).__name__}, not something that can be called")
    return Target(value, _kind(value), _converter(value))


def _nearest(value: Any, name: str) -> str:
    from difflib import get_close_matches

    public = [key for key in dir(value) if not key.startswith("_")]
    close = get_close_matches(name, public, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _kind(function: Any) -> str:
    call = function
    if not inspect.isroutine(function) and not inspect.isclass(function):
        call = inspect.unwrap(function) if hasattr(function, "__wrapped__") else function
        call = getattr(call, "func", None) or getattr(
            type(call), "__call__", call
        )  # partial, callable object
    if inspect.iscoroutinefunction(call):
        return ASYNC
    if inspect.isasyncgenfunction(call):
        return ASYNC_GENERATOR
    return GENERATOR if inspect.isgeneratorfunction(call) else SYNC


def _converter(function: Any) -> Converter | None:
    # Unannotated tools, and those annotated with nothing that needs converting, pay nothing for this.
    if not getattr(function, "__annotations__", None) and inspect.isroutine(function):
        return None
    try:
        from elf_pysandbox_worker import binding
    except ImportError:
        return None
    return binding.prepare(function)  # type: ignore[no-any-return]
