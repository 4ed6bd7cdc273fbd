"""Facades: the standard library as tool code gets it.

A facade is a plain module that holds the published names and nothing else: no submodule outside the
allowlist, none of the modules that a library module imports for itself. 32 of 65 common modules hand out
`os`, `sys` or `builtins` otherwise.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from elf_pysandbox_worker.restricted import published, shadows, standins
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, finding
from elf_pysandbox_worker.restricted.state import STATE

_made: dict[str, ModuleType] = {}


def facade(name: str, *, files_granted: bool = False) -> ModuleType:
    """Return the facade of a standard library module, made on first use.

    Parameters
    ----------
    name : str
        Full name; whether it is allowed is decided by the importer.
    files_granted : bool
        Publish what opens files, too.

    Raises
    ------
    ImportError
        When the interpreter has no such module.
    """
    found = _made.get(name)
    if found is None:
        real = importlib.import_module(name)
        shadows.install(name)
        shadows.install_loaded()
        found = _made[name] = _build(name, real, files_granted)
    return found


def package_facade(name: str) -> ModuleType:
    """Return an empty facade for a package of which only submodules are allowed (`urllib`, `xml`)."""
    found = _made.get(name)
    if found is None:
        found = _made[name] = ModuleType(name)
        found.__path__ = []
        STATE.publish(found)
    return found


def published_names(name: str, real: ModuleType, files_granted: bool) -> list[str]:
    """Return the names that a module's facade publishes."""
    listed = published.DEFAULT.get(name)
    if listed is not None:
        wanted = listed.split()
        if files_granted:
            wanted += published.WITH_FILES.get(name, "").split()
        return [item for item in wanted if hasattr(real, item)]
    wanted = list(getattr(real, "__all__", None) or [item for item in vars(real) if not item.startswith("_")])
    wanted += published.ALSO.get(name, "").split()
    withheld = published.WITHHELD.get(name, "").split()
    return [item for item in wanted if item not in withheld and hasattr(real, item)]


def _build(name: str, real: ModuleType, files_granted: bool) -> ModuleType:
    module = ModuleType(name, real.__doc__)
    STATE.publish(module)
    space = vars(module)
    replaced = standins.REPLACED.get(name, {})
    for item in published_names(name, real, files_granted):
        value = replaced.get(item) or getattr(real, item)
        if not isinstance(value, ModuleType):
            space[item] = value
    listed = [item for item in getattr(real, "__all__", ()) if item in space]
    if listed:
        space["__all__"] = listed
    if "__path__" in vars(real):
        space["__path__"] = []
    for extra in ("__version__",):
        if isinstance(getattr(real, extra, None), str):
            space[extra] = getattr(real, extra)
    space["__getattr__"] = _explain_missing(name, real)
    return module


def _explain_missing(name: str, real: ModuleType) -> Any:
    """Return the module's `__getattr__` (PEP 562): a name the real module has is refused with a reason."""
    real_names = frozenset(vars(real))

    def missing(attribute: str) -> Any:
        if attribute in real_names and not attribute.startswith("__"):
            if STATE.learn:
                STATE.note("names", f"{name}.{attribute}", "not published")
                return getattr(sys.modules[name], attribute)
            raise DeniedAttribute([finding("PSB303", f"`{name}.{attribute}` is not published to tools.")])
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}", name=attribute)

    return missing
