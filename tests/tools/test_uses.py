"""A live function is called as it is now; what did not change is not written down again."""

from __future__ import annotations

import functools
import math
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
