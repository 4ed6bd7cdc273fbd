"""Which builtins a tool has, and what to write instead of those it has not.

Decided here and nowhere else. Published are the builtins that compute; the ones that look up names or
internals (`getattr`, `vars`, `globals`…) are published as guarded versions, made in `namespace`.
"""

from __future__ import annotations

from typing import Final

from elf_pysandbox_worker.restricted.names import words

REFUSED_BUILTINS: Final[dict[str, str]] = {
    "exec": "Write the code in the module, or choose a function from a dict.",
    "compile": "Write the code in the module; source text is not compiled at run time.",
    "__import__": "Use an import statement.",
    "input": "Take the value as a parameter of the tool: there is no terminal.",
    "breakpoint": "Print the values, or raise an exception with them: there is no terminal.",
}
"""Builtin -> what to use instead."""

INTERACTIVE: Final = frozenset({"input", "breakpoint"})
"""Those that a program asks its user by: code that has them loads, and is refused when it gets there."""

PUBLISHED_BUILTINS: Final = frozenset(
    words(
        """
abs aiter all anext any ascii bin bool bytearray bytes callable chr classmethod complex dict dir divmod
enumerate filter float format frozenset hash hex id int isinstance issubclass iter len list map max
memoryview min next object oct ord pow print property range repr reversed round set slice sorted
staticmethod str sum super tuple type zip True False None NotImplemented Ellipsis __build_class__ __debug__
"""
    )
)
"""Builtins published as they are; the exception classes come on top."""


def builtin_refusal(name: str) -> tuple[str, str]:
    """Return why a builtin is refused, and what to use instead."""
    return f"`{name}` is not available to tools.", REFUSED_BUILTINS[name]
