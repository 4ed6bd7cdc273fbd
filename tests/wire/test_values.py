"""What crosses comes out equal in value and exact type; what is small is written small."""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import pathlib
import subprocess
import sys
import uuid
import zoneinfo
from typing import Any

import hypothesis.strategies as st
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings

from elf_pysandbox_worker.wire import tags
from elf_pysandbox_worker.wire.values import Record, ValueTooLarge, WireError, pack, unpack
from tests.wire.support import LIMIT, received, round_trip, same

zones = st.sampled_from([None, datetime.UTC, zoneinfo.ZoneInfo("Europe/Berlin")]) | st.builds(
    datetime.timezone,
    st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)),
)
text = st.text(st.characters(codec=None))  # lone surrogates too
decimals = st.decimals() | st.sampled_from(
    [decimal.Decimal(x) for x in ("sNaN", "-NaN12", "-Infinity", "-0E+3")]
)
hashables = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.complex_numbers(),
    text,
    st.binary(),
    st.datetimes(timezones=zones),
    st.builds(lambda when: when.replace(fold=1), st.datetimes(timezones=zones)),
    st.dates(),
    st.times(timezones=zones),
    st.timedeltas(),
    zones,
    decimals.filter(lambda value: not value.is_snan()),
    st.fractions(),
    st.uuids(),
    st.sampled_from([pathlib.Path("/a/é"), pathlib.PurePath("."), pathlib.PureWindowsPath("c:\\x")]),
    st.builds(range, st.integers(), st.integers(), st.integers(1, 10**20)),
    st.just(...),
)
keys = st.recursive(
    hashables, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
anything = st.recursive(
    hashables
    | decimals
    | st.builds(bytearray, st.binary())
    | st.builds(slice, hashables, hashables, hashables),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.builds(Record, st.just("T"), st.just("m"), st.just("dataclass"), st.dictionaries(text, inner)),
        st.lists(st.tuples(st.integers(), st.text(max_size=3)), max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(anything)
def test_every_value_of_the_set_comes_out_equal_with_its_exact_types(value: Any) -> None:
    assert same(round_trip(value), value)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(anything)
def test_a_value_is_written_alike_each_time_and_never_with_more_bytes_than_allowed(value: Any) -> None:
    packed = pack(value, max_bytes=LIMIT)
    # The head of a tag is counted in its long form until its length is known.
    again = pack(round_trip(value), max_bytes=2 * len(packed.data) + 100)
    assert len(again.data) == len(packed.data)
    with pytest.raises(ValueTooLarge):
        pack(value, max_bytes=len(packed.data) - 1)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -math.inf,
        -0.0,
        2**63,
        2**64,
        -(2**63) - 1,
        10**5000,
        -(10**400),
        "\ud800",
        {"\udfff": "\ud800x"},
        True,
        {1: "int", 1.5: "float", None: "none", True and "t": 0, b"b": 0, (1, ("x",)): {2}},
        {-1, -2, 0.5, "x", None},
        [{"a": 1}, {"a": 2}, {}],
        [(1, "a"), (2, "b")],
        [(1, [2]), (3, [4])],
        (((), {}), [(), ((),)]),
        ((), {}),
        ((1, "x"), {"a": [1, {"b": None}]}),
        ((object and 1,), {"when": datetime.date(2020, 2, 29)}),
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}},
        [[[[[[[[[[(1,)]]]]]]]]]],
        datetime.datetime(2020, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
        datetime.timezone(datetime.timedelta(hours=5, microseconds=1), "half"),
        datetime.timedelta.min,
        decimal.Decimal("1E-999999"),
        fractions.Fraction(-(2**8000), 2**8000 - 1),
        uuid.UUID(int=0),
        range(0, -(10**30), -7),
        slice(None, ("a",), -1),
        bytearray(),
        [b"", b"x"] * 3,
    ],
    ids=lambda value: type(value).__name__,
)
def test_edge_values_come_out_equal_with_their_exact_types(value: Any) -> None:
    assert same(round_trip(value), value)


def test_the_snan_of_decimal_survives() -> None:
    assert round_trip(decimal.Decimal("sNaN123")).is_snan()


def test_an_immutable_object_may_occur_twice() -> None:
    leaf = (1, (2, "x" * 100))
    assert round_trip([leaf, leaf, {"k": leaf}]) == [leaf, leaf, {"k": leaf}]


def test_memoryviews_arrive_as_bytes_however_they_lie_in_memory() -> None:
    assert round_trip(memoryview(b"abc")) == b"abc"
    assert round_trip(memoryview(bytearray(range(10)))[::2]) == bytes(range(0, 10, 2))
    assert round_trip(memoryview(bytearray(200_000))[::2]) == bytes(100_000)
    assert round_trip(memoryview(b"")) == b""


def test_large_bytes_travel_beside_the_payload_as_the_same_object() -> None:
    large, mutable = bytes(tags.OUT_OF_BAND), bytearray(b"x" * tags.OUT_OF_BAND)
    packed = pack({"a": large, "b": [mutable], "c": b"small"}, max_bytes=LIMIT)
    assert len(packed.data) < 100
    assert packed.buffers[0] is large
    assert packed.buffers[1] is mutable
    data, buffers = received(packed)
    value = unpack(data, buffers)
    assert value == {"a": large, "b": [mutable], "c": b"small"}
    assert value["a"] is buffers[0]
    assert value["b"][0] is buffers[1]


def test_more_large_objects_than_a_frame_has_buffers_all_arrive() -> None:
    value = [bytes([i % 256]) * tags.OUT_OF_BAND for i in range(1030)]
    packed = pack(value, max_bytes=128 << 20)
    assert len(packed.buffers) == 1023
    assert unpack(packed.data, list(packed.buffers)) == value  # type: ignore[arg-type]


def test_the_no_op_call_takes_six_bytes_and_none_takes_one() -> None:
    assert len(pack(((), {}), max_bytes=100).data) == 6
    assert pack(None, max_bytes=100).data == b"\xc0"


def test_a_raw_part_of_a_message_is_unpacked_in_place() -> None:
    raw = msgspec.msgpack.decode(pack([1, "x", (2,)], max_bytes=100).data, type=msgspec.Raw)
    assert unpack(raw) == [1, "x", (2,)]
    assert unpack(memoryview(pack({"a": 1}, max_bytes=100).data)) == {"a": 1}


def test_plain_values_neither_import_numpy_nor_pathlib_nor_zoneinfo() -> None:
    code = (
        "import sys; sys.path[:0] = ['worker']; before = set(sys.modules)\n"
        "from elf_pysandbox_worker.wire.values import pack, unpack\n"
        "import datetime\n"
        "value = {'a': [1, (2.5, 'x')], 'when': datetime.date(2020, 1, 1)}\n"
        "assert unpack(pack(value, max_bytes=1000).data) == value\n"
        "heavy = {'numpy', 'pandas', 'pathlib', 'zoneinfo', 'fractions', 'asyncio'}\n"
        "found = heavy & (set(sys.modules) - before)\n"
        "assert not found, found\n"
    )
    root = pathlib.Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)


def test_an_empty_message_is_an_error() -> None:
    with pytest.raises(WireError):
        unpack(b"")


@pytest.mark.parametrize(
    "text", ["2024-05-01T12:00:00Z", "2024-05-01T12:00:00+02:00", "2024-05-01T12:00:00-00:30"]
)
def test_a_moment_that_pydantic_read_crosses_with_a_fixed_offset(text: str) -> None:
    read = pydantic.TypeAdapter(datetime.datetime).validate_python(text)
    assert type(read.tzinfo) is not datetime.timezone  # pydantic has a class of its own
    there = unpack(pack(read, max_bytes=LIMIT).data)
    assert there == read
    assert type(there.tzinfo) is datetime.timezone
    assert there.utcoffset() == read.utcoffset()
    assert there == datetime.datetime.fromisoformat(text)
