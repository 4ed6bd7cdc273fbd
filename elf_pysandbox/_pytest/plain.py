"""A tool without the sandbox, for comparison: the one place where this package runs tool code unconfined,
and only because a test asks for it."""

from __future__ import annotations

import asyncio
import copy
import importlib
import importlib.util
import inspect
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest


def run_plain(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, BaseException | None]:
    """Call a tool in this process; return its value and None, or None and what it raised."""
    function = target if callable(target) else _imported(target)
    try:
        value = function(*copy.deepcopy(args), **copy.deepcopy(kwargs))
        if inspect.isgenerator(value):
            value = list(value)
        elif inspect.iscoroutine(value) or inspect.isasyncgen(value):
            value = asyncio.run(_finished(value))
    except Exception as error:
        return None, error
    return value, None


async def _finished(value: Any) -> Any:
    return [item async for item in value] if inspect.isasyncgen(value) else await value


def _imported(target: Any) -> Any:
    """Import the function that a target or a tool names, its module afresh."""
    if isinstance(target, str):
        place, _, path = target.rpartition(":")
    else:
        place, path = target.context.path, target.path
    if not place.endswith(".py"):
        return _walk(importlib.import_module(place), path)
    name = f"plain_{abs(hash(place)):x}_{Path(place).stem}"
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        pytest.fail(f"{place} cannot be imported here to compare with", pytrace=False)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(Path(place).parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(Path(place).parent))
        del sys.modules[name]
    return _walk(module, path)


def _walk(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = getattr(value, part)
    return value


def same(sandboxed: Any, plain: Any) -> bool:
    """Whether two values are the same: equal and of one type all the way down.

    NaN is NaN; an int and a float may stand for each other, because arguments are converted to annotated
    types.
    """
    if is_dataclass(plain) and not isinstance(plain, type):
        as_dict = getattr(sandboxed, "as_dict", None)
        return same(as_dict() if callable(as_dict) else sandboxed, asdict(plain))
    if {type(sandboxed), type(plain)} <= {int, float}:
        return bool(sandboxed == plain or (sandboxed != sandboxed and plain != plain))
    if type(sandboxed) is not type(plain):
        return False
    if isinstance(plain, dict):
        keys = list(plain)
        return list(sandboxed) == keys and all(same(sandboxed[key], plain[key]) for key in keys)
    if isinstance(plain, (list, tuple)):
        return len(sandboxed) == len(plain) and all(map(same, sandboxed, plain))
    equal = sandboxed == plain
    return bool(equal.all() if hasattr(equal, "all") else equal)
