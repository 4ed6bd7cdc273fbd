"""numpy arrays cross without copies, with dtype, shape, order and the right to be written to."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elf_pysandbox_worker.wire import tags
from elf_pysandbox_worker.wire.values import UnsupportedValue, ValueTooLarge, WireError, pack, unpack
from tests.wire.support import LIMIT, received, round_trip

RECORDS = np.dtype([("a", "<i4"), ("b", ">f8", (2, 3)), ("c", [("x", "S3"), ("t", "<M8[ms]")])])
ARRAYS = {
    "floats": np.linspace(-1, 1, 50).reshape(5, 10),
    "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "no dimension": np.array(3.5),
    "empty": np.zeros((0, 3), "f4"),
    "other byte order": np.arange(5, dtype=">i4"),
    "strided": np.arange(100)[::-3],
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "bools": np.array([True, False]),
    "half": np.array([1.5], "f2"),
    "long double": np.array([1.5], "g"),
    "complex": np.array([1 + 2j, np.nan], "c16"),
    "text": np.array(["", "abc", "é"]),
    "bytes": np.array([b"", b"ab"]),
    "void": np.zeros(2, "V5"),
    "moments": np.array(["2020-01-01", "NaT"], "M8[s]"),
    "spans": np.array([1, 2], "m8[25us]"),
    "structured": np.zeros(3, RECORDS),
    "padded": np.zeros(3, np.dtype([("a", "u1"), ("b", "f8")], align=True)),
    "large": np.arange(20_000.0),
    "large fortran": np.asfortranarray(np.arange(20_000.0).reshape(100, 200)),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_comes_out_with_its_dtype_shape_and_data(array: Any) -> None:
    copy = round_trip({"a": [array]})["a"][0]
    assert type(copy) is np.ndarray
    assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
    assert copy.tobytes() == array.tobytes()
    assert copy.flags.writeable
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        assert copy.flags.f_contiguous


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_read_only_array_arrives_read_only(size: int) -> None:
    array = np.arange(size)
    array.flags.writeable = False
    assert not round_trip(array).flags.writeable


def test_a_large_array_is_neither_copied_by_the_sender_nor_by_the_receiver() -> None:
    array = np.arange(1_250_000.0)
    tracemalloc.start()
    packed = pack(array, max_bytes=LIMIT)
    sent = tracemalloc.get_traced_memory()[1]
    data, buffers = received(packed)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    copy = unpack(data, buffers)
    taken = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert np.shares_memory(np.frombuffer(packed.buffers[0], "f8"), array)
    assert np.shares_memory(np.frombuffer(buffers[0], "f8"), copy)
    assert max(sent, taken) < 100_000
    copy[0] = 5


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(-0.0),
        np.float32(1.5),
        np.int8(-3),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.complex64(1j),
        np.str_("é"),
        np.str_(""),
        np.bytes_(b"ab"),
        np.bytes_(b""),
        np.datetime64("2020-01-01T00:00", "m"),
        np.timedelta64("NaT", "s"),
        np.zeros(1, RECORDS)[0],
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_a_numpy_scalar_keeps_its_type(scalar: Any) -> None:
    copy = round_trip([scalar])[0]
    assert type(copy) is type(scalar)
    assert copy.dtype == scalar.dtype
    assert copy.tobytes() == scalar.tobytes()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([object()]), "dtype object"),
        (np.array([(1, None)], [("a", "i4"), ("b", "O")]), "dtype"),
        (np.zeros(3, "V0"), "dtype"),
        (np.ma.masked_array([1], [True]), "cannot cross"),
        (np.zeros(1).view(np.recarray), "cannot cross"),
    ],
    ids=["objects", "objects in fields", "no size", "masked", "recarray"],
)
def test_an_array_that_would_lose_something_is_refused(array: Any, reason: str) -> None:
    with pytest.raises(UnsupportedValue, match=reason) as caught:
        pack({"x": [array]}, max_bytes=LIMIT)
    assert caught.value.path == "result['x'][0]"


@pytest.mark.filterwarnings("ignore:The 'generic' unit:DeprecationWarning")  # of numpy's, in newer releases
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.datetime64("NaT"),
        lambda: np.timedelta64(5),
        lambda: np.zeros(1, "M8"),
        lambda: np.zeros(1, "m8"),
    ],
    ids=["date", "duration", "dates", "durations"],
)
def test_what_has_no_unit_of_time_is_refused_with_how_to_give_it_one(make: Any) -> None:
    value = make()
    with pytest.raises(UnsupportedValue) as caught:
        pack(value, max_bytes=LIMIT)
    with_unit = value.astype(f"{value.dtype.name}[ns]")
    assert caught.value.hint == f"give it a unit: astype('{value.dtype.name}[ns]')"
    assert round_trip([with_unit])[0].dtype == with_unit.dtype


def test_an_array_met_twice_is_refused() -> None:
    array = np.zeros(3)
    with pytest.raises(UnsupportedValue, match=r"is the same ndarray as result\[0\]"):
        pack([array, array], max_bytes=LIMIT)


def test_a_broadcast_array_is_refused_by_its_size_before_it_is_copied() -> None:
    array = np.broadcast_to(np.zeros(1), (10**6, 10**6))
    with pytest.raises(ValueTooLarge):
        pack(array, max_bytes=LIMIT)


def test_a_small_array_travels_in_the_payload() -> None:
    assert not pack(np.zeros(tags.OUT_OF_BAND // 8 - 1), max_bytes=LIMIT).buffers


def test_where_numpy_is_not_installed_the_error_says_so() -> None:
    data = pack(np.zeros(3), max_bytes=LIMIT).data
    code = (
        "import sys; sys.path[:0] = ['worker']; sys.modules['numpy'] = None\n"
        "from elf_pysandbox_worker.wire.values import WireError, unpack\n"
        "try:\n"
        f"    unpack({data!r})\n"
        "except WireError as error:\n"
        "    assert 'numpy is not installed' in str(error), error\n"
        "else:\n"
        "    raise SystemExit('no error')\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)


def test_a_part_of_no_bytes_and_many_places_is_no_dtype() -> None:
    def of_places(count: int) -> bytes:
        dtype = [["a", "b"], ["<i4", ["<i4", [count, 2]]], [0, 4], 4 + 8 * max(count, 1)]
        items = tags.encode(dtype), tags.encode([1]), tags.encode("C")
        content = tags.ext(tags.BYTES, bytes(4 + 8 * max(count, 1)))
        return tags.ext(tags.NDARRAY, b"\x94" + b"".join(items) + content)

    assert unpack(of_places(3))["b"].shape == (1, 3, 2)
    with pytest.raises(WireError, match="no dtype"):
        unpack(of_places(0))
