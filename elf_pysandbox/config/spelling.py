"""How a hint reads in a document: the key of a function that would let through what was refused."""

from __future__ import annotations

from elf_pysandbox._hints import Hint, in_python

_KEYS = {
    "wall_s": "timeout",
    "cpu_s": "cpu_limit",
    "memory_mb": "memory_limit_mb",
    "profile": "profile: native",
}
_LISTS = ("allowed_imports", "env")
_FILES = ("read", "write")


def in_yaml(hint: Hint) -> str:
    """Return how a hint is written in a document; what has no key there, in Python."""
    value = hint.value or "…"
    if hint.name in _FILES:
        return f"files: {{{hint.name}: [{value}]}}"
    if hint.name in _LISTS:
        return f"{hint.name}: [{value}]"
    if hint.name == "scratch_mb":
        return f"files: {{scratch_mb: {value}}}"
    key = _KEYS.get(hint.name)
    if key is None:
        return in_python(hint)
    return key if ":" in key else f"{key}: {value}"
