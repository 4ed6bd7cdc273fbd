"""Hints and settings in the words of the command line.

Decided here and nowhere else: which flag stands for which setting.
"""

from __future__ import annotations

import shlex

from elf_pysandbox import ConfigurationError, Hint

_FLAGS = {
    "wall_s": ("--timeout", "SECONDS"),
    "cpu_s": ("--cpu", "SECONDS"),
    "memory_mb": ("--memory", "MIB"),
    "profile": ("--profile", "native"),
    "allowed_imports": ("--allow-import", "MODULE"),
    "read": ("--read", "PATH"),
    "write": ("--write", "PATH"),
    "scratch_mb": ("--scratch", "MIB"),
    "env": ("--env", "NAME"),
    "max_workers": ("--workers", "N"),
    "key": ("--key-file", "FILE"),
    "accept_changes": ("--accept-changes", ""),
    "name": ("--output", "FILE, one for each of them"),
}
_NOWHERE = frozenset({"replace"})
"""Hints that only a program can follow."""


def in_flags(hint: Hint) -> str:
    """Return how a hint is written here: as a flag, or as the variable of a setting that has none."""
    if hint.name in _NOWHERE:
        return ""
    if hint.name not in _FLAGS:
        return f"PYSANDBOX_{hint.name.upper()}={shlex.quote(hint.value) if hint.value else 'N'}"
    flag, metavar = _FLAGS[hint.name]
    return f"{flag} {shlex.quote(hint.value) if hint.value else metavar}".rstrip()


def told(error: ConfigurationError) -> str:
    """Return what is wrong with a setting, by the flag where it was given with one."""
    if error.origin == "command line" and error.setting in _FLAGS:
        return f"{_FLAGS[error.setting][0]} {error.problem}"
    return error.text(in_flags)
