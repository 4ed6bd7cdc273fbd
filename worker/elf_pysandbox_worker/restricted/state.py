"""What the one tool of this process may reach, and what it was found to need.

One process holds one tool, so this is a module-level value, set by `restricted.load` before any tool code
runs.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


class State:
    """Published modules, and the record of learn mode."""

    def __init__(self) -> None:
        self.confined = False
        self.learn = False
        self.files_granted = False
        self.record: dict[str, dict[str, Any]] = {"imports": {}, "names": {}, "files": {}}
        self.native_roots: frozenset[str] = frozenset()
        self.tool_modules: dict[str, ModuleType] = {}
        self._published: dict[int, ModuleType] = {}

    def publish(self, module: ModuleType) -> None:
        """Make a module one that tool code may hold."""
        self._published[id(module)] = module

    def is_published(self, module: ModuleType) -> bool:
        """Tell whether tool code may hold a module: a facade, a tool module, or part of an allowed native
        package.
        """
        if id(module) in self._published:
            return True
        import sys

        name = getattr(module, "__name__", "")
        return name.partition(".")[0] in self.native_roots and sys.modules.get(name) is module

    def permits(self, name: str, message: str, hint: str) -> bool:
        """In learn mode, record what would have been refused and permit it; else permit nothing."""
        if self.learn:
            self.note("names", name, message)
        return self.learn

    def note(self, kind: str, name: str, detail: Any = "") -> None:
        """Record a need in learn mode."""
        if self.learn:
            self.record[kind].setdefault(name, detail)


STATE = State()
