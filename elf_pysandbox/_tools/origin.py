"""Where a live object was defined, and whether the confined side can find it there by name."""

from __future__ import annotations

import functools
import os
import sys
import types
from typing import Any

from elf_pysandbox._tools.imports import scan_imports
from elf_pysandbox._tools.locate import RESERVED, is_installed, is_standard

_HOST_ONLY = frozenset({"elf_pysandbox", "pytest"})
"""A module that imports one of these is a host program or its test: it cannot be loaded as a tool's
module."""


def file_of_module(module: types.ModuleType | None) -> str | None:
    """The source file of a module, None when it has none (built in, compiled, made at run time)."""
    file = getattr(module, "__file__", None)
    return (
        os.path.abspath(file)
        if isinstance(file, str) and file.endswith(".py") and os.path.isfile(file)
        else None
    )


def is_named_module(module: types.ModuleType) -> bool:
    """Whether the confined side imports the module by name: standard, built in, or an installed
    distribution."""
    # On the confined side `__main__` is another one, also where an installed file runs as it (a prompt).
    if module.__name__ == "__main__":
        return False
    if is_standard(module.__name__):
        return True
    file = getattr(module, "__file__", None)
    return bool(file) and is_installed(file)  # type: ignore[arg-type]


def is_shippable_module(module: types.ModuleType) -> bool:
    """Whether the module's file can travel and be loaded as it is: not a host program, not ``__main__``."""
    file = file_of_module(module)
    if file is None or module.__name__.partition(".")[0] in RESERVED:
        return False
    return not _is_host_program(file, os.stat(file).st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _is_host_program(file: str, _changed: int) -> bool:
    with open(file, "rb") as opened:
        source = opened.read()
    return any(
        entry.module.partition(".")[0] in _HOST_ONLY and not entry.level for entry in scan_imports(source)
    )


def importable_path(value: Any) -> tuple[str, str] | None:
    """Return module and attribute path under which the confined side finds this very object, or None."""
    for module, path in _candidates(value):
        if (is_named_module(module) or is_shippable_module(module)) and resolve(module, path) is value:
            return module.__name__, path
    return None


def _candidates(value: Any) -> list[tuple[types.ModuleType, str]]:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str):
        return []
    owner = getattr(value, "__objclass__", None)
    homes = [getattr(value, "__module__", None), getattr(owner, "__module__", None)]
    homes.append(getattr(type(value), "__module__", None))
    bound = getattr(value, "__self__", None)
    if isinstance(bound, types.ModuleType):
        homes.insert(0, bound.__name__)
    named = [home for home in homes if isinstance(home, str)]
    # The policy publishes `operator`, and what is in it says that it is from `_operator`.
    public = [home[1:] for home in named if home.startswith("_") and is_standard(home)]
    modules = [sys.modules[home] for home in dict.fromkeys((*public, *named)) if home in sys.modules]
    # A ufunc knows its name but not its module: numpy.core._multiarray_umath, published as numpy.sqrt.
    roots = [sys.modules[module.__name__.partition(".")[0]] for module in modules]
    return [(module, name) for module in dict.fromkeys((*modules, *roots))]


def resolve(module: types.ModuleType, path: str) -> Any:
    """Follow an attribute path from a module; None where it breaks off."""
    value: Any = vars(module).get(path.partition(".")[0])
    for part in path.split(".")[1:]:
        value = getattr(value, part, None)
    return value


def find_path(value: Any, module: types.ModuleType) -> str | None:
    """Return the attribute path of `value` in `module`: by its own name, or under any global name."""
    name = getattr(value, "__qualname__", "")
    if isinstance(name, str) and name and "<" not in name and _same(resolve(module, name), value):
        return name
    for key, candidate in list(vars(module).items()):
        if key.isidentifier() and _same(candidate, value):
            return key
    if not isinstance(value, (types.MethodType, types.BuiltinMethodType)):
        return None
    for key, candidate in list(vars(module).items()):
        if (
            candidate is value.__self__
            and key.isidentifier()
            and _same(getattr(candidate, value.__name__, None), value)
        ):
            return f"{key}.{value.__name__}"
    return None


def _same(candidate: Any, value: Any) -> bool:
    if candidate is value:
        return True
    both = isinstance(candidate, types.MethodType) and isinstance(value, types.MethodType)
    return both and candidate.__self__ is value.__self__ and candidate.__func__ is value.__func__
