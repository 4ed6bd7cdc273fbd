"""Modules under ``pysandbox.``: stand-ins for functions that run in the sandbox.

``pysandbox.my_tools.data.process`` is a callable with the signature of ``my_tools.data.process``; calling it is a
sandboxed call. `my_tools.data` is never imported in this process. Limits and policy come from the settings
(``PYSANDBOX_*`` variables, ``[tool.pysandbox]``), as there is no other place for them in an entrypoint.
"""

from __future__ import annotations

import atexit
import inspect
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from elf_pysandbox._errors import ModuleLoadError, SandboxError
from elf_pysandbox._pool import SandboxPool
from elf_pysandbox.config.models import Settings as NodeSettings
from elf_pysandbox.integrations.elf.sources import has_module
from elf_pysandbox.integrations.elf.tools import ElfTool, ElfToolError

_lock = threading.Lock()
_pool: SandboxPool | None = None


def settings_pool() -> SandboxPool:
    """Return this process's pool for entrypoints, made from the settings at the first call."""
    global _pool
    with _lock:
        if _pool is None:
            from elf_pysandbox._settings import Settings

            settings = Settings.resolve()
            _pool = SandboxPool(settings["max_workers"], policy=settings.policy, limits=settings.limits)
            atexit.register(_pool.shutdown)
        return _pool


class SandboxedFunction:
    """A function that runs in the sandbox; its signature is the real one.

    Parameters
    ----------
    tool : ElfTool
    """

    def __init__(self, tool: ElfTool) -> None:
        self._tool = tool
        self.__name__ = tool.tool.name
        self.__qualname__ = tool.tool.path
        self.__module__ = "pysandbox." + tool.entrypoint.rpartition(".")[0]
        self.__doc__ = f"Runs {tool.entrypoint} in the sandbox."
        self.__signature__: inspect.Signature = tool.signature()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function in a process of its own.

        Raises
        ------
        TypeError
            The arguments do not fit the signature.
        ElfToolError
            The call did not return a value; the message has one line.
        """
        bound = self.__signature__.bind(*args, **kwargs)
        return self._tool.run(_as_keywords(bound))

    def __repr__(self) -> str:
        return f"<sandboxed {self._tool.entrypoint}{self.__signature__}>"


def _as_keywords(bound: inspect.BoundArguments) -> dict[str, Any]:
    if bound.args:
        given = dict(bound.arguments)
        for parameter in bound.signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                given.update(given.pop(parameter.name, {}))
        return given
    return dict(bound.kwargs)


class _Module(ModuleType):
    """A stand-in for a module: its attributes are made when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        entrypoint = f"{self.__name__.partition('.')[2]}.{name}"
        try:
            made = SandboxedFunction(ElfTool(entrypoint, settings_pool, NodeSettings()))
        except ElfToolError as error:
            if error.status == "not_found":
                raise AttributeError(
                    f"no function {name!r} in {entrypoint.rpartition('.')[0]!r}: {error}"
                ) from None
            raise ImportError(str(error)) from None
        except SandboxError as error:
            raise AttributeError(f"no function {entrypoint!r}: {error}") from None
        setattr(self, name, made)
        return made


class Finder:
    """Finds ``pysandbox.<module>`` wherever ``<module>`` could be imported from, without importing it."""

    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of a stand-in (PEP 451), None for other names and for modules there are not."""
        prefix, _, name = fullname.partition(".")
        if prefix != "pysandbox" or not name:
            return None
        try:
            if not has_module(name):
                return None
        except ModuleLoadError:
            return None
        return ModuleSpec(fullname, Finder, is_package=True)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """Make the stand-in."""
        return _Module(
            spec.name, f"Stand-in for {spec.name.partition('.')[2]}: its functions run in the sandbox."
        )

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Run nothing: there is nothing to run in this process."""


def install() -> None:
    """Put the finder on `sys.meta_path`, once."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
