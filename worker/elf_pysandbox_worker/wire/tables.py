"""pandas tables, column by column, and its moments.

Decided here and nowhere else: which dtypes of columns cross, and how an index is written. A column is an
array ``[kind, part...]``; nothing in it is a name that pandas would parse. pandas is imported only where the
sender has it already, or where a table came.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

from elf_pysandbox_worker.wire import arrays, tags
from elf_pysandbox_worker.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from elf_pysandbox_worker.wire.arrays import Charge
    from elf_pysandbox_worker.wire.reader import Reader
    from elf_pysandbox_worker.wire.writer import Writer

_MAX_UNORDERED: Final = 10_000
_MAX_UNORDERED_OBJECTS: Final = 1_000
_TEXT: Final = frozenset({str, bytes})
_MAX_STEPS: Final = 64  # months have 4 lengths; a change of clocks doubles them
_RANGE_ITEM: Final = 16  # what pandas makes of an item of a range when it looks for missing and equal ones
_UNITS: Final = ("s", "ms", "us", "ns")
_HINT: Final = "convert it with astype, or {} to_dict() of it"


def pandas() -> Any:
    """Return the pandas module.

    Raises
    ------
    WireError
        It is not installed here.
    """
    try:
        import pandas
    except ImportError:
        raise WireError("the value holds a pandas table, but pandas is not installed here") from None
    return pandas


# -- sending ------------------------------------------------------------------------------------------------


def write(writer: Writer, value: Any) -> bool:
    """Write a DataFrame, Series, Index, Timestamp, Timedelta, NaT or NA; False if it is none of them."""
    pd = pandas()
    kind = type(value)
    if kind is pd.DataFrame:
        writer.enter(value)
        writer.tagged(tags.DATAFRAME, _write_frame, writer, value)
    elif kind is pd.Series:
        writer.enter(value)
        writer.tagged(tags.SERIES, _write_series, writer, value)
    elif isinstance(value, pd.Index):
        _write_index(writer, value)
    elif kind is pd.Timestamp:
        writer.tagged(tags.TIMESTAMP, _write_parts, writer, _moment(value), value.unit, value.tz)
    elif kind is pd.Timedelta:
        writer.tagged(tags.PANDAS_TIMEDELTA, _write_parts, writer, _moment(value), value.unit)
    elif value is pd.NaT or value is pd.NA:
        writer.put(tags.ext(tags.PANDAS_SINGLETON, b"T" if value is pd.NaT else b"A"))
    else:
        return False
    return True


def _moment(value: Any) -> int:
    return int(value.to_numpy().view("i8"))


def _write_parts(writer: Writer, *parts: Any) -> None:
    """Write an array of parts; a `_Later` writes itself."""
    writer.put(tags.array_head(len(parts)))
    for part in parts:
        if type(part) is _Later:
            part.write(*part.args)
        else:
            writer.keep(part)
            writer.write(part)


def _write_frame(writer: Writer, frame: Any) -> None:
    columns, index = _Later(_write_index, writer, frame.columns), _Later(_write_index, writer, frame.index)
    _write_parts(writer, columns, index, _Later(_write_columns, writer, frame), dict(frame.attrs))


def _write_columns(writer: Writer, frame: Any) -> None:
    writer.put(tags.array_head(frame.shape[1]))
    writer.steps.append(0)
    for place, name in enumerate(frame.columns):
        writer.steps[-1] = ("item", name)
        column = frame.iloc[:, place]
        _write_column(writer, column, column.array)
    writer.steps.pop()


def _write_series(writer: Writer, series: Any) -> None:
    index = _Later(_write_index, writer, series.index)
    column = _Later(_write_column, writer, series, series.array)
    _write_parts(writer, series.name, index, column, dict(series.attrs))


def _write_index(writer: Writer, index: Any) -> None:
    writer.tagged(tags.INDEX, _write_index_parts, writer, index)


def _write_index_parts(writer: Writer, index: Any) -> None:
    pd = pandas()
    kind = type(index)
    if kind is pd.RangeIndex:
        _write_parts(writer, "range", index.name, int(index.start), int(index.stop), int(index.step))
    elif kind is pd.MultiIndex:
        if not all(map(_is_orderly, index.levels)):
            raise writer.refuse(
                index, f"has more than {_MAX_UNORDERED} levels out of order", "reset the index"
            )
        levels = [_Later(_write_index, writer, level) for level in index.levels]
        codes = [_data(writer, arrays.numpy().asarray(code)) for code in index.codes]
        both = (_Later(_write_parts, writer, *part) for part in (levels, codes))
        _write_parts(writer, "multi", list(index.names), *both)
    elif kind in (pd.Index, pd.CategoricalIndex, pd.DatetimeIndex, pd.TimedeltaIndex):
        regular = getattr(index, "freq", None) is not None
        column = _Later(_write_column, writer, index, index.array)
        _write_parts(writer, "column", index.name, column, regular)
    else:
        raise writer.refuse(index, f"is a {kind.__name__}, which cannot cross", "reset the index")


class _Later:
    """A part that is written by a function, when its turn comes."""

    __slots__ = ("args", "write")

    def __init__(self, write: Callable[..., None], *args: Any) -> None:
        self.write, self.args = write, args


def _write_column(writer: Writer, owner: Any, array: Any) -> None:
    """Write the column of a Series or Index, whose extension array is `array`."""
    pd = pandas()
    dtype = owner.dtype
    if isinstance(dtype, arrays.numpy().dtype):
        if dtype.hasobject:
            _write_parts(writer, "object", owner.to_numpy().tolist())
        else:
            _write_parts(writer, "numpy", _data(writer, owner.to_numpy()))
    elif isinstance(dtype, pd.StringDtype):
        missing = array.isna()
        texts = [None if gap else text for text, gap in zip(array, missing, strict=True)]
        _write_parts(writer, "str", dtype.na_value is not pd.NA, texts)
    elif isinstance(dtype, pd.DatetimeTZDtype):
        moments = array.tz_convert("UTC").tz_localize(None).to_numpy()
        _write_parts(writer, "zone", _data(writer, moments), dtype.unit, dtype.tz)
    elif isinstance(dtype, pd.CategoricalDtype):
        if not _is_orderly(array.categories):
            raise writer.refuse(
                owner, f"has more than {_MAX_UNORDERED} categories out of order", _HINT.format(writer.give)
            )
        categories = _Later(_write_index, writer, array.categories)
        _write_parts(writer, "category", _data(writer, array.codes), categories, bool(array.ordered))
    elif isinstance(array, pd.arrays.IntegerArray | pd.arrays.FloatingArray | pd.arrays.BooleanArray):
        fill = False if isinstance(array, pd.arrays.BooleanArray) else 0
        data = array.to_numpy(dtype=dtype.numpy_dtype, na_value=fill)
        _write_parts(writer, "masked", _data(writer, data), _data(writer, array.isna()))
    else:
        raise writer.refuse(owner, f"holds dtype {dtype}, which cannot cross", _HINT.format(writer.give))


def _data(writer: Writer, array: Any) -> _Later:
    return _Later(arrays.write_array, writer, _writable(array))


def _writable(array: Any) -> Any:
    """Return a view that says it may be written to, so that the receiver's may: pandas guards its own."""
    view = array.view()
    try:
        view.flags.writeable = True
    except ValueError:
        return array.copy()
    return view


# -- receiving ----------------------------------------------------------------------------------------------


def load(reader: Reader, code: int, payload: memoryview) -> Any:
    """Return what one of pandas' ext items stands for."""
    pd = pandas()
    if code == tags.PANDAS_SINGLETON:
        found = {b"T": pd.NaT, b"A": pd.NA}.get(bytes(payload))
        if found is None:
            raise WireError("no singleton of pandas")
        return found
    return _LOADERS[code](pd, reader.items(payload), reader.charge)


def _load_frame(pd: Any, parts: list[Any], charge: Charge) -> Any:
    columns, index, data, attrs = parts
    if not (isinstance(columns, pd.Index) and isinstance(index, pd.Index)) or type(data) is not list:
        raise WireError("no DataFrame")
    if len(columns) != len(data) or type(attrs) is not dict:
        raise WireError("no DataFrame")
    series = {place: _series(pd, column, index, charge) for place, column in enumerate(data)}
    frame = pd.DataFrame(series, index=index, copy=False)
    frame.columns = columns
    frame.attrs.update(attrs)
    return frame


def _load_series(pd: Any, parts: list[Any], charge: Charge) -> Any:
    name, index, data, attrs = parts
    if not isinstance(index, pd.Index) or type(attrs) is not dict:
        raise WireError("no Series")
    series = _series(pd, data, index, charge)
    series.name = name
    series.attrs.update(attrs)
    return series


def _series(pd: Any, column: Any, index: Any, charge: Charge) -> Any:
    values, dtype = _column(pd, column, charge)
    if len(values) != len(index):
        raise WireError("column of another length than its index")
    return pd.Series(values, index=index, dtype=dtype, copy=False)


def _load_index(pd: Any, parts: list[Any], charge: Charge) -> Any:
    kind, name, *rest = parts
    if kind == "range":
        if tuple(map(type, rest)) != (int, int, int) or max(map(abs, rest)) >= 1 << 63:
            raise WireError("no RangeIndex")
        return pd.RangeIndex(*rest, name=name)
    if kind == "multi":
        levels, codes = rest
        if not all(isinstance(level, pd.Index) for level in levels):
            raise WireError("no MultiIndex")
        for level in levels:
            _check_distinct(level, charge)
        return pd.MultiIndex(levels=levels, codes=[_array(code, 1) for code in codes], names=name)
    column, regular = rest
    values, dtype = _column(pd, column, charge)
    index = pd.Index(values, dtype=dtype, name=name, copy=False)
    if regular is True and len(index) > 2 and _has_few_steps(index):
        index = type(index)(index, freq="infer")
    return index


def _has_few_steps(index: Any) -> bool:
    """Whether the distances of moments are of few kinds: pandas tells them apart by hashes that can be chosen."""
    steps = arrays.numpy().diff(index.asi8)
    return len(arrays.numpy().unique(steps)) <= _MAX_STEPS


def _check_distinct(index: Any, charge: Charge) -> None:
    """Refuse an index that pandas may need hours, or all memory, to find distinct."""
    if not _is_orderly(index):
        raise WireError("categories out of order")
    if type(index) is pandas().RangeIndex:
        charge(_RANGE_ITEM * len(index))


def _is_orderly(index: Any) -> bool:
    """Whether an index is short, of text, or in order: pandas' hashes of anything but text can be chosen."""
    if getattr(index.dtype, "kind", "O") != "O":
        return len(index) <= _MAX_UNORDERED or bool(index.is_monotonic_increasing)
    if len(index) <= _MAX_UNORDERED_OBJECTS or index.dtype != object or set(map(type, index)) <= _TEXT:
        return True
    return bool(index.is_monotonic_increasing)


def _array(value: Any, dimensions: int) -> Any:
    if type(value) is not arrays.numpy().ndarray or value.ndim != dimensions:
        raise WireError("no array of one dimension")
    return value


def _column(pd: Any, column: Any, charge: Charge) -> tuple[Any, Any]:
    """Return the values and dtype of a column."""
    if type(column) is not list or not column or type(column[0]) is not str or column[0] not in _COLUMNS:
        raise WireError("no column")
    found: tuple[Any, Any] = _COLUMNS[column[0]](pd, charge, *column[1:])
    return found


def _numpy_column(pd: Any, charge: Charge, data: Any) -> tuple[Any, Any]:
    return _array(data, 1), data.dtype


def _object_column(pd: Any, charge: Charge, items: Any) -> tuple[Any, Any]:
    if type(items) is not list:
        raise WireError("no column of objects")
    return arrays.numpy().fromiter(items, dtype=object, count=len(items)), object


def _text_column(pd: Any, charge: Charge, nan: Any, texts: Any) -> tuple[Any, Any]:
    if type(texts) is not list or not set(map(type, texts)) <= {str, type(None)} or type(nan) is not bool:
        raise WireError("no column of text")
    dtype = pd.StringDtype(na_value=arrays.numpy().nan) if nan else pd.StringDtype()
    return pd.array(texts, dtype=dtype), dtype


def _zone_column(pd: Any, charge: Charge, moments: Any, unit: Any, zone: Any) -> tuple[Any, Any]:
    if unit not in _UNITS or _array(moments, 1).dtype != f"M8[{unit}]":
        raise WireError("no column of moments")
    array = pd.DatetimeIndex(moments, tz="UTC").as_unit(unit).tz_convert(_zone(zone)).array
    return array, array.dtype


def _zone(zone: Any) -> datetime.tzinfo:
    # pandas takes names as well, and opens the file that "dateutil/" and a path name.
    if not isinstance(zone, datetime.tzinfo):
        raise WireError("no time zone")
    return zone


def _category_column(pd: Any, charge: Charge, codes: Any, categories: Any, ordered: Any) -> tuple[Any, Any]:
    if (
        not isinstance(categories, pd.Index)
        or type(ordered) is not bool
        or _array(codes, 1).dtype.kind != "i"
    ):
        raise WireError("no column of categories")
    _check_distinct(categories, charge)
    dtype = pd.CategoricalDtype(categories, ordered)
    return pd.Categorical.from_codes(codes, dtype=dtype), dtype


def _masked_column(pd: Any, charge: Charge, data: Any, mask: Any) -> tuple[Any, Any]:
    if _array(mask, 1).dtype != bool or _array(data, 1).shape != mask.shape:
        raise WireError("no masked column")
    kinds = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}
    array = kinds.get(data.dtype.kind, pd.arrays.IntegerArray)(data, mask)
    return array, array.dtype


def _load_timestamp(pd: Any, parts: list[Any], charge: Charge) -> Any:
    value, unit, zone = parts
    if type(value) is not int or unit not in _UNITS:
        raise WireError("no Timestamp")
    moment = pd.Timestamp(arrays.numpy().datetime64(value, unit))
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(_zone(zone))


def _load_timedelta(pd: Any, parts: list[Any], charge: Charge) -> Any:
    value, unit = parts
    if type(value) is not int or unit not in _UNITS:
        raise WireError("no Timedelta")
    return pd.Timedelta(arrays.numpy().timedelta64(value, unit))


_COLUMNS: Final[dict[str, Callable[..., tuple[Any, Any]]]] = {
    "numpy": _numpy_column,
    "object": _object_column,
    "str": _text_column,
    "category": _category_column,
    "zone": _zone_column,
    "masked": _masked_column,
}
_LOADERS: Final[dict[int, Callable[[Any, list[Any], Charge], Any]]] = {
    tags.DATAFRAME: _load_frame,
    tags.SERIES: _load_series,
    tags.INDEX: _load_index,
    tags.TIMESTAMP: _load_timestamp,
    tags.PANDAS_TIMEDELTA: _load_timedelta,
}
