"""pandas tables cross by columns, with their dtypes, indexes and names."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elf_pysandbox_worker.wire import tables, tags
from elf_pysandbox_worker.wire.values import UnsupportedValue, WireError, pack, unpack
from tests.wire.support import LIMIT, round_trip

COUNT = 10_000  # columns of 8 bytes an item lie out of band


def table() -> pd.DataFrame:
    half = COUNT // 2
    frame = pd.DataFrame(
        {
            "int": range(COUNT),
            "float": np.linspace(0, 1, COUNT),
            "text": [f"x{i}" for i in range(COUNT)],
            "gaps": ["a", None] * half,
            "moment": pd.date_range("2020", periods=COUNT, freq="h"),
            "zone": pd.date_range("2020", periods=COUNT, freq="h", tz="Europe/Berlin"),
            "offset": pd.date_range("2020", periods=COUNT, tz=datetime.timezone(datetime.timedelta(hours=2))),
            "category": pd.Categorical(["a", "b"] * half, categories=["b", "a"], ordered=True),
            "masked": pd.array([1, None] * half, dtype="Int16"),
            "maybe": pd.array([True, None] * half, dtype="boolean"),
            "real": pd.array([1.5, None] * half, dtype="Float64"),
            "string": pd.array(["a", None] * half, dtype="string"),
            "object": [(1, 2), {"k": None}] * half,
            "span": pd.to_timedelta(range(COUNT), unit="s"),
        }
    )
    frame["object"] = [(i, {"k": [i]}) for i in range(COUNT)]
    frame.attrs["source"] = "here"
    return frame


def test_a_frame_of_every_kind_of_column_comes_out_equal_and_writable() -> None:
    frame = table()
    copy = round_trip(frame)
    pd.testing.assert_frame_equal(copy, frame)
    assert copy.attrs == frame.attrs
    copy.iloc[0, 0] = -1
    copy.loc[1, "float"] = 9.0
    assert frame.iloc[0, 0] == 0


FRAMES = {
    "index of moments": lambda: table().head(50).set_index("moment"),
    "index of text": lambda: table().head(50).set_index("text"),
    "two levels": lambda: table().head(50).set_index(["text", "int"]),
    "columns of two levels": lambda: pd.DataFrame(
        [[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    ),
    "grouped": lambda: table().groupby("category", observed=True).agg({"int": "sum"}),
    "nothing": pd.DataFrame,
    "no columns": lambda: pd.DataFrame(index=[1, 2]),
    "no rows": lambda: table().head(0),
    "matrix": lambda: pd.DataFrame(np.arange(12).reshape(3, 4)),
    "two columns of one name": lambda: pd.DataFrame([[1, "x"]], columns=["a", "a"]),
    "names of any type": lambda: pd.DataFrame({1: ["a"], (1, 2): ["b"], None: [3]}),
    "described": lambda: table().head(50).describe(include="all"),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_frames_of_every_shape_come_out_equal(make: Any) -> None:
    frame = make()
    pd.testing.assert_frame_equal(round_trip([frame])[0], frame)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.Series([1, 2], name=("a", 1)),
        lambda: pd.Series(dtype=object),
        lambda: pd.Series(["a"], index=["x"]),
        lambda: table()["zone"],
    ],
)
def test_series_come_out_equal(make: Any) -> None:
    pd.testing.assert_series_equal(round_trip(make()), make())


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(2, 20, 3, name="r"),
        pd.Index(["a", None]),
        pd.Index([1.5, 2.5], name=0),
        pd.Index([(1, "a"), 2], tupleize_cols=False),
        pd.date_range("2020", periods=5, freq="D", name="d"),
        pd.timedelta_range("1h", periods=4, freq="h"),
        pd.CategoricalIndex(["a", "b", "a"]),
        pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["x", None]),
    ],
    ids=lambda index: type(index).__name__,
)
def test_indexes_come_out_equal(index: Any) -> None:
    copy = round_trip(index)
    pd.testing.assert_index_equal(copy, index, exact=True)
    assert getattr(copy, "freq", None) == getattr(index, "freq", None)


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2020-01-01 00:00:00.123456789"),
        pd.Timestamp("2020-10-25 02:30", tz="UTC").tz_convert("Europe/Berlin"),
        pd.Timestamp("2020-01-01").as_unit("s"),
        pd.Timedelta("-1D"),
        pd.NaT,
        pd.NA,
    ],
    ids=str,
)
def test_moments_and_missing_values_of_pandas_keep_their_type(value: Any) -> None:
    copy = round_trip({"x": [value]})["x"][0]
    assert type(copy) is type(value)
    assert copy is value or (copy == value and copy.unit == value.unit)


class Named(pd.DataFrame):
    """A subclass, as geopandas makes them."""


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (lambda: pd.DataFrame({"p": pd.period_range("2020", periods=2, freq="D")}), "result['p']"),
        (lambda: pd.DataFrame({"a": [1], "x": [object()]}), "result['x'][0]"),
        (lambda: pd.DataFrame({"x": pd.arrays.SparseArray([1])}), "result['x']"),
        (lambda: pd.Series([1], name=len), "result"),
        (lambda: Named({"a": [1]}), "result"),
        (lambda: pd.interval_range(0, 2), "result"),
    ],
    ids=["periods", "objects", "sparse", "name", "subclass", "intervals"],
)
def test_what_would_be_lost_is_refused_by_column(value: Any, path: str) -> None:
    with pytest.raises(UnsupportedValue) as caught:
        pack(value(), max_bytes=LIMIT)
    assert caught.value.path.startswith(path)


@pytest.mark.parametrize("kind", ["moment", "column"])
def test_a_zone_that_is_a_name_is_refused_since_pandas_would_open_the_file_it_names(
    kind: str, tmp_path: Path
) -> None:
    named = tmp_path / "zone"
    named.write_bytes(b"none")
    name = f"dateutil/{named}"

    def load(zone: Any) -> Any:
        if kind == "moment":
            return unpack(tags.ext(tags.TIMESTAMP, b"\x93" + tags.encode(0) + tags.encode("ns") + zone))
        zone = unpack(zone)
        return tables._zone_column(pd, int, np.zeros(1, "M8[ns]"), "ns", zone)[0][0]

    assert load(tags.ext(tags.TIMEZONE, tags.encode("Europe/Berlin"))).year == 1970
    with pytest.raises(ValueError, match="magic"):
        pd.Timestamp(0, tz="UTC").tz_convert(name)  # the control: pandas opens it
    with pytest.raises(WireError, match="no time zone"):
        load(tags.encode(name))


def part(*parts: bytes) -> bytes:
    return tags.array_head(len(parts)) + b"".join(parts)


def data(value: Any) -> bytes:
    return pack(value, max_bytes=LIMIT).data


def by_level(level: bytes) -> bytes:
    """Return a MultiIndex of one level."""
    codes = data(np.zeros(1, "i8"))
    return tags.ext(tags.INDEX, part(data("multi"), part(data(None)), part(level), part(codes)))


def by_category(level: bytes) -> bytes:
    """Return an index of a category."""
    column = part(data("category"), data(np.zeros(1, "i1")), level, data(False))
    return tags.ext(tags.INDEX, part(data("column"), data(None), column, data(False)))


@pytest.mark.parametrize("index", [by_level, by_category])
def test_a_range_that_pandas_would_write_out_is_charged_for_as_what_it_becomes(index: Any) -> None:
    assert list(unpack(index(data(pd.RangeIndex(5, 1_000_000))))) in ([(5,)], [5])
    for many in (10**8, 10**15):
        with pytest.raises(WireError, match="more objects"):
            unpack(index(data(pd.RangeIndex(many))))


@pytest.mark.parametrize("index", [by_level, by_category])
def test_objects_as_categories_are_few_or_in_order_since_their_hashes_can_be_chosen(index: Any) -> None:
    def level(items: list[Any]) -> bytes:
        column = part(data("object"), data(items))
        return tags.ext(tags.INDEX, part(data("column"), data(None), column, data(False)))

    honest = [*range(3000)]
    assert unpack(index(level(honest)))[0] in (0, (0,))
    assert unpack(index(level([str(i) for i in reversed(honest)])))[0] in ("2999", ("2999",))
    # pandas looks at the upper half of a hash xor the lower: of these that is the same, and the hash is not.
    alike = [(i << 32) | (i ^ 1234) for i in reversed(honest)]
    assert len(set(map(hash, alike))) == len(alike)
    with pytest.raises(WireError, match="out of order"):
        unpack(index(level(alike)))


def test_only_moments_of_few_distances_are_looked_through_for_their_frequency() -> None:
    def regular(moments: Any) -> Any:
        column = part(data("numpy"), pack(moments, max_bytes=LIMIT).data)
        return unpack(tags.ext(tags.INDEX, part(data("column"), data(None), column, data(True))))

    count = tags.OUT_OF_BAND // 16
    for dtype in ("m8[ns]", "M8[ns]"):
        assert regular((np.arange(count) * 1000).astype(dtype)).freq == pd.offsets.Micro()
        # Each distance is another: pandas would have a hash table of them made, whose hashes can be chosen.
        growing = np.cumsum(np.arange(count)).astype(dtype)
        assert regular(growing).freq is None
        assert not tables._has_few_steps(pd.Index(growing))
        assert tables._has_few_steps(pd.Index(growing[:10]))
