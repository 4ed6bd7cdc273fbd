"""Marker, command line and ini options as settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import ConfigurationError, Files, Settings

ALIASES = {"timeout": "wall_s", "allow_imports": "allowed_imports", "cpu": "cpu_s", "memory": "memory_mb"}
INI = ("profile", "timeout", "memory_mb", "allow_imports", "max_workers")
"""The ini options, each as ``sandbox_<name>``."""
_NUMBERS = {"timeout": float, "memory_mb": int, "max_workers": int}


def session_settings(config: pytest.Config) -> Settings:
    """Return the settings of the session's pool.

    One that cannot be used fails what asked for it, in one line.
    """
    return _resolve(config, {})


def item_settings(item: pytest.Item) -> Settings:
    """Return the settings of one test: those of the session with its `sandbox` markers, the closest winning."""
    given: dict[str, Any] = {}
    where = f"{item.nodeid}: marker sandbox: "
    for marker in reversed(list(item.iter_markers("sandbox"))):
        if marker.args:
            raise _refusal(f"{where}it takes keywords only: memory_mb=64, …")
        for name, value in marker.kwargs.items():
            try:
                given.update(_translated(name, value, item.path.parent))
            except (ConfigurationError, TypeError) as error:
                raise _refusal(f"{where}{error}") from None
    return _resolve(item.config, given, where)


def _refusal(problem: str) -> BaseException:
    """Return what fails the test that is being set up with one line: where this was found out helps nobody."""
    return pytest.fail.Exception(problem, pytrace=False)


def _translated(name: str, value: Any, folder: Path) -> dict[str, Any]:
    if name == "files":
        unknown = set(value) - {"read", "write", "scratch_mb"} if isinstance(value, Mapping) else set()
        if unknown:
            raise TypeError(f"files has no {min(unknown)!r}; there are read, write and scratch_mb")
        files = Files(**value) if isinstance(value, Mapping) else value
        if not isinstance(files, Files):
            raise TypeError(f"files must be a Files value or a mapping, not {value!r}")
        given = value if isinstance(value, Mapping) else {"read": files.read, "write": files.write}
        found: dict[str, Any] = {"scratch_mb": files.scratch_mb}
        # Paths of a marker count from the folder of its test.
        return found | {side: _paths(given.get(side, ()), folder) for side in ("read", "write")}
    return {ALIASES.get(name, name): tuple(value) if isinstance(value, list) else value}


def _paths(paths: Any, folder: Path) -> tuple[str, ...]:
    return tuple(str(folder / path) for path in paths)


def _resolve(config: pytest.Config, given: Mapping[str, Any], where: str = "") -> Settings:
    project = {}
    for name in INI:
        value = config.getini(f"sandbox_{name}")
        if value:
            try:
                project[ALIASES.get(name, name)] = _NUMBERS[name](value) if name in _NUMBERS else value
            except ValueError:
                raise _refusal(f"ini option sandbox_{name} must be a number, not {value!r}") from None
    line = {"profile": config.getoption("sandbox_profile")}
    try:
        return Settings.resolve(line, call=given, project=project, folder=config.rootpath)
    except ConfigurationError as error:
        own = error.setting in given and error.origin == "call"
        raise _refusal(where + (f"{error.setting} {error.problem}" if own else str(error))) from None
