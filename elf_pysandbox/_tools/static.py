"""What the text of a module tells of one of its functions: whether it is there, and what it takes.

Nothing is run, so there are questions the text leaves open (a decorator may change a signature, a star import may
bring any name): then nothing is said, and the confined template tells when the function is loaded.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elf_pysandbox._tools.context import ModuleContext
from elf_pysandbox._tools.imports import parses_slowly
from elf_pysandbox._tools.listing import MAX_PARSED, top_level

_TRANSPARENT = frozenset({"staticmethod", "cache", "lru_cache"})
_BINDS_ANYTHING = frozenset({"globals", "exec", "eval", "setattr", "vars", "locals", "__getattr__"})


@dataclass(frozen=True)
class Look:
    """What is known of a function.

    Attributes
    ----------
    missing : bool
        The module surely has no such name.
    names : tuple of str
        The functions it has.
    order : list of dict or None
        Name, kind and required of each parameter, as a description has them; None when the text does not tell.
    """

    missing: bool
    names: tuple[str, ...]
    order: list[dict[str, Any]] | None = None


def look_at(context: ModuleContext, path: str) -> Look | None:
    """Look for a function in the text of its module; None when that does not parse."""
    if len(context.source_bytes) > MAX_PARSED or parses_slowly(context.source_bytes):
        return None
    try:
        tree = ast.parse(context.source_bytes)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    first, *rest = path.split(".")
    found = [
        node for node in top_level(tree.body) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    names = tuple(dict.fromkeys(node.name for node in found if not node.name.startswith("_")))
    bound = set(_bound(tree))
    if first not in bound and "*" not in bound and not context.values:
        return Look(not bound & _BINDS_ANYTHING, names)
    own = [node for node in found if node.name == first]
    stored = sum(1 for name in _bound(tree) if name == first)
    if rest or len(own) != 1 or stored != 1 or not all(map(_transparent, own[0].decorator_list)):
        return Look(False, names)
    return Look(False, names, _order(own[0].args))


def _bound(tree: ast.AST) -> Iterator[str]:
    """Every name that is bound anywhere in the module, with the built-in ways to bind names that are used."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load) or node.id in _BINDS_ANYTHING:
                yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name


def _transparent(decorator: ast.expr) -> bool:
    """Whether a decorator surely leaves the signature as it is."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in _TRANSPARENT


def _order(arguments: ast.arguments) -> list[dict[str, Any]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    order = []
    for position, argument in enumerate(positional):
        kind = "positional_only" if position < len(arguments.posonlyargs) else "positional_or_keyword"
        order.append(_entry(argument, kind, position < without))
    if arguments.vararg is not None:
        order.append(_entry(arguments.vararg, "var_positional", False))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        order.append(_entry(argument, "keyword_only", default is None))
    if arguments.kwarg is not None:
        order.append(_entry(arguments.kwarg, "var_keyword", False))
    return order


def _entry(argument: ast.arg, kind: str, required: bool) -> dict[str, Any]:
    return {"name": argument.arg, "kind": kind, "required": required}
