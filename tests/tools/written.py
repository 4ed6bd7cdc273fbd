"""A host program: it imports elf_pysandbox, so its functions are captured one by one, never as a module."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import functools
import logging
import math
import operator
import re
import threading

import elf_pysandbox

assert elf_pysandbox.__name__ == "elf_pysandbox"
K = 10
NAMES = ["a", "b"]


def helper(x):
    return x * K


def uses_helper(x):
    return helper(x) + len(NAMES)


def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


def mark(prefix):
    def wrap(function):
        @functools.wraps(function)
        def inner(*args):
            return prefix + str(function(*args))

        return inner

    return wrap


@mark("p:")
def decorated(x: int) -> str:
    """Add one."""
    return x + 1


class Base:
    K = 3

    def base(self):
        return self.K


class Greeter(Base):
    def __init__(self, word):
        self.word = word
        self._n = 2

    def greet(self, name):
        return f"{self.word} {name}{self._n}{self.base()}"

    @staticmethod
    def hello(x):
        return helper(x)

    @classmethod
    def build(cls, word):
        return cls(word).greet("x")

    def __call__(self, x):
        return self.word * x


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 2

    def norm(self, k: int = 1) -> float:
        return math.hypot(self.x, self.y) * k


class Color(enum.Enum):
    RED = "r"

    def times(self, x):
        return self.value * x


Pair = collections.namedtuple("Pair", "a b")


def defaults(a, b=K, *, c=NAMES, d=Color.RED):
    return [a, b, c, d.value]


async def later(x):
    return x + 1


def count(n):
    yield from range(n)


def outer(n, step=(1, 2)):
    total = {"v": n}

    def inc(x: int = n) -> Point:
        """A text
        over two lines."""
        nonlocal n
        n += x
        total["v"] += step[1]
        return [n, total["v"], inc.__doc__.count("\n")]

    def rec(k):
        return k if k == 0 else rec(k - 1)

    class Local:
        def twice(self, x):
            return [n * x, Local.__name__]

    return inc, rec, lambda y: y + n, Local().twice


inc, rec, lam, local_method = outer(5)
two = (lambda x: x + 1, lambda x: x + 2)
greeter = Greeter("Hi")
log = logging.getLogger("written")
pattern = re.compile(r"a+", re.IGNORECASE)
groups = collections.defaultdict(list, {"a": [1]})


def uses_library_objects(text):
    log.debug("x")
    return [pattern.match(text) is not None, groups["a"], groups["zz"]]


@functools.lru_cache(maxsize=3)
def cached(x):
    return x * 2


def annotated(x: Point, y: int | None = None) -> list[Point]:
    return [x, y]


def holding(thing):
    def inner(x):
        return [thing, x]

    return inner


lock = threading.Lock()


def uses_lock(x):
    with lock:
        return x


itemgetter = operator.itemgetter(1)


def größe(wert):
    return "ü" * wert


def imports_inside(x):
    from fixtures.toolbox.base import BASE

    return BASE * x


LARGE = bytes(200_000)
NUMBERS = array.array("q", range(70_000))


def uses_large_data(at: int) -> list[int]:
    return [NUMBERS[at], len(LARGE), len(NUMBERS)]
