import bisect
import heapq
import io
import operator
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import Policy, SandboxPool, ToolNotFoundError
from elf_pysandbox._tools.load import load
from elf_pysandbox._tools.tool import Tool
from elf_pysandbox_worker.wire.values import Record
from tests.tools import written
from tests.tools.interpreters import other_interpreters
from tests.tools.kinds import BY_NAME, KINDS, MODULE, PICKLED, WRITTEN, Kind, from_exec


def how(tool: Tool) -> str:
    if tool.context.pickled:
        return PICKLED
    if tool.context.name.startswith("by_name_"):
        return BY_NAME
    return WRITTEN if tool.context.name.startswith("captured_") else MODULE


def plain(value: Any) -> Any:
    """Records as the data they hold."""
    if isinstance(value, Record):
        return value.fields["value"] if value.kind == "enum" else value.as_dict()
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_callable_runs_in_a_fresh_process(kind: Kind, pool: SandboxPool) -> None:
    tool = load(kind.make())
    assert how(tool) == kind.how
    outcome = pool.outcome(tool, *kind.args)
    if kind.expected is None:
        assert outcome.status == "bad_result"
    else:
        assert plain(outcome.unwrap()) == kind.expected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.how != PICKLED], ids=str)
def test_every_kind_of_callable_with_source_runs_under_the_language_policy(
    kind: Kind, restricted: SandboxPool
) -> None:
    outcome = restricted.outcome(load(kind.make()), *kind.args)
    assert (
        (outcome.status == "bad_result")
        if kind.expected is None
        else plain(outcome.unwrap()) == kind.expected
    )


@pytest.mark.parametrize("python", other_interpreters(), ids=lambda path: Path(path).parents[1].name)
def test_a_pickled_callable_is_refused_by_another_version_of_python(python: str) -> None:
    """Its bytecode is this version's: another one may run it wrongly, or crash."""
    with SandboxPool(1, policy=Policy(profile="native"), python=python) as pool:
        outcome = pool.outcome(load(from_exec("def f(): return 1", "f")))
    assert outcome.status == "load_failed"
    assert "was pickled by Python" in str(outcome.error)


def test_data_of_more_than_a_bundle_holds_is_refused_with_what_to_do() -> None:
    table = bytes(40 << 20)
    with pytest.raises(ToolNotFoundError, match="more than 32 MiB: pass it as an argument"):
        load(lambda: len(table))


def test_a_callable_without_source_is_refused_under_the_language_policy(restricted: SandboxPool) -> None:
    outcome = restricted.outcome(load(from_exec("def f(): return 1", "f")))
    assert outcome.status in ("denied", "load_failed")
    assert str(outcome.error).endswith(": put it into a file")


@pytest.mark.parametrize(
    ("function", "arguments", "value"),
    [(operator.add, (1, 2), 3), (bisect.bisect_left, ([1, 3], 3), 1), (heapq.nsmallest, (1, [2, 1]), [1])],
    ids=["operator", "bisect", "heapq"],
)
def test_a_function_that_says_it_is_of_a_private_module_goes_by_the_public_one(
    function: Any, arguments: tuple[Any, ...], value: Any, restricted: SandboxPool
) -> None:
    assert restricted.call(load(function), *arguments) == value


@pytest.mark.parametrize(
    ("thing", "named"),
    [
        (threading.Lock(), "_thread.lock"),
        (io.open("/dev/null"), "TextIOWrapper"),  # noqa: SIM115, UP020 - it is closed below
        (socket.socket(), "socket.socket"),
        (threading.Thread(), "threading.Thread"),
        ((i for i in "a"), "generator"),
        ({"a": [threading.Lock()]}, r"\['a'\]\[0\] is a _thread.lock"),
    ],
)
def test_what_cannot_be_shipped_is_named(thing: Any, named: str) -> None:
    try:
        with pytest.raises(ToolNotFoundError, match=rf"closure variable 'thing'.*{named}"):
            load(written.holding(thing))
    finally:
        if hasattr(thing, "close"):
            thing.close()


def test_an_unshippable_global_is_named() -> None:
    with pytest.raises(ToolNotFoundError, match=r"global .lock. is a _thread\.lock"):
        load(written.uses_lock)


def test_a_pickled_callable_with_an_open_file_is_refused() -> None:
    with open("/dev/null") as file:
        function = from_exec("def make(file):\n    return lambda: file.name", "make")(file)
        with pytest.raises(ToolNotFoundError, match="TextIOWrapper"):
            load(function)


def test_something_not_callable_is_refused() -> None:
    with pytest.raises(ToolNotFoundError, match="cannot be called"):
        load(3)  # type: ignore[arg-type]


def test_capturing_is_deterministic() -> None:
    keys = {load(kind.make()).key for kind in KINDS if kind.how == WRITTEN}
    assert keys == {load(kind.make()).key for kind in KINDS if kind.how == WRITTEN}


def test_two_meanings_of_one_name_are_never_mixed_up(pool: SandboxPool) -> None:
    one = from_exec("K = 1\ndef f(): return K", "f")
    namespace = {"f": one, "K": 2}
    exec("def g(): return [f(), K]", namespace)
    assert pool.call(load(namespace["g"])) == [1, 2]  # type: ignore[arg-type]


def test_a_script_that_calls_its_own_function_works(project: Any) -> None:
    root = project(
        {
            "script.py": "from elf_pysandbox import SandboxPool\nfrom helpers import K\n"
            "def f(x):\n    return x * K + g()\ndef g():\n    return 1\n"
            "if __name__ == '__main__':\n    with SandboxPool(2) as pool:\n        print(pool.call(f, 4))\n",
            "helpers.py": "K = 3\n",
        }
    )
    done = subprocess.run(
        [sys.executable, str(root / "script.py")], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("13", "")


def test_the_traceback_shows_the_lines_as_written(pool: SandboxPool) -> None:
    outcome = pool.outcome(load(written.outer("a")[0]), 1)
    assert outcome.status == "raised"
    assert outcome.error.info.traceback[-1].source == "n += x"  # type: ignore[union-attr]


SCRIPT = """
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, NewType, Optional, ParamSpec, TypeVar
import threading

from elf_pysandbox import Policy, SandboxPool

T = TypeVar("T")
P = ParamSpec("P")
UserId = NewType("UserId", int)
lock = threading.Lock()

@dataclass
class Thing:
    name: str

@dataclass
class Node:
    kids: "list[Node]"
    thing: "Thing | None" = None

class Box(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value
    def get(self) -> T:
        return self.value

def quoted(things: "list[Thing]", one: Optional["Thing"] = None): return [thing.name for thing in things]
def noted(thing: "Annotated[Thing, 'lock']", how: Literal["lock"] = "lock"): return thing.name
def nested(node: "Node"): return node.kids[0].thing.name
def first(things: list[T], more: "T" = None) -> T: return things[0]
def boxed(value): return Box(value).get()
def user(id: UserId) -> int: return id
def locked(one: "lock" = None, two: lock = None, three: lock = None): return one, two, three

if __name__ == "__main__":
    a = {"name": "a"}
    with SandboxPool(1, policy=Policy(profile="native")) as pool:
        calls = [(quoted, [a]), (noted, a), (nested, {"kids": [{"kids": [], "thing": a}]}), (first, [1]), (boxed, 2),
                 (Box(3).get,), (user, 4), (locked,)]
        print([pool.call(function, *values) for function, *values in calls])
        print(pool.outcome(user, "x").status)
"""


def test_types_that_only_annotations_name_travel_with_a_function_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[['a'], 'a', 'a', 1, 2, 3, 4, (None, None, None)]",
        "invalid_arguments",
    ]


DECORATED = """
import functools
import sys

from elf_pysandbox import Policy, SandboxPool

@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

same = fib
def sums(n): return fib(n) + same(n), fib.cache_info().misses

def counted(function):
    @functools.wraps(function)
    def inner(*args):
        inner.calls += 1
        return function(*args)
    inner.calls = 0
    return inner

@counted
def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
def counts(n): return factorial(n), factorial.calls

class Memo:
    def __init__(self, function):
        self.function, self.known = function, {}
    def __call__(self, n):
        if n not in self.known:
            self.known[n] = self.function(n)
        return self.known[n]

@Memo
def triangle(n): return n and n + triangle(n - 1)
def remembers(n): return triangle(n), len(triangle.known)

@functools.lru_cache
def even(n): return n == 0 or odd(n - 1)
@counted
def odd(n): return n != 0 and even(n - 1)

@functools.cache
def settings(): return Settings()
class Settings:
    def is_one(self): return settings() is self
def is_one(n): return settings().is_one()

if True:
    @functools.cache
    def climb(n): return climb(n - 1) if n else 0
    def climbs(n): return climb(n), climb.cache_info().misses

CALLED = [fib, sums, factorial, counts, triangle, remembers, even, odd, is_one, climbs]

if __name__ == "__main__":
    with SandboxPool(1, policy=Policy(profile=sys.argv[1])) as pool:
        print([pool.call(function, 6) for function in CALLED])
"""


@pytest.mark.parametrize("profile", ["native", "restricted"])
def test_a_decorated_function_of_a_script_that_calls_itself_runs_as_decorated(
    profile: str, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(DECORATED)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), profile], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[8, (16, 7), 720, (720, 6), 21, (21, 7), True, False, True, (0, 7)]"


RENAMED = """
from elf_pysandbox import Policy, SandboxPool

def count(n): return n + 1
before = count
count = [10]
def uses_data(n): return before(n) + count[0]

def step(n): return n + 1
earlier = step
def step(n): return earlier(n) + 10
def uses_earlier_first(n): return earlier(n) + step(n)

def turn(n): return n + 1
was_turn = turn
def turn(n): return was_turn(n) + 10
def uses_later_first(n): return turn(n) + was_turn(n)

if __name__ == "__main__":
    with SandboxPool(1, policy=Policy(profile="native")) as pool:
        print([pool.call(function, 1) for function in (uses_data, uses_earlier_first, uses_later_first, step, earlier)])
"""


def test_an_earlier_function_of_a_name_never_takes_the_place_of_what_has_the_name_now(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(RENAMED)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[12, 14, 14, 12, 2]", "")
