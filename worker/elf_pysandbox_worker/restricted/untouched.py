"""The classes that the checker is made of, held against what they were before tool code ran.

Tools have the real classes of `ast`, and whoever holds a class may change it: `ast.Call._fields = ()` would hide the
arguments of every call from the next check. In a confined process they are sealed before tool code runs, as another
thread could change them in the middle of a check; this holds where they are not.
"""

from __future__ import annotations

import ast
from operator import is_
from typing import Any

# Not by attribute: a metaclass can answer those as it likes.
dict_of: Any = type.__dict__["__dict__"].__get__
mro_of: Any = type.__dict__["__mro__"].__get__

_CLASSES = tuple(
    value
    for value in vars(ast).values()
    if isinstance(value, type) and issubclass(value, (ast.AST, ast.NodeVisitor))
)
_SAVED = tuple((cls, mro_of(cls), (*dict_of(cls),), (*dict_of(cls).values(),)) for cls in _CLASSES)


def unchanged() -> bool:
    """Return whether the classes of `ast` have the attributes and bases that they had at the first import of this."""
    for cls, mro, keys, values in _SAVED:
        space = dict_of(cls)
        if mro_of(cls) is not mro or len(space) != len(keys) or (*space,) != keys:
            return False
        if not all(map(is_, space.values(), values)):
            return False
    return True
