"""Paths inside a value, spelt as Python would: ``result.rows[3]['name']``.

Decided here and nowhere else: how a place in a value is named to people. Never runs a `repr` that is not a
builtin's, and never gets longer than a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

Step = int | str | tuple[str, Any]
"""An index, an attribute name, or ("item" | "key" | "member", the object)."""

_MAX_PATH: Final = 400
_MAX_STEPS: Final = 8  # told of each end
_MAX_KEY: Final = 60
_SPELT: Final = frozenset({int, float, bool, str, bytes, type(None), complex})


def spell(root: str, steps: Sequence[Step]) -> str:
    """Return the path of `steps` below `root`; the middle of a very long one is left out.

    An empty root is a call's `(args, kwargs)`: its parts go by the names that the caller gave them.
    """
    if not root and steps:
        root, steps = _spell_argument(steps)
    spelt = list(map(_spell_step, steps))
    if len(spelt) > 2 * _MAX_STEPS:
        left_out = len(spelt) - 2 * _MAX_STEPS
        spelt[_MAX_STEPS:-_MAX_STEPS] = [f"… {left_out} more …"]
    path = root + "".join(spelt)
    return path if len(path) <= _MAX_PATH else f"{path[: _MAX_PATH // 2]}…{path[-_MAX_PATH // 2 :]}"


def _spell_argument(steps: Sequence[Step]) -> tuple[str, Sequence[Step]]:
    """Return the name of the argument that `steps` begin with, and the steps below it."""
    if steps[0] == 0:
        return "args", steps[1:]
    if len(steps) > 1 and isinstance(steps[1], tuple) and isinstance(steps[1][1], str):
        return steps[1][1], steps[2:]
    return "kwargs", steps[1:]


def _spell_step(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if isinstance(step, str):
        return f".{step}"
    kind, thing = step
    name = _spell_key(thing)
    if kind == "item":
        return f"[{name}]"
    return f" (its key {name})" if kind == "key" else f" (its member {name})"


def _spell_key(key: Any) -> str:
    if type(key) not in _SPELT or (type(key) is int and key.bit_length() > 256):
        return f"<{type(key).__name__}>"
    if type(key) in (str, bytes) and len(key) > _MAX_KEY:
        return f"{key[:_MAX_KEY]!r}…"
    return repr(key)


def first_path(root: object, target: object, steps: Sequence[Step]) -> list[Step]:
    """Return the steps to the first place of `target` below `root`, or `steps` if it is not found.

    Only called to word an error: a second walk, in the order of the first.
    """
    stack: list[tuple[object, list[Step]]] = [(root, [])]
    done: set[int] = set()
    while stack:
        value, way = stack.pop()
        if value is target:
            return way
        if id(value) in done:
            continue
        done.add(id(value))
        stack += reversed([(child, [*way, step]) for step, child in _children(value)])
    return list(steps)


def _children(value: Any) -> Iterator[tuple[Step, object]]:
    if isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from ((("item", key), item) for key, item in value.items())
    elif isinstance(value, (set, frozenset)):
        yield from ((("member", item), item) for item in value)
    else:
        yield from getattr(value, "__dict__", {}).items()
