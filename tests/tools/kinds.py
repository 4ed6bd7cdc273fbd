"""The behaviour matrix: every kind of callable, how it is captured, and what it must return."""

from __future__ import annotations

import functools
import linecache
import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fixtures.toolbox import callables, left, other
from tests.tools import written

MODULE, BY_NAME, WRITTEN, PICKLED = "module", "by name", "written", "pickled"


@dataclass(frozen=True)
class Kind:
    """One row: `make` gives the callable; `native_only` where the language policy refuses what it needs."""

    name: str
    make: Callable[[], Any]
    how: str
    args: tuple[Any, ...]
    expected: Any

    def __str__(self) -> str:
        return self.name


def typed_in(source: str, name: str) -> Any:
    """A function from a notebook cell or the REPL of Python 3.13: no file, but linecache knows its text."""
    filename = f"<cell {name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "__notebook__"}
    exec(compile(source, filename, "exec"), namespace)
    return namespace[name]


def from_exec(source: str, name: str) -> Any:
    """A function whose text is nowhere."""
    namespace: dict[str, Any] = {"__name__": "__nowhere__"}
    exec(source, namespace)
    return namespace[name]


def from_made_module(source: str, name: str) -> Any:
    """A function of a module made at run time that carries its source."""
    import sys

    module = types.ModuleType("made_module")
    vars(module)["__source__"] = source
    sys.modules["made_module"] = module
    exec(source, vars(module))
    return vars(module)[name]


def _state() -> Any:
    made = callables.Greeter("Hey")
    made.greet("a")
    return made.greet


CELL = """
K = 2

def f(x):
    return g(x) * K

def g(x):
    return x + 1
"""
KINDS = [
    Kind("function", lambda: callables.add, MODULE, (1,), 6),
    Kind(
        "function with helper, global and private name",
        lambda: callables.shout,
        MODULE,
        ("a",),
        "Hello Akept",
    ),
    Kind("function of sibling modules", lambda: callables.scaled, MODULE, (3,), 61),
    Kind("recursive function", lambda: callables.factorial, MODULE, (5,), 120),
    Kind("module that runs once", lambda: callables.load_count, MODULE, (), 1),
    Kind("decorated function", lambda: callables.decorated, MODULE, ("a",), "<[a>"),
    Kind("closure", lambda: callables.add_seven, MODULE, (1,), 8),
    Kind("lambda", lambda: callables.double, MODULE, (4,), 8),
    Kind("partial", lambda: callables.add_one, MODULE, (5,), 6),
    Kind("lru_cache", lambda: callables.cached, MODULE, (5,), 25),
    Kind("static method", lambda: callables.Greeter.hello, MODULE, (), "hello"),
    Kind("class method", lambda: callables.Greeter.build, MODULE, ("Yo",), "Yo, you! 1"),
    Kind("bound method of a global", lambda: callables.greeter.greet, MODULE, ("a",), "Hi, a! 1"),
    Kind("bound method with state", _state, WRITTEN, ("b",), "Hey, b! 2"),
    Kind("callable object", lambda: callables.greeter, MODULE, ("a",), "Hi, a! 1"),
    Kind("callable object with state", lambda: callables.Greeter("Ho"), WRITTEN, ("a",), "Ho, a! 1"),
    Kind("class as callable", lambda: callables.Point, MODULE, (1.0,), {"x": 1.0, "y": 0.0}),
    Kind("enum result", lambda: callables.color_of, MODULE, ("red",), "red"),
    Kind("dataclass result", lambda: callables.point, MODULE, (2.0,), {"x": 2.0, "y": 1.0}),
    Kind("coroutine function", lambda: callables.later, MODULE, (1,), 2),
    Kind("generator", lambda: callables.countdown, MODULE, (3,), [3, 2, 1]),
    Kind("async generator", lambda: callables.acountdown, MODULE, (2,), [2, 1]),
    Kind("every kind of parameter", lambda: callables.everything, MODULE, (1, 2, 3), [1, 2, [3], 1, {}]),
    Kind("unicode name", lambda: callables.größe, MODULE, (2,), "üü"),
    Kind("same name in another module", lambda: other.add, MODULE, (1, 2), "12"),
    Kind("circular imports", lambda: left.ping, MODULE, (3,), 3),
    Kind("module made at run time", lambda: from_made_module("def f(x): return x", "f"), MODULE, (1,), 1),
    Kind("C function", lambda: math.sqrt, BY_NAME, (9,), 3.0),
    Kind("builtin function", lambda: len, BY_NAME, ("ab",), 2),
    Kind("method of a builtin type", lambda: str.upper, BY_NAME, ("a",), "A"),
    Kind("bound builtin method", lambda: "a,b".split, WRITTEN, (",",), ["a", "b"]),
    Kind("class method of a builtin type", lambda: dict.fromkeys, WRITTEN, (["a"],), {"a": None}),
    Kind("method of a pattern", lambda: written.pattern.sub, WRITTEN, ("x", "caat"), "cxt"),
    Kind("itemgetter", lambda: written.itemgetter, WRITTEN, ([1, 2],), 2),
    Kind("host program: function", lambda: written.helper, WRITTEN, (2,), 20),
    Kind("host program: helpers and globals", lambda: written.uses_helper, WRITTEN, (2,), 22),
    Kind("host program: recursion", lambda: written.factorial, WRITTEN, (5,), 120),
    Kind("host program: mutual recursion", lambda: written.even, WRITTEN, (4,), True),
    Kind("host program: decorated", lambda: written.decorated, WRITTEN, (1,), "p:2"),
    Kind("host program: bound method", lambda: written.greeter.greet, WRITTEN, ("b",), "Hi b23"),
    Kind("host program: static method", lambda: written.Greeter.hello, WRITTEN, (2,), 20),
    Kind("host program: class method", lambda: written.Greeter.build, WRITTEN, ("w",), "w x23"),
    Kind("host program: callable object", lambda: written.greeter, WRITTEN, (2,), "HiHi"),
    Kind("host program: frozen dataclass method", lambda: written.Point(3, 4).norm, WRITTEN, (2,), 10.0),
    Kind("host program: enum method", lambda: written.Color.RED.times, WRITTEN, (2,), "rr"),
    Kind("host program: defaults", lambda: written.defaults, WRITTEN, (1,), [1, 10, ["a", "b"], "r"]),
    Kind("host program: coroutine function", lambda: written.later, WRITTEN, (1,), 2),
    Kind("host program: generator", lambda: written.count, WRITTEN, (3,), [0, 1, 2]),
    Kind(
        "host program: library objects",
        lambda: written.uses_library_objects,
        WRITTEN,
        ("A",),
        [True, [1], []],
    ),
    Kind("host program: lru_cache", lambda: written.cached, WRITTEN, (2,), 4),
    Kind(
        "host program: annotations",
        lambda: written.annotated,
        WRITTEN,
        ({"x": 1},),
        [{"x": 1, "y": 2}, None],
    ),
    Kind("host program: unicode", lambda: written.größe, WRITTEN, (2,), "üü"),
    Kind("host program: import of a project module", lambda: written.imports_inside, WRITTEN, (4,), 8),
    Kind("nested function with cells", lambda: written.inc, WRITTEN, (1,), [6, 7, 1]),
    Kind("nested recursive function", lambda: written.rec, WRITTEN, (3,), 0),
    Kind("nested lambda", lambda: written.lam, WRITTEN, (1,), 6),
    Kind("method of a local class", lambda: written.local_method, WRITTEN, (2,), [10, "Local"]),
    Kind("first of two lambdas in a line", lambda: written.two[0], WRITTEN, (1,), 2),
    Kind("second of two lambdas in a line", lambda: written.two[1], WRITTEN, (1,), 3),
    Kind("closure over data", lambda: written.holding({"a": (1, {2})}), WRITTEN, (1,), [{"a": (1, {2})}, 1]),
    Kind(
        "closure over an instance",
        lambda: written.holding(written.Pair(1, 2)),
        WRITTEN,
        (1,),
        [{"a": 1, "b": 2}, 1],
    ),
    Kind("large data as globals", lambda: written.uses_large_data, WRITTEN, (3,), [3, 200_000, 70_000]),
    Kind("closure over a function", lambda: written.holding(abs), WRITTEN, (1,), None),
    Kind("partial of a function", lambda: functools.partial(written.helper, 4), WRITTEN, (), 40),
    Kind(
        "partial of a module's function", lambda: functools.partial(callables.add, 1, c=1), WRITTEN, (1,), 3
    ),
    Kind("notebook cell", lambda: typed_in(CELL, "f"), WRITTEN, (1,), 4),
    Kind("notebook lambda", lambda: typed_in("f = lambda x: x * 2\n", "f"), WRITTEN, (2,), 4),
    Kind("exec without source", lambda: from_exec("K = 2\ndef f(x): return x * K", "f"), PICKLED, (2,), 4),
]
