"""A live function is called as it is now; what did not change is not written down again."""

from __future__ import annotations

import copy
import functools
import importlib
import itertools
import math
import pickle
import re
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import Policy, SandboxPool
from elf_pysandbox._remembered import _MOST, _MOST_BYTES, Remembered
from elf_pysandbox._tools.capture import capture

SOURCE = """
import functools
RATE = 2
TABLE = {"a": [1]}
def helper(x):
    return x
def price(x, step=1):
    return helper(x) * RATE + len(TABLE["a"]) + step
class Counter:
    def __init__(self):
        self.value = 1
    def get(self):
        return self.value
def outer():
    held = 1
    def inner():
        return held
    def more():
        nonlocal held
        held += 1
    return inner, more
def decorated(function):
    @functools.wraps(function)
    def around(*args):
        return function(*args) + 100
    return around
@decorated
def dear(x):
    return x + RATE
def uses_what_is_not_there():
    return missing()
def holds(data):
    def last():
        return data[-1]
    return last
"""


@pytest.fixture
def there(tmp_path: Path) -> types.ModuleType:
    """A module such as a notebook has: with source, and in no file that could travel."""
    file = tmp_path / "cell.py"
    file.write_text(SOURCE)
    module = types.ModuleType("notebook")
    exec(compile(SOURCE, str(file), "exec"), vars(module))
    return module


def _as_by_hand(change: Callable[[Any], None]) -> Any:
    return pytest.param(change, id=change.__name__)


def another_global(there: Any) -> None:
    there.RATE = 3


def another_helper(there: Any) -> None:
    exec("def new(x): return x + 1", vars(there))
    there.helper.__code__ = there.new.__code__


def another_function_of_that_name(there: Any) -> None:
    there.helper = there.dear


def data_that_was_changed_in_place(there: Any) -> None:
    there.TABLE["a"].append(2)


def another_default(there: Any) -> None:
    there.price.__defaults__ = (2,)


def a_global_that_is_gone(there: Any) -> None:
    del there.RATE


def an_attribute(there: Any) -> None:
    there.price.unit = "EUR"


@pytest.mark.parametrize(
    "change",
    [
        _as_by_hand(change)
        for change in (
            another_global,
            another_helper,
            another_function_of_that_name,
            data_that_was_changed_in_place,
            another_default,
            a_global_that_is_gone,
            an_attribute,
        )
    ],
)
def test_a_function_is_current_until_something_that_it_uses_changes(
    there: Any, change: Callable[[Any], None]
) -> None:
    tool = capture(there.price)
    assert tool.is_current
    there.unrelated = 1
    assert tool.is_current
    change(there)
    assert not tool.is_current


def test_a_name_that_appears_later_changes_the_function_that_uses_it(there: Any) -> None:
    tool = capture(there.uses_what_is_not_there)
    assert tool.is_current
    there.missing = there.outer
    assert not tool.is_current


def test_a_closure_is_current_until_what_it_holds_changes(there: Any) -> None:
    inner, more = there.outer()
    tool = capture(inner)
    assert tool.is_current
    more()
    assert not tool.is_current


def test_a_decorated_function_is_current_until_what_it_wraps_changes(there: Any) -> None:
    tool = capture(there.dear)
    assert tool.is_current
    there.RATE = 3
    assert not tool.is_current


def test_whether_an_object_changed_cannot_be_told_so_its_methods_are_written_each_time(there: Any) -> None:
    assert not capture(there.Counter().get).is_current
    assert not capture(functools.partial(there.price, 1)).is_current


def test_a_changed_default_is_written_also_where_the_text_has_a_constant(
    native_pool: SandboxPool, there: Any
) -> None:
    assert native_pool.call(there.price, 10) == 22
    there.price.__defaults__ = (5,)
    assert native_pool.call(there.price, 10) == 26


def test_data_is_looked_at_item_by_item_and_what_can_change_in_place_by_its_contents(there: Any) -> None:
    for data, change in (
        ({"a": 1, "b": 2}, lambda data: data.update(a=True)),  # equal, and not the same
        ({"a": 1, "b": 2}, lambda data: data.update(a=data.pop("a"))),  # in another order
        ([[1], {2}, (3, [4])], lambda data: data[2][1].append(5)),
        ({1, 2}, lambda data: data.add(3)),
        (bytearray(b"x"), lambda data: data.extend(b"y")),
        ([bytearray(b"x")], lambda data: data[0].extend(b"y")),
    ):
        tool = capture(there.holds(data))
        assert tool.is_current
        change(data)
        assert not tool.is_current


def test_a_pattern_never_changes(there: Any) -> None:
    assert capture(there.holds(re.compile("a+"))).is_current


def test_equal_callables_that_do_different_things_are_not_mixed_up(
    native_pool: SandboxPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scales.py").write_text(
        "class Scale:\n"
        "    def __init__(self, factor): self.factor = factor\n"
        "    def __eq__(self, other): return True\n"
        "    def __hash__(self): return 1\n"
        "    def __call__(self, x): return self.factor * x\n"
        "    def twice(self, x): return 2 * self.factor * x\n"
        "class Unhashable(Scale):\n"
        "    __hash__ = None\n"
        "two, three, four = Scale(2), Scale(3), Unhashable(4)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scales = importlib.import_module("scales")
    assert [native_pool.call(one, 1) for one in (scales.two, scales.three, scales.four)] == [2, 3, 4]
    assert [native_pool.call(one.twice, 1) for one in (scales.two, scales.three, scales.four)] == [4, 6, 8]


def test_a_captured_tool_is_pickled_without_what_it_was_written_from(there: Any) -> None:
    tool = capture(there.price)
    assert pickle.loads(pickle.dumps(tool)) == tool == copy.deepcopy(tool)
    assert tool.is_current


def test_a_function_whose_data_another_thread_changes_is_called_all_the_same(
    native_pool: SandboxPool, there: Any
) -> None:
    there.TABLE.update((str(number), [number]) for number in range(2000))
    done = threading.Event()

    def change() -> None:
        for number in itertools.count():
            there.TABLE[f"new {number}"] = there.TABLE.pop(f"new {number - 1}", [1])
            if done.is_set():
                return

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert [native_pool.outcome(there.price, 10).status for _ in range(5)] == ["ok"] * 5
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)


def test_what_threads_remember_at_once_is_counted_right() -> None:
    kept = Remembered()

    def put() -> None:
        for number in range(2000):
            kept.put(number % 7, number, 1 << 20)
            kept.put((threading.get_ident(), number), number, 1 << 20)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept._bytes == sum(size for _, size in kept._found.values()) <= _MOST_BYTES


def test_what_is_imported_by_name_is_always_current() -> None:
    assert capture(math.sqrt).is_current
    assert capture(sorted).is_current


def test_each_call_of_a_live_function_sees_what_it_uses_as_it_is(
    native_pool: SandboxPool, there: Any
) -> None:
    counter = there.Counter()
    inner, more = there.outer()
    calls = [(there.price, (10,)), (counter.get, ()), (inner, ()), (there.dear, (1,))]
    assert [native_pool.call(function, *args) for function, args in calls] == [22, 1, 1, 103]
    there.RATE, counter.value = 3, "two"
    more()
    assert [native_pool.call(function, *args) for function, args in calls] == [32, "two", 2, 104]


def test_functions_with_much_data_are_kept_only_while_there_is_room(there: Any) -> None:
    with SandboxPool(1, policy=Policy(profile="native"), max_templates=1) as pool:
        for number in range(10):
            assert pool.call(there.holds(bytes(8 << 20) + bytes([number]))) == number
        for kept in (pool._calls.tools, pool._routes):
            assert 0 < kept._bytes <= _MOST_BYTES
            assert sum(size for _, size in kept._found.values()) == kept._bytes


def test_the_first_remembered_are_forgotten_first_and_one_too_large_at_once() -> None:
    kept = Remembered()
    for number in range(5):
        kept.put(number, f"thing {number}", _MOST_BYTES // 4)
    assert [kept.get(number) for number in range(5)] == [None, "thing 1", "thing 2", "thing 3", "thing 4"]
    kept.put(1, "again", 1)
    kept.put(9, "large", _MOST_BYTES + 1)
    assert (kept.get(1), kept.get(2), kept.get(9)) == ("again", "thing 2", None)
    for number in range(_MOST):
        kept.put(str(number), number, 0)
    assert kept.get(1) is None
    assert len(kept._found) == _MOST
