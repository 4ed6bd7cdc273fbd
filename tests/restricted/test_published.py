"""Programs as people write them use what is published, with the results of plain Python."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from elf_pysandbox_worker.restricted import published
from tests.restricted.loading import load

PROGRAMS = {
    "arguments are parsed, and refused with their exit": """
        import argparse
        def run():
            parser = argparse.ArgumentParser("tool")
            parser.add_argument("name")
            parser.add_argument("-n", type=int, default=3)
            parser.add_argument("--a", action="append")
            found = parser.parse_args(["bob", "--a", "1", "--a", "2"])
            try:
                parser.parse_args(["bob", "-n", "x"])
            except SystemExit as end:
                return vars(found), end.code
    """,
    "threads share a counter under a lock": """
        import threading
        from concurrent.futures import ThreadPoolExecutor, as_completed
        class Counter:
            def __init__(self): self.lock, self.n = threading.Lock(), 0
            def add(self):
                with self.lock: self.n += 1
        def run():
            counter = Counter()
            threads = [threading.Thread(target=counter.add) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            with ThreadPoolExecutor(2) as executor:
                futures = [executor.submit(pow, 2, n) for n in range(3)]
                return counter.n, sorted(f.result() for f in as_completed(futures)), list(executor.map(abs, [-1]))
    """,
    "XML is read and written": """
        import xml.etree.ElementTree as ET
        from xml.dom import minidom
        from http import HTTPStatus
        def run():
            root = ET.fromstring("<a x='1'><b>t</b><b k='v'/></a>")
            ET.SubElement(root, "c").text = "&"
            try:
                ET.fromstring("<a>")
            except ET.ParseError as error:
                place = error.position
            pretty = minidom.parseString(ET.tostring(root)).toprettyxml(indent=" ")
            return [b.attrib for b in root.findall("b")], place, pretty, HTTPStatus(404).phrase
    """,
    "an event loop of one's own": """
        import asyncio
        async def work(n):
            await asyncio.sleep(0)
            return n
        def run():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            try:
                return loop.run_until_complete(asyncio.gather(work(1), work(2))), asyncio.get_event_loop() is loop
            finally:
                loop.close()
    """,
    "an optional package that is missing": """
        try:
            import a_package_that_nobody_has
        except ModuleNotFoundError as error:
            missing = error.name
        def run(): return missing
    """,
    "a main block that asks its user": """
        def run(): return "ran"
        if __name__ == "__main__":
            import sys
            print(run(input("Name: ")), file=sys.stderr)
    """,
    "names that __all__ forgot": """
        import calendar, codecs, contextlib, hashlib, random, re, statistics, traceback
        def run():
            scanner = re.Scanner([("[0-9]+", lambda s, text: int(text)), (" +", None)])
            try:
                1 / 0
            except ZeroDivisionError as error:
                lines = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            random.seed(1)
            return (scanner.scan("12 3"), lines, codecs.escape_decode(b"a\\\\n"), calendar.mdays[2],
                    random._inst.random(), hashlib.scrypt(b"a", salt=b"b", n=2, r=1, p=1).hex()[:8],
                    statistics.LinearRegression(1, 2))
    """,
    "the members of an object, and what a function takes": """
        import inspect
        class Any:
            x = 1
            def method(self, a, b=2): return a
        def run():
            public = [name for name, value in inspect.getmembers(Any()) if not name.startswith("_")]
            spec = inspect.getfullargspec(Any.method)
            return public, [n for n, _ in inspect.getmembers(Any, inspect.isfunction)], spec.args, spec.defaults
    """,
    "readers of attributes, sorted by": """
        import operator
        class Any:
            def __init__(self, a): self.a, self.format = a, "f"
            def method(self, x, *, y): return self.a, x, y
        def run():
            many = [Any(2), Any(1)]
            many.sort(key=operator.attrgetter("a"))
            try:
                operator.attrgetter("b")(many[0])
            except AttributeError as error:
                return ([m.a for m in many], operator.attrgetter("a", "__class__.__name__", "format")(many[0]),
                        operator.methodcaller("method", 1, y=2)(many[1]), str(error),
                        operator.attrgetter("é.x", "a") is not None)
    """,
    "a cached property, also of a risky name": """
        import functools
        class Any:
            calls = 0
            @functools.cached_property
            def mean(self):
                self.calls += 1
                return self.calls
            @functools.cached_property
            def parser(self): return "text"
        class Slotted:
            __slots__ = ()
            @functools.cached_property
            def x(self): return 1
        def run():
            one = Any()
            try:
                Slotted().x
            except TypeError as error:
                return one.mean, one.mean, one.parser, vars(one), str(error), type(Any.mean).__name__
    """,
    "patterns in a class body": """
        class Point:
            __match_args__ = ("x",)
            def __init__(self): self.x = 4
        class Body:
            "Its docstring."
            match Point():
                case Point(found): pass
            match [Point()]:
                case [Point(other)]: pass
        def run(): return Body.found, Body.other, Body.__doc__, sorted(n for n in vars(Body) if n[0] != "_")
    """,
    "eval called by a library": """
        import asyncio
        number = 4
        def run(): return asyncio.run(asyncio.to_thread(eval, "1 + 1")), eval("number + 1"), list(map(eval, ["number"]))
    """,
}


def plainly(source: str) -> str:
    space: dict[str, Any] = {"__name__": "tool"}
    exec(compile(textwrap.dedent(source), "/tools/tool.py", "exec"), space)
    return repr(space["run"]())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_the_result_of_plain_python(name):
    assert load(PROGRAMS[name]) == ("ok", plainly(PROGRAMS[name]))


def test_names_published_beside_all_are_of_modules_that_publish_it():
    assert {name for name in published.ALSO if published.DEFAULT[name] is not None} == set()
