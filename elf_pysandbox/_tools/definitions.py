"""The source text of one live function, lambda or class, cut out of the file or cell it was written in.

Text is cut by the positions that `ast` gives, never re-made from the tree, so that a traceback on the
confined side shows the lines as they were written.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class NoSource(Exception):  # noqa: N818 - it says what there is not
    """The text of this object is nowhere to be found; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition as written.

    Attributes
    ----------
    text : str
        The lines of a ``def`` or ``class`` with their own indentation, without decorators for a function;
        the expression of a lambda.
    indent : str
        White space before the first line.
    node : ast node
    """

    text: str
    indent: str
    node: ast.AST


def definition_of_function(function: FunctionType) -> Definition:
    """Cut out the ``def`` or ``lambda`` that made this function.

    Raises
    ------
    NoSource
    """
    code = function.__code__
    text = _text_of(code.co_filename, function.__globals__)
    nodes = [node for node in _functions_at(text, code.co_firstlineno) if _name_of(node) == code.co_name]
    if len(nodes) > 1:
        nodes = [node for node in nodes if _position(node) == _body_position(code)] or nodes
    if len(nodes) != 1:
        raise NoSource(f"{code.co_filename}, line {code.co_firstlineno} holds no single definition of it")
    node = nodes[0]
    if isinstance(node, ast.Lambda):
        return Definition(ast.get_source_segment(text, node) or "", "", node)
    return _lines(text, node, node.lineno)


def definition_of_class(cls: type) -> Definition:
    """Cut out the ``class`` statement that made this class, with its decorators.

    Raises
    ------
    NoSource
    """
    for filename, line, module_globals in _places_of_class(cls):
        try:
            text = _text_of(filename, module_globals)
            tree = _parse(text)
        except NoSource:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if not line or start <= line <= (node.end_lineno or 0):
                    return _lines(text, node, start)
    raise NoSource(f"the source of class {cls.__qualname__} is in no file")


def _places_of_class(cls: type) -> Iterator[tuple[str, int, dict[str, Any]]]:
    import sys

    for value in vars(cls).values():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(function, FunctionType) and function.__qualname__.startswith(cls.__qualname__ + "."):
            yield function.__code__.co_filename, function.__code__.co_firstlineno, function.__globals__
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if file:
        yield file, getattr(cls, "__firstlineno__", 0), vars(module)


def _text_of(filename: str, module_globals: dict[str, Any]) -> str:
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, module_globals)
    if not lines:
        raise NoSource(f"its source ({filename}) is in no file")
    return "".join(lines)


@lru_cache(maxsize=8)
def _parse(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoSource(f"its source does not parse: {error}") from error


def _functions_at(text: str, line: int) -> Iterator[FunctionNode]:
    """Functions whose code object begins at `line`: that of the first decorator, where there is one."""
    for node in ast.walk(_parse(text)):
        if isinstance(node, ast.Lambda):
            if node.lineno == line:
                yield node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if line in (first, node.lineno):
                yield node


def _name_of(node: FunctionNode) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _position(node: FunctionNode) -> tuple[int, int]:
    first = node.body if isinstance(node, ast.Lambda) else node.body[0]
    return _leftmost(first)


def _leftmost(node: ast.AST) -> tuple[int, int]:
    places = [(one.lineno, one.col_offset) for one in ast.walk(node) if isinstance(one, (ast.expr, ast.stmt))]
    return min(places)


def _body_position(code: CodeType) -> tuple[int, int]:
    places = [(line, column) for line, _, column, _ in code.co_positions() if line and column is not None]
    # The first instruction (RESUME) stands at the definition itself, with column 0.
    places = [place for place in places if place != (code.co_firstlineno, 0)]
    return min(places, default=(0, 0))


def _lines(text: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, first: int) -> Definition:
    lines = text.split("\n")[first - 1 : node.end_lineno]
    head = lines[0]
    indent = head[: len(head) - len(head.lstrip())]
    lines[-1] = lines[-1].encode()[: node.end_col_offset].decode()
    return Definition("\n".join(lines), indent, node)
