"""What does not cross is refused by name and place, and nothing large is ever written."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import io
import itertools
import re
import struct
import threading
import time
import tracemalloc
import types
import zoneinfo
from typing import Any

import pytest

from elf_pysandbox_worker.wire.values import UnsupportedValue, ValueTooLarge, pack
from tests.wire.support import LIMIT, round_trip

ZONE = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
"""The least file of a time zone (RFC 8536): one offset, of nothing."""


class Text(str):
    __slots__ = ()


class Count(int):
    pass


class Plain:
    pass


def refusal(value: Any, root: str = "result") -> UnsupportedValue:
    with pytest.raises(UnsupportedValue) as caught:
        pack(value, max_bytes=LIMIT, root=root)
    return caught.value


@pytest.mark.parametrize(("root", "word", "other"), [("result", "return", "pass"), ("", "pass", "return")])
def test_a_hint_says_return_of_a_result_and_pass_of_an_argument(root: str, word: str, other: str) -> None:
    shared: list[int] = []
    for value in (refusal, Plain(), Plain, Count(1), (i for i in ()), [shared, shared], {}.keys()):
        words = refusal([value], root).hint.split()
        assert word in words
        assert other not in words


@pytest.mark.parametrize(
    ("value", "name", "hint"),
    [
        (len, "builtin_function_or_method", "return what it computes"),
        (refusal, "function", "return what it computes"),
        (io, "module", "return what you need of it"),
        ((i for i in ()), "generator", "return list(...) of it"),
        (threading.Lock(), "_thread.lock", "make it where it is used"),
        (threading.Event(), "threading.Event", "return what you need of it"),
        (re.compile("a"), "re.Pattern", "return what you need of it"),
        (iter([1]), "list_iterator", "return list(...) of it"),
        (iter({1: 2}.items()), "dict_itemiterator", "return list(...) of it"),
        (itertools.chain([1]), "itertools.chain", "return list(...) of it"),
        (itertools.count(), "itertools.count", "return a list of as many of its items as are needed"),
        (types.SimpleNamespace(a=1), "types.SimpleNamespace", "return vars(...) of it"),
        (io.BytesIO(), "_io.BytesIO", "getvalue"),
        (Plain(), f"{__name__}.Plain", "dataclass"),
        (Plain, "type", "name"),
        (Text("x"), f"{__name__}.Text", "str(...)"),
        (Count(1), f"{__name__}.Count", "int(...)"),
        (collections.OrderedDict(a=1), "collections.OrderedDict", "dict(...)"),
        (collections.Counter("a"), "collections.Counter", "dict(...)"),
        (collections.deque(), "collections.deque", "list(...)"),
        ({}.keys(), "dict_keys", "list(...)"),
        (ValueError("x"), "ValueError", "raise it"),
        (NotImplemented, "NotImplementedType", "return None instead"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
@pytest.mark.parametrize("wrap", ["alone", "in a list", "in a dict", "as a key"])
def test_what_is_outside_the_set_is_refused_with_its_path_and_type(
    value: Any, name: str, hint: str, wrap: str
) -> None:
    if wrap == "as a key" and getattr(type(value), "__hash__", None) is None:
        pytest.skip("no key")
    values = {
        "alone": (value, "result"),
        "in a list": ([1, {"rows": [(value,)]}], "result[1]['rows'][0][0]"),
        "in a dict": ({"a": {2: value}}, "result['a'][2]"),
    }
    if wrap == "as a key":
        error = refusal(
            {"a": {1: 2, value: 1}} if not isinstance(value, (Text, Count)) else {"a": {2, value}}
        )
        assert error.path.startswith("result['a'] (its ")
    else:
        wrapped, path = values[wrap]
        error = refusal(wrapped)
        assert error.path == path
    assert error.type_name == name
    assert hint in error.hint
    assert str(error).startswith(error.path)


def test_the_first_offender_in_order_is_named() -> None:
    assert refusal({"a": [1, open, 2], "b": len}).path == "result['a'][1]"
    assert refusal([[(1, len)], {"x": open}]).path == "result[0][0][1]"


def test_the_middle_of_a_long_path_is_counted_not_written() -> None:
    value: Any = open
    for _ in range(90):
        value = [value]
    assert refusal(value).path == f"result{'[0]' * 8}… 74 more …{'[0]' * 8}"


def test_the_arguments_of_a_call_are_named_as_the_caller_named_them() -> None:
    assert refusal(((1, [len]), {}), root="").path == "args[1][0]"
    assert refusal(((), {"rows": [{"a": len}]}), root="").path == "rows[0]['a']"


@pytest.mark.parametrize("make", [list, dict, set, bytearray], ids=lambda make: make.__name__)
def test_a_mutable_object_met_twice_is_refused_with_both_places(make: Any) -> None:
    shared = make()
    error = refusal({"rows": [shared, {"again": (1, shared)}]})
    assert error.path == "result['rows'][1]['again'][1]"
    assert error.reason == f"is the same {make.__name__} as result['rows'][0]"
    assert str(error).endswith("; return a copy")


def test_a_list_shared_among_plain_lists_is_refused_too() -> None:
    shared = [1]
    assert str(refusal([shared, shared])) == "result[1] is the same list as result[0]; return a copy"
    assert refusal([[[0, shared]], {"a": {"b": shared}}]).path == "result[1]['a']['b']"
    assert refusal([(), shared, *([i] for i in range(5000)), shared]).path == "result[5002]"


def test_equal_but_distinct_containers_pass() -> None:
    assert round_trip([[], [], {}, {}, set(), set()]) == [[], [], {}, {}, set(), set()]


def test_a_cycle_is_refused_with_the_place_that_contains_it() -> None:
    ring: list[Any] = []
    ring.append({"next": ring})
    error = refusal({"a": ring})
    assert error.path == "result['a'][0]['next']"
    assert error.reason == "is result['a'], the list that it is in"


@pytest.mark.parametrize(
    "make", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,), lambda v: {1: v}, lambda v: frozenset([v])]
)
def test_a_hundred_levels_cross_and_one_more_is_refused(make: Any) -> None:
    value: Any = 1
    for _ in range(100):
        value = make(value)
    assert round_trip(value) == value
    assert "100 levels" in refusal(make(value)).reason


def test_an_exception_as_an_argument_cannot_be_raised_instead() -> None:
    assert refusal(((ValueError("x"),), {}), root="").hint == "pass its text"


@pytest.mark.parametrize("way", ["by position", "by name"])
@pytest.mark.parametrize("make", [lambda v: [v], lambda v: {"a": v}, lambda v: (v,)])
def test_arguments_have_one_boundary_whichever_way_they_are_given_and_what_crosses_can_be_read(
    make: Any, way: str
) -> None:
    def call(value: Any) -> Any:
        return ((value,), {}) if way == "by position" else ((), {"x": value})

    value: Any = 1
    for _ in range(98):  # and two around it: the arguments, and those of one kind
        value = make(value)
    assert round_trip(call(value)) == call(value)
    error = refusal(call(make(value)), root="")
    assert error.path.startswith("args[0]" if way == "by position" else "x")
    assert "100 levels" in error.reason


@pytest.mark.parametrize("row", [(), (1, "a")])
def test_rows_below_the_last_level_are_refused_like_any_other_tuple(row: Any) -> None:
    value: Any = [row]
    for _ in range(98):
        value = [value]
    assert round_trip(value) == value
    assert "100 levels" in refusal([value]).reason


def test_a_value_too_deep_for_the_stack_is_refused_and_not_a_recursion_error() -> None:
    value: Any = 1
    for _ in range(50_000):
        value = [(value,)]
    assert "levels" in refusal(value).reason
    while value != 1:  # taken apart here, since clearing it recurses
        value = value[0][0]


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2020, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {})()),
        zoneinfo.ZoneInfo.from_file(io.BytesIO(ZONE), key="my zone"),
        decimal.Decimal("1E+1000000"),
        decimal.Decimal("1" * 70_000),
        fractions.Fraction(1, 2**9000),
        memoryview(b"x"),
    ],
    ids=["zone", "zone of a file", "exponent", "digits", "fraction", "released"],
)
def test_a_supported_type_with_an_unsupported_value_is_refused_with_the_reason(value: Any) -> None:
    if isinstance(value, memoryview):
        value.release()
    error = refusal({"x": [value]})
    assert error.path == "result['x'][0]"
    assert error.reason


class Hostile:
    """Whose attributes raise, whose names are no names."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


def test_a_class_that_resists_inspection_is_refused_and_nothing_else_happens() -> None:
    kind = type("A\n", (), {"__module__": None})
    assert refusal(kind()).path == "result"
    assert refusal(Hostile()).path == "result"


def peak(function: Any) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def doubled(levels: int) -> Any:
    value: Any = ("x" * 100,)
    for _ in range(levels):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        doubled(60),
        ["x" * 100_000] * 1000,
        [b"x" * 60_000] * 1000,
        [("x" * 100_000,)] * 1000,
        {str(i): ("y" * 100_000) for i in range(1)} | {"a": ["x" * 100_000] * 1000},
        [1] * 2_000_000,
        ["é" * 1000] * 2000,
        "x" * 2_000_000,
        bytes(2_000_000),
        2 ** (8 * 2_000_000),
        [[1.5] * 50_000 for _ in range(5)],
    ],
    ids=["graph", "text", "bytes", "rows", "dict", "ints", "accents", "str", "buffer", "int", "lists"],
)
def test_what_is_written_out_is_bounded_before_it_is_built(value: Any) -> None:
    def attempt() -> None:
        with pytest.raises(ValueTooLarge) as caught:
            pack(value, max_bytes=1_000_000)
        assert caught.value.limit == 1_000_000
        assert "1000000 bytes" in str(caught.value)

    assert peak(attempt) < 20_000_000


def test_the_part_that_passes_the_limit_is_named() -> None:
    with pytest.raises(ValueTooLarge) as caught:
        pack({"small": [1], "large": [(1,), "x" * 2000]}, max_bytes=1000)
    assert caught.value.path == "result['large'][1]"


def test_a_value_near_the_limit_is_still_written() -> None:
    value = [1] * 900_000
    assert len(pack(value, max_bytes=1_000_000).data) == 900_005
    texts = ["é" * 100] * 4000
    assert round_trip(texts) == texts
    assert len(pack(texts, max_bytes=900_000).data) == 4000 * 202 + 3


def test_a_shared_graph_that_fits_nowhere_is_given_up_at_once() -> None:
    start = time.process_time()
    with pytest.raises(ValueTooLarge):
        pack(doubled(90), max_bytes=100_000)
    assert time.process_time() - start < 30  # it would take longer than the universe
