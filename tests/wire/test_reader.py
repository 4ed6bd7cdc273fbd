"""Hostile bytes: each attack by its name; a value or a `WireError`, in bounded memory and time."""

from __future__ import annotations

import datetime
import resource
import struct
import sys
import time
import tracemalloc
from typing import Any

import pandas as pd  # noqa: F401 - imported here, so that no test measures its import
import pytest
from msgspec.msgpack import encode

from elf_pysandbox_worker.wire import scan, tags
from elf_pysandbox_worker.wire.scan import Caps
from elf_pysandbox_worker.wire.tags import ext
from elf_pysandbox_worker.wire.values import DEFAULT_CAPS, WireError, WireTooLarge, pack, unpack
from tests.wire.support import LIMIT

MEGABYTE = 1 << 20


def nested(levels: int, code: int = tags.TUPLE, inner: bytes = b"\x01") -> bytes:
    for _ in range(levels):
        inner = ext(code, b"\x91" + inner)
    return inner


def array(*parts: Any) -> bytes:
    """Return an array of values, or of bytes already encoded."""
    return tags.array_head(len(parts)) + b"".join(
        part if isinstance(part, bytes) else encode(part) for part in parts
    )


def frame_of_index() -> bytes:
    return ext(tags.INDEX, array("range", None, 0, 0, 1))


def moment(zone: Any) -> bytes:
    return ext(tags.DATETIME, struct.pack("<HBBBBBIB", 2020, 1, 1, 0, 0, 0, 0, 0) + encode(zone))


def ndarray(dtype: Any, shape: Any, data: bytes, order: str = "C") -> bytes:
    return ext(tags.NDARRAY, array(dtype, shape, order, ext(tags.BYTEARRAY, data)))


def record(
    name: Any = "A", module: Any = "m", kind: Any = "dataclass", names: Any = (), values: Any = ()
) -> bytes:
    return ext(tags.RECORD, array(name, module, kind, list(names), list(values)))


HOSTILE = {
    "nothing": b"",
    "never used byte": b"\xc1",
    "trailing byte": b"\x01\x01",
    "trailing byte in a tag": ext(tags.TUPLE, b"\x90\x90"),
    "truncated array": b"\x92\x01",
    "truncated str": b"\xa5abc",
    "truncated ext": b"\xc7\x05\x07\x90",
    "huge declared str": b"\xdb\xff\xff\xff\xff",
    "huge declared bin": b"\xc6\xff\xff\xff\xff",
    "huge declared array": b"\xdd\xff\xff\xff\xff",
    "huge declared map": b"\xdf\xff\xff\xff\xff",
    "huge declared ext": b"\xc9\xff\xff\xff\xff\x07",
    "huge array of huge arrays": b"\xdd\xff\xff\xff\xff" * 10_000,
    "bin outside a tag": b"\xc4\x01x",
    "invalid utf-8": b"\xa2\xff\xfe",
    "utf-8 of a surrogate": b"\xa3\xed\xa0\x80",
    "overlong utf-8": b"\xa2\xc0\x80",
    "invalid utf-8 in a key": b"\x81\xa1\xff\x01",
    "invalid utf-8 in tagged text": ext(tags.TEXT, b"\xff"),
    "key given twice": b"\x82\xa1a\x01\xa1a\x02",
    "key given twice deep down": b"\x91" * 5 + b"\x82\xa1a\x01\xa1a\x02",
    "key given twice beside a tag": b"\x92\x82\xa1a\x01\xa1a\x02" + ext(tags.TUPLE, b"\x90"),
    "int key": b"\x81\x01\x01",
    "array key": b"\x81\x91\x01\x01",
    "array key below a tag and six levels": b"\x91" * 8 + b"\x81\x91\x01" + ext(tags.TUPLE, b"\x90"),
    "map key": b"\x81\x80\x01",
    "ext key": b"\x81" + ext(tags.TUPLE, b"\x90") + b"\x01",
    "longer spelling of an int": b"\xcc\x01",
    "longer spelling of an array": b"\xdc\x00\x01\x01",
    "longer spelling of an ext": b"\xc8\x00\x01" + bytes((tags.TUPLE,)) + b"\x90",
    "float32": b"\xca\x00\x00\x00\x00",
    "too deep": b"\x91" * 101 + b"\x01",
    "far too deep": b"\x91" * 1_000_000,
    "far too deep maps": b"\x81\xa1a" * 100_000,
    "too deep tags": nested(101),
    "far too deep tags": nested(5_000),
    "too deep in both ways": nested(60, inner=b"\x91" * 60 + b"\x01"),
    "unknown tag": ext(99, b""),
    "negative tag": b"\xd4\xff\x00",
    "tag of a timestamp": b"\xd6\xff\x00\x00\x00",
    "set of lists": ext(tags.SET, b"\x91\x90"),
    "member given twice": ext(tags.SET, b"\x92\x01\x01"),
    "member given twice by equality": ext(tags.FROZENSET, b"\x92\x01" + encode(1.0)),
    "dict with a key given twice": ext(tags.DICT, b"\x92\x92\x01\x01\x92\x02\x03"),
    "dict with an unhashable key": ext(tags.DICT, b"\x92\x91\x90\x91\x02"),
    "dict with more keys than values": ext(tags.DICT, b"\x92\x92\x01\x02\x91\x03"),
    "dict of no lists": ext(tags.DICT, b"\x92\x01\x02"),
    "tuple of a map": ext(tags.TUPLE, b"\x80"),
    "rows of maps": ext(tags.TUPLES, b"\x91\x80"),
    "rows with a longer spelling": ext(tags.TUPLES, b"\x91\x91\xcc\x01"),
    "call of one part": ext(tags.CALL, b"\x91\x90"),
    "call with a key given twice": ext(tags.CALL, b"\x92\x90\x82\xa1a\x01\xa1a\x02"),
    "call with an int key": ext(tags.CALL, b"\x92\x90\x81\x01\x01"),
    "call of another length": b"\xc7\x04\x0b\x92\x90\x80",
    "big int of nothing": ext(tags.BIGINT, b""),
    "big int that is small": ext(tags.BIGINT, b"\x01"),
    "big int with padding": ext(tags.BIGINT, b"\x01" * 9 + b"\x00" * 10),
    "big int with negative padding": ext(tags.BIGINT, b"\xff" * 20),
    "complex of seven bytes": ext(tags.COMPLEX, bytes(7)),
    "range with step 0": ext(tags.RANGE, b"\x93\x00\x01\x00"),
    "range of floats": ext(tags.RANGE, array(0.5, 1.5, 1.0)),
    "range of bools": ext(tags.RANGE, b"\x93\xc2\xc3\xc3"),
    "slice of two": ext(tags.SLICE, b"\x92\x01\x02"),
    "no Ellipsis": ext(tags.ELLIPSIS, b""),
    "date in month 13": ext(tags.DATE, b"\xe4\x07\x0d\x01"),
    "year 0": ext(tags.DATE, b"\x00\x00\x01\x01"),
    "short date": ext(tags.DATE, b"\xe4\x07\x01"),
    "second fold": ext(tags.TIME, struct.pack("<BBBIB", 0, 0, 0, 0, 2)),
    "offset of a day": moment(86_400_000_000),
    "absurd offset": moment(2**63),
    "offset as bool": moment(True),
    "offset with two names": moment([0, "a", "b"]),
    "zone out of the database": moment("../../../../etc/passwd"),
    "absolute zone": moment("/etc/passwd"),
    "zone with a dot": moment("."),
    "zone of nothing": moment(""),
    "zone with a NUL": moment("UTC\0"),
    "zone that is a directory": moment("Europe"),
    "unknown zone": moment("No/Where"),
    "long zone": moment("a" * 100_000),
    "zone of no zone": ext(tags.TIMEZONE, b""),
    "timedelta out of range": ext(tags.TIMEDELTA, struct.pack("<iII", 2**31 - 1, 0, 0)),
    "Decimal of words": ext(tags.DECIMAL, b"one"),
    "Decimal with spaces": ext(tags.DECIMAL, b" 1 "),
    "Decimal with underscores": ext(tags.DECIMAL, b"1_0"),
    "Decimal of too many digits": ext(tags.DECIMAL, b"1" * 100_000),
    "Decimal with an absurd exponent": ext(tags.DECIMAL, b"1E+999999999999"),
    "Fraction by zero": ext(tags.FRACTION, b"\x01\x00\x01\x00"),
    "Fraction not in lowest terms": ext(tags.FRACTION, b"\x01\x00\x02\x04"),
    "Fraction of nothing": ext(tags.FRACTION, b""),
    "huge Fraction": ext(tags.FRACTION, b"\xff\xff" + b"\x01" * 65_535 + b"\x01" * 65_535),
    "UUID of 15 bytes": ext(tags.UUID, bytes(15)),
    "path of nothing": ext(tags.PATH, b""),
    "path of an unknown kind": ext(tags.PATH, b"\x09a"),
    "Windows path here": ext(tags.PATH, b"\x03a"),
    "path with dots to fold": ext(tags.PATH, b"\x00a/./b"),
    "record of an unknown kind": record(kind="module"),
    "record with a name for two": record(names=["a", "a"], values=[1, 2]),
    "record with a name too few": record(names=["a"], values=[1, 2]),
    "record with a name that is no str": record(names=[1], values=[1]),
    "record with a control character": record(name="A\x1b[2J"),
    "record with a long name": record(name="A" * 300),
    "record of an Enum without value": record(kind="enum", names=["name"], values=["A"]),
    "buffer that is not there": ext(tags.BYTES_BUFFER, b"\x00"),
    "buffer index that is no int": ext(tags.BYTES_BUFFER, b"\xc0"),
    "negative buffer index": ext(tags.BYTEARRAY_BUFFER, b"\xff"),
    "ndarray with objects": ndarray("|O", [1], bytes(8)),
    "ndarray with a short name of objects": ndarray("O", [1], bytes(8)),
    "ndarray of another size": ndarray("<f8", [2], bytes(8)),
    "ndarray of a negative shape": ndarray("<f8", [-1], bytes(8)),
    "ndarray of an overflowing shape": ndarray("<f8", [2**32, 2**32], bytes(8)),
    "ndarray with an absurd zero shape": ndarray("<f8", [0, 2**60, 2**60], b""),
    "ndarray of 33 dimensions": ndarray("|u1", [1] * 33, b"\0"),
    "ndarray of no shape": ndarray("|u1", 1, b"\0"),
    "ndarray with a shape of bools": ndarray("|u1", [True], b"\0"),
    "ndarray in no order": ndarray("|u1", [1], b"\0", "A"),
    "ndarray with a dtype to parse": ndarray("i4,i4", [1], bytes(8)),
    "ndarray with a dtype by name": ndarray("float64", [1], bytes(8)),
    "ndarray with items of no size": ndarray("|V0", [10**9], b""),
    "ndarray with a huge item": ndarray("|S999999999", [1], b""),
    "ndarray with an unknown unit": ndarray("<M8[parsec]", [1], bytes(8)),
    "ndarray with a field outside": ndarray([["a"], ["<f8"], [4], 8], [1], bytes(8)),
    "ndarray with a negative offset": ndarray([["a"], ["<f8"], [-1], 8], [1], bytes(8)),
    "ndarray with fields of one name": ndarray([["a", "a"], ["|u1", "|u1"], [0, 1], 2], [1], bytes(2)),
    "ndarray with objects in a field": ndarray([["a"], ["|O"], [0], 8], [1], bytes(8)),
    "ndarray with a huge subarray": ndarray(["<f8", [2**40]], [1], bytes(8)),
    "ndarray with a bomb of subarrays": ndarray([["<f8", [2**29]], [2**29]], [1], bytes(8)),
    "numpy scalar of another size": ext(tags.NUMPY_SCALAR, array("<f8", ext(tags.BYTES, bytes(4)))),
    "numpy scalar of nothing": ext(tags.NUMPY_SCALAR, array("<f8", ext(tags.BYTES, b""))),
    "index of an unknown kind": ext(tags.INDEX, array("none", None)),
    "index of nothing": ext(tags.INDEX, b"\x90"),
    "RangeIndex beyond int64": ext(tags.INDEX, array("range", None, 0, 2**64 - 1, 1)),
    "Series without an index": ext(tags.SERIES, array(None, [], ["object", [1]], {})),
    "Series longer than its index": ext(tags.SERIES, array(None, frame_of_index(), ["object", [1]], {})),
    "Series of an unknown column": ext(tags.SERIES, array(None, frame_of_index(), ["eval", "1"], {})),
    "DataFrame of more columns": ext(
        tags.DATAFRAME, array(frame_of_index(), frame_of_index(), [["object", []]], {})
    ),
    "categories out of range": ext(
        tags.INDEX,
        array(
            "column", None, array("category", ndarray("|i1", [1], b"\x05"), frame_of_index(), False), False
        ),
    ),
    "Timestamp in an unknown unit": ext(tags.TIMESTAMP, array(0, "D", None)),
    "Timestamp in a zone that is none": ext(tags.TIMESTAMP, array(0, "ns", "UTC; import os")),
    "unknown singleton of pandas": ext(tags.PANDAS_SINGLETON, b"X"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: b"\x91" + data], ids=["alone", "in a list"])
def test_hostile_bytes_are_a_wire_error(data: bytes, wrap: Any) -> None:
    start = time.process_time()
    with pytest.raises(WireError):
        unpack(wrap(data))
    assert (
        time.process_time() - start < 20
    )  # nothing here is worth a second; quadratic work would take minutes


def peak(data: bytes, buffers: Any = (), caps: Caps = DEFAULT_CAPS) -> tuple[int, str]:
    """Return the peak of memory while unpacking, and how it ended."""
    tracemalloc.start()
    try:
        unpack(data, buffers, caps=caps)
        ending = "value"
    except WireError as error:
        ending = type(error).__name__
    finally:
        measured = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return measured, ending


COUNT = 200_000
SMALL = Caps(memory_base=2 * MEGABYTE, memory_per_byte=16)


def many(count: int, item: bytes) -> bytes:
    return tags.array_head(count) + item * count


BOMBS = {
    "empty maps": many(COUNT, b"\x80"),
    "empty arrays": many(COUNT, b"\x90"),
    "small maps": many(COUNT // 4, b"\x81\xa1a\x01"),
    "arrays in arrays": many(COUNT // 4, b"\x91\x91\x91\x90"),
    "negative ints": many(COUNT, b"\xe0"),
    "short texts": many(COUNT, b"\xa2ab"),
    "empty sets": many(COUNT // 3, ext(tags.SET, b"\x90")),
    "empty tuples": many(COUNT // 3, ext(tags.TUPLE, b"\x90")),
    "rows of nothing": ext(tags.TUPLES, many(COUNT, b"\x90")),
    "small Decimals": many(COUNT // 3, ext(tags.DECIMAL, b"1")),
    "paths": many(COUNT // 3, ext(tags.PATH, b"\x00a")),
    "empty DataFrames": many(3_000, ext(tags.DATAFRAME, array(frame_of_index(), frame_of_index(), [], {}))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_its_objects_exist(name: str) -> None:
    measured, ending = peak(BOMBS[name], caps=SMALL)
    assert ending == "WireTooLarge"
    # Twice: what the scan lets pass, and what the tags in it are charged.
    assert measured < 2 * SMALL.allowed(len(BOMBS[name]))


def test_four_megabytes_of_empty_maps_are_refused_at_no_cost_in_memory() -> None:
    bomb = many(4 * MEGABYTE, b"\x80")  # would become 294 MB of objects
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WireTooLarge):
        unpack(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KiB


@pytest.mark.parametrize("value", ["neg", "short", "rows", "floats", "maps", "deep"])
def test_what_is_accepted_takes_no_more_memory_than_the_price_list_says(value: str) -> None:
    made = {
        "neg": lambda: [-30] * 300_000,
        "short": lambda: ["ab"] * 300_000,
        "rows": lambda: [{"a": i, "b": -9, "c": "xy"} for i in range(30_000)],
        "floats": lambda: [i * 1.1 for i in range(100_000)],
        "maps": lambda: [{} for _ in range(70_000)],
        "deep": lambda: [[[[[[[{"a": [i]}]]]]]] for i in range(3_000)],
    }[value]()
    data = pack(made, max_bytes=LIMIT).data
    del made
    # Without a base, so that the price of the items decides: 100 per byte is more than any of these cost.
    caps = Caps(memory_base=0, memory_per_byte=100)
    measured, ending = peak(data, caps=caps)
    assert ending == "value"
    assert measured < scan.coarse(data) + 3 * len(data)


def colliding(count: int) -> list[int]:
    """Return ints of one hash: multiples of the modulus of CPython's hash of numbers."""
    return [i * sys.hash_info.modulus for i in range(1, count + 1)]


@pytest.mark.parametrize("half", [0, 30_000])
def test_items_of_one_hash_are_refused_before_they_meet(half: int) -> None:
    items = [*range(half), *colliding(30_000)]
    tagged = b"".join(encode(i) if i < 2**64 else pack(i, max_bytes=100).data for i in items)
    members = tags.array_head(len(items)) + tagged
    for data in (
        ext(tags.SET, members),
        ext(tags.FROZENSET, members),
        ext(tags.DICT, b"\x92" + members + tags.array_head(len(items)) + b"\x01" * len(items)),
    ):
        with pytest.raises(WireError, match="colliding"):
            unpack(data)


def test_honest_tuples_of_small_negatives_do_not_count_as_colliding() -> None:
    grid = {(a, b, c) for a in range(-20, 20) for b in range(-20, 20) for c in range(-3, 3)}
    assert unpack(pack(grid, max_bytes=LIMIT).data) == grid


def test_a_buffer_may_be_mentioned_once_only_and_none_may_be_left_over() -> None:
    mention = ext(tags.BYTES_BUFFER, b"\x00")
    assert unpack(b"\x91" + mention, [b"data"]) == [b"data"]
    with pytest.raises(WireError, match="is not the next"):
        unpack(b"\x92" + mention + mention, [b"data"])
    with pytest.raises(WireError, match="is not the next"):
        unpack(b"\x92" + ext(tags.BYTES_BUFFER, b"\x01") + mention, [b"a", b"b"])
    with pytest.raises(WireError, match="does not mention"):
        unpack(b"\x91" + mention, [b"a", b"b"])
    with pytest.raises(WireError, match="does not mention"):
        unpack(b"\x01", [b"a"])


def test_a_bytearray_out_of_a_read_only_buffer_is_a_copy() -> None:
    value = unpack(ext(tags.BYTEARRAY_BUFFER, b"\x00"), [b"data"])
    assert value == bytearray(b"data")
    assert type(value) is bytearray


@pytest.mark.parametrize(
    ("caps", "data"),
    [
        (Caps(bytes=10), pack("x" * 20, max_bytes=100).data),
        (Caps(memory=100_000), pack([[i] for i in range(50_000)], max_bytes=LIMIT).data),
        (
            Caps(items=1000, memory_base=0, memory_per_byte=40),
            pack([{} for _ in range(70_000)], max_bytes=LIMIT).data,
        ),
    ],
    ids=["bytes", "memory", "items"],
)
def test_the_caps_of_the_caller_hold(caps: Caps, data: bytes) -> None:
    with pytest.raises(WireTooLarge):
        unpack(data, caps=caps)


def test_values_deeper_than_the_typed_decoder_still_cross() -> None:
    value: Any = {"when": datetime.date(2020, 1, 1), "plain": 1}
    for level in range(45):
        value = {"a": [value, (level,)]}
    assert unpack(pack(value, max_bytes=LIMIT).data) == value


@pytest.mark.parametrize("megabytes", [5, 40])
def test_megabytes_under_many_tags_are_refused_for_the_time_they_take(megabytes: int) -> None:
    value: Any = "x" * (megabytes * MEGABYTE)
    for _ in range(98):
        value = (value,)
    with pytest.raises(WireTooLarge):
        unpack(pack(value, max_bytes=1 << 30).data)


def test_a_megabyte_under_many_tags_still_crosses() -> None:
    value: Any = "x" * MEGABYTE
    for _ in range(98):
        value = (value,)
    assert unpack(pack(value, max_bytes=1 << 30).data) == value


def many_fields(arrays: int, fields: int) -> bytes:
    description = [[f"f{number}" for number in range(fields)], ["|i1"] * fields, list(range(fields)), fields]
    one = ext(tags.NDARRAY, array(description, [0], "C", ext(tags.BYTEARRAY, b"")))
    return tags.array_head(arrays) + one * arrays


def test_dtypes_of_a_million_fields_are_refused_for_the_time_they_take() -> None:
    assert [len(one.dtype) for one in unpack(many_fields(20, 1000))] == [1000] * 20
    with pytest.raises(WireTooLarge):
        unpack(many_fields(5000, 1000))
