"""Honest programs run unchanged: the places where other transformers broke them."""
# ruff: noqa: E501

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.restricted.loading import load

PROGRAMS = {
    "private names are mangled as in plain Python": """
        class A:
            def __init__(self):
                self.__x = 1
                self.__obj = 2
            def __secret(self):
                return self.__x
            def get(self):
                return self.__secret() + self.__obj + getattr(self, "_A__x")
        def run():
            return A().get(), sorted(vars(A()))
        # (4, ['_A__obj', '_A__x'])
    """,
    "patterns with values, classes, keywords and captures": """
        import enum
        from dataclasses import dataclass
        class Colour(enum.Enum):
            RED = 1
        @dataclass
        class Point:
            x: int
            y: int = 0
        class Old:
            __match_args__ = ("left",)
            left = 5
        def name(value):
            match value:
                case Colour.RED: return "red"
                case Point(0, 0): return "origin"
                case Point(x, y=0) if x > 1: return f"x {x}"
                case Point(x=x): return f"point {x}"
                case Old(l): return f"old {l}"
                case int(n) | float(n): return f"number {n}"
                case [first, *rest]: return f"list {first} {rest}"
                case {"k": v, **rest}: return f"dict {v} {rest}"
                case str() as text: return text
                case None: return "none"
        def run():
            return [name(v) for v in (Colour.RED, Point(0), Point(2), Point(1, 1), Old(), 3, [1, 2], {"k": 1, "j": 2}, "s", None)]
        # ['red', 'origin', 'x 2', 'point 1', 'old 5', 'number 3', 'list 1 [2]', "dict 1 {'j': 2}", 's', 'none']
    """,
    "annotations stay text under the future import": """
        from __future__ import annotations
        import typing
        class Row:
            parser: dict.obj
            other: typing.Optional[int] = None
        def f(x: some.format, *a: q.os) -> r.sys: pass
        def run():
            return Row.__annotations__, f.__annotations__
        # ({'parser': 'dict.obj', 'other': 'typing.Optional[int]'}, {'x': 'some.format', 'a': 'q.os', 'return': 'r.sys'})
    """,
    "dataclasses, frozen, ordered, with slots and inheritance": """
        from __future__ import annotations
        from dataclasses import dataclass, field, asdict, replace, fields
        @dataclass(frozen=True, order=True, slots=True)
        class A:
            x: int
            tags: list[str] = field(default_factory=list, compare=False)
        @dataclass
        class B:
            a: A
            obj: int = 1
        def run():
            b = B(A(1))
            try:
                b.a.x = 2
            except Exception as error:
                kind = type(error).__name__
            return asdict(b), replace(b, obj=2).obj, A(1) < A(2), [f.name for f in fields(B)], kind, hash(A(1)) == hash(A(1))
        # ({'a': {'x': 1, 'tags': []}, 'obj': 1}, 2, True, ['a', 'obj'], 'FrozenInstanceError', True)
    """,
    "enums, named tuples, typed dicts, protocols and generics": """
        import enum, typing, collections
        class Flag(enum.Flag):
            A = enum.auto()
            B = enum.auto()
        class Kind(str, enum.Enum):
            ONE = "one"
            @property
            def title(self): return self.value.title()
        class Row(typing.NamedTuple):
            x: int
            y: str = "d"
        class Config(typing.TypedDict, total=False):
            path: str
        @typing.runtime_checkable
        class Sized(typing.Protocol):
            def __len__(self) -> int: ...
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __class_getitem__(cls, item): return super().__class_getitem__(item)
        Pair = collections.namedtuple("Pair", "a b")
        def run():
            return (Flag.A | Flag.B).value, Kind("one").title, Row(1), Config(path="p"), isinstance([], Sized), Pair(1, 2)._asdict(), Row.__module__
        # (3, 'One', Row(x=1, y='d'), {'path': 'p'}, True, {'a': 1, 'b': 2}, 'tool')
    """,
    "descriptors, class keywords, metaclasses and init_subclass": """
        class Meta(type):
            def __new__(mcls, name, bases, space, **options):
                cls = super().__new__(mcls, name, bases, space)
                cls.options = options
                return cls
            def __init__(cls, name, bases, space, **options):
                super().__init__(name, bases, space)
        class Typed:
            def __set_name__(self, owner, name): self.name = "_" + name
            def __get__(self, obj, owner=None): return self if obj is None else getattr(obj, self.name)
            def __set__(self, obj, value): setattr(obj, self.name, int(value))
        class Base(metaclass=Meta, flag=1):
            seen = []
            x = Typed()
            def __init_subclass__(cls, **kwargs): Base.seen.append(cls.__name__)
        class Child(Base, flag=2):
            pass
        def run():
            child = Child()
            child.x = "5"
            return child.x, Child.options, Base.seen, [c.__name__ for c in Child.__mro__], Child.mro()[0] is Child
        # (5, {'flag': 2}, ['Child'], ['Child', 'Base', 'object'], True)
    """,
    "attribute hooks and their super calls": """
        class Lazy:
            def __init__(self): self.calls = []
            def __getattr__(self, name):
                if name.startswith("_"): raise AttributeError(name)
                self.calls.append(name)
                return name.upper()
            def __setattr__(self, name, value): super().__setattr__(name, value)
            def __getattribute__(self, name): return super().__getattribute__(name)
        class Frozen:
            def __init__(self): object.__setattr__(self, "x", 1)
        def run():
            lazy = Lazy()
            return lazy.thing, lazy.os, lazy.calls, hasattr(lazy, "_no"), Frozen().x, vars(Frozen()), lazy.__dict__ == {"calls": ["thing", "os"]}
        # ('THING', 'OS', ['thing', 'os'], False, 1, {'x': 1}, True)
    """,
    "a class that swaps the namespace of its instances whenever they are read": """
        class PerReader:
            def __init__(self): object.__setattr__(self, "spaces", {1: {"x": 1}, 2: {"x": 2}})
            def __getattribute__(self, name):
                if name == "spaces": return object.__getattribute__(self, name)
                space = self.spaces[reader]
                object.__setattr__(self, "__dict__", dict(space, spaces=self.spaces))
                return object.__getattribute__(self, name)
        reader = 1
        def run():
            global reader
            one = PerReader()
            first = one.x
            reader = 2
            return first, one.x
        # (1, 2)
    """,
    "async code: comprehension, context, generator, tasks and timeouts": """
        import asyncio, contextlib
        @contextlib.asynccontextmanager
        async def opened():
            yield "in"
        async def numbers(n):
            for i in range(n):
                await asyncio.sleep(0)
                yield i
        async def work():
            async with opened() as state, asyncio.timeout(5):
                found = [i async for i in numbers(3) if i]
                async for i in numbers(1):
                    found.append(i)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(0, "done"))
            return state, found, task.result(), await asyncio.gather(*(asyncio.sleep(0, i) for i in range(2)))
        def run():
            return asyncio.run(work())
        # ('in', [1, 2, 0], 'done', [0, 1])
    """,
    "a variable's format in every scope": """
        import asyncio
        class Own:
            def format(self, x): return x + 1
        class Text(str):
            def format(self, *a): return "mine"
        class Body:
            template = "{}"
            x = template.format(3)
            names = sorted(name for name in locals() if name[0] != "_")
        def f(t, *a): return t.format(*a)
        def items(ts):
            for t in ts: yield t.format(t.format(1))
        def scope(t):
            x = t.format(1)
            return locals(), vars(), dir(), [t.format(i) for i in range(2)]
        def cell(t):
            def inner(): return t.format(2)
            return inner()
        def annotated(t):
            x: t.format(3) = 5
            return x
        async def awaiting(t): return t.format(await one(t))
        async def one(t): return t.format(7)
        def nested(t): return t.format(t.format(1)).format(2).format
        def refused(t):
            try: return t.format(1)
            except AttributeError as error: return str(error)
        def run():
            return (f("{0.real}", 5), f(Text("a"), 1), f(Own(), 1), f(str, "{}", 1), (lambda t: t.format(t.format(1)))("{}"),
                    list(items(["{}a"])), scope("{}"), cell("{}"), annotated("{}"), Body.x, Body.names, asyncio.run(awaiting("{}")),
                    nested("{}")(2), refused(1))
        # ('5', 'mine', 2, '1', '1', ['1aa'], ({'t': '{}', 'x': '1'}, {'t': '{}', 'x': '1'}, ['t', 'x'], ['0', '1']), '2', 5, '3', ['template', 'x'], '7', '1', "'int' object has no attribute 'format'")
    """,
    "formatting by every way": """
        import string
        class Money:
            def __init__(self, n): self.amount, self.parts = n, {"k": [n]}
            def __format__(self, spec): return f"{self.amount:{spec or 'd'}}"
        class Shout(str):
            def format(self, *args): return super().format(*args).upper()
        def run():
            m, t = Money(5), "{0.amount} {0.parts[k][0]:>3}"
            return (t.format(m), "{:>{w}}".format("a", w=3), "{a} {b!r}".format_map({"a": 1, "b": "x"}), Shout("{}!").format("a"),
                    string.Formatter().format("{0.amount:03d} {x[0]}", m, x=[1]), string.Template("$a").substitute(a=1), f"{m:>4}", "%s" % 1,
                    list(map("{}.".format, [1, 2])), str.format("{}{}", 1, 2), format(m, "4d"), "{{}} {:,}".format(1234))
        # ('5   5', '  a', "1 'x'", 'A!', '005 1', '1', '   5', '1', ['1.', '2.'], '12', '   5', '{} 1,234')
    """,
    "scopes: nonlocal, global, walrus, locals and globals": """
        count = 0
        def counter():
            n = 0
            def step():
                nonlocal n
                global count
                n += 1
                count += 1
                return n
            return step
        def run():
            step = counter()
            step(), step()
            inner = (lambda a, b=2: locals())(1)
            globals()["made"] = 7
            total = [y := 1, y + 1]
            return count, inner, made, "run" in globals(), total, sorted(k for k in vars() if k != "step"), dir()[0]
        # (2, {'a': 1, 'b': 2}, 7, True, [1, 2], ['inner', 'total', 'y'], 'inner')
    """,
    "exceptions: chains, notes, groups and their attributes": """
        class Bad(Exception):
            def __init__(self, obj): self.obj = obj
        def run():
            try:
                try:
                    {}["k"]
                except KeyError as error:
                    error.add_note("noted")
                    raise Bad([1]) from error
            except Bad as bad:
                got = bad.obj, type(bad.__cause__).__name__, bad.__cause__.__notes__, bad.__traceback__.tb_lineno > 0
            try:
                "".nothing
            except AttributeError as error:
                got += (error.name, error.obj)
            group = ExceptionGroup("g", [ValueError(1), TypeError(2)])
            return got, len(group.subgroup(ValueError).exceptions)
        # (([1], 'KeyError', ['noted'], True, 'nothing', ''), 1)
    """,
    "eval of an expression sees its caller's scope": """
        import math
        scale = 2
        def run():
            x = 3
            return eval("x * scale"), eval("math.sqrt(x)", {"math": math, "x": 4}), eval("a + b", {"a": 1}, {"b": 2})
        # (6, 2.0, 3)
    """,
    "functools, operator and sorting": """
        import functools, operator
        class P:
            def __init__(self, x): self.x, self.obj = x, x
            def double(self): return self.x * 2
        @functools.singledispatch
        def show(v): return "any"
        @show.register
        def _(v: int): return "int"
        @functools.total_ordering
        class V:
            def __init__(self, n): self.n = n
            def __eq__(self, o): return self.n == o.n
            def __lt__(self, o): return self.n < o.n
        def logged(f):
            @functools.wraps(f)
            def inner(*a): return f(*a)
            return inner
        @logged
        def documented():
            "doc"
        def run():
            ps = sorted([P(2), P(1)], key=operator.attrgetter("x", "obj"))
            return [p.x for p in ps], operator.methodcaller("double")(ps[0]), show(1), show(""), V(1) >= V(0), documented.__doc__, documented.__name__, operator.attrgetter("obj")(ps[1])
        # ([1, 2], 2, 'int', 'any', True, 'doc', 'documented', 2)
    """,
    "warnings and logging": """
        import logging, warnings, io
        def run():
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                warnings.warn("careful", UserWarning)
            stream = io.StringIO()
            log = logging.getLogger("t")
            handler = logging.StreamHandler(stream)
            handler.setFormatter(logging.Formatter("{levelname}:{message}", style="{"))
            log.addHandler(handler)
            log.warning("a %s", "b")
            return str(seen[0].message), stream.getvalue()
        # ('careful', 'WARNING:a b\\n')
    """,
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_plain_python_gives(name):
    source = PROGRAMS[name]
    expected = source.rsplit("# ", 1)[1].strip()
    module = type(sys)("tool")
    sys.modules["tool"] = module
    try:
        exec(compile(textwrap.dedent(source), "tool.py", "exec", dont_inherit=True), vars(module))
        assert repr(module.run()) == expected, "the expectation itself is wrong"
    finally:
        del sys.modules["tool"]
    assert load(source) == ("ok", expected)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with Python 3.12")
def test_type_parameters_and_aliases_are_accepted():
    source = """
    type Pair[T] = tuple[T, T]
    def apply[T, *Ts, **P](f: T, *args: *Ts) -> T:
        return f
    class Box[T: (int, str)]:
        def get[U](self, x: U) -> U:
            return x
    def run():
        return Box[int].__origin__ is Box, Box().get(1), Pair.__value__.__args__[0].__name__
    """
    assert load(source) == ("ok", "(True, 1, 'T')")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"# coding: latin-1\ndef run():\n    return '\xe9'\n", "'é'"),
        (b"\xef\xbb\xbfdef run():\n    return '\xc3\xa9'\n", "'é'"),
        (b"def run():\r\n    return 1\r\n", "1"),
        (b"#!/usr/bin/env python\n# -*- coding: cp1252 -*-\ndef run(): return '\x80'\n", "'€'"),
    ],
)
def test_source_is_decoded_as_the_interpreter_decodes_it(source, expected):
    assert load({"tool": source}) == ("ok", expected)


def test_a_long_sum_of_three_hundred_terms_is_accepted():
    terms = " + ".join(f"'{i}'" for i in range(300))
    status, _ = load(f"def run():\n    return len({terms})\n")
    assert status == "ok"
