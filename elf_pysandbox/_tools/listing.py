"""Which functions a module offers as tools, told from its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from elf_pysandbox._errors import ModuleLoadError
from elf_pysandbox._tools.context import ModuleContext
from elf_pysandbox._tools.imports import parses_slowly

MAX_PARSED = 1 << 20
"""Bytes of source that this process parses itself: of what is written to vex the parser, more takes seconds."""


def public_functions(context: ModuleContext) -> list[str]:
    """Return the names of a module's tools, in order: those of ``__all__``, else all public top-level functions.

    Classes and constants in ``__all__`` are left out, and so are functions imported from elsewhere unless
    ``__all__`` names them.

    Raises
    ------
    ModuleLoadError
        The source does not parse.
    """
    if len(context.source_bytes) > MAX_PARSED:
        raise ModuleLoadError(
            f"module {context.name!r} is too large to look for functions in: add its tools by name"
        )
    if parses_slowly(context.source_bytes):
        raise ModuleLoadError(
            f"module {context.name!r} is in an encoding, or has names of so many parts, that reading it takes too long"
        )
    try:
        tree = ast.parse(context.source_bytes)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModuleLoadError(
            f"no tools can be found in {context.path!r}: it does not parse{_where(error)}"
        ) from error
    published: list[str] | None = None
    functions: list[str] = []
    callables: set[str] = set()
    for node in top_level(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            # What is written in CapWords is a class (PEP 8).
            imported = (alias.asname or alias.name for alias in node.names)
            callables.update(name for name in imported if not name.lstrip("_")[:1].isupper())
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            names = [target.id for target in _targets(node) if isinstance(target, ast.Name)]
            if "__all__" in names:
                published = (published or []) + _strings(node.value)
            elif isinstance(node.value, (ast.Lambda, ast.Call)):
                callables.update(names)
    if published is not None:
        known = callables.union(functions)
        return [name for name in dict.fromkeys(published) if name in known]
    return [name for name in dict.fromkeys(functions) if not name.startswith("_")]


def _where(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f": line {error.lineno}, column {error.offset or 1}: {error.msg}"
    return f": {error}"


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those in its ``if``, ``try`` and ``with`` blocks too."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from top_level(node.body)
            for handler in getattr(node, "handlers", ()):
                yield from top_level(handler.body)
            yield from top_level(getattr(node, "orelse", []))
        else:
            yield node


def _targets(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _strings(value: ast.expr | None) -> list[str]:
    if not isinstance(value, (ast.List, ast.Tuple)):
        return []
    return [
        item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
