"""The first line of a zygote: imports what every process after it shares, and nothing that it does not need.

Every module here is paid for twice: by the first call of a program, which waits for it, and by each fork, as its pages
are in the tables that are copied. Half of what importing msgspec imports is used by nothing in a worker; the rules by
which that is left out are here, and tools find all of it as usual.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # `typing` has its turn
if TYPE_CHECKING:
    from typing import Any

_LATER = ("msgspec.inspect", "msgspec.json", "msgspec.toml", "msgspec.yaml")
"""Parts of msgspec that only tools use: loaded when one does."""


class _Later(type(sys)):  # type: ignore[misc]  # `types` has its turn, too
    """A module that is loaded when something of it is first looked at, as `importlib.util.LazyLoader` has it."""

    def __getattr__(self, name: str) -> Any:
        self._load()
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        self._load()
        return dir(self)

    def _load(self) -> None:
        from importlib import import_module

        own = self.__name__
        if sys.modules.get(own) is self:
            del sys.modules[own]
        try:
            found = import_module(own)
        except BaseException:
            sys.modules[own] = self  # to be tried again
            raise
        self.__dict__.update(found.__dict__)
        self.__class__ = type(sys)  # type: ignore[assignment]


class _Platform:
    """What `uuid` asks `platform` while it is imported."""

    @staticmethod
    def system() -> str:
        return os.uname().sysname


def main(control_fd: int) -> None:
    """Run the zygote on its channel."""
    # Whatever the host left open for its children is not for this one; nor is its working folder.
    os.closerange(control_fd + 1, 1 << 20)
    os.chdir("/")
    gc.disable()
    _import_lean()
    from elf_pysandbox_worker import zygote

    # What exists now lives as long as any process forked from this one: no collection need look at it again. The one
    # a template makes before its first worker takes 4 ms less.
    gc.freeze()
    gc.enable()
    zygote.main(control_fd)


def _import_lean() -> None:
    """Import msgspec without what it imports for others."""
    modules: dict[str, Any] = sys.modules
    # It takes two names from typing_extensions where that is installed, which brings inspect, ast, dis and tokenize
    # along: 8 ms, 2 MB. The standard library's own do as well.
    modules["typing_extensions"] = None
    # Of `platform`, uuid wants one word.
    modules["platform"] = _Platform
    modules.update((name, _Later(name)) for name in _LATER)
    import msgspec  # noqa: F401

    del modules["typing_extensions"], modules["platform"]
