"""numpy arrays and scalars: to a description with raw data, and back over the received memory.

Decided here and nowhere else: which dtypes cross, and how a dtype is written. A received dtype is never
handed to `numpy.dtype` as text: its parts are matched against a closed grammar first. An array received out
of band is a view of the buffer it came in (one allocation, no copy), writable if the sender's was.

numpy is imported only where the sender has it already, or where an array came.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from elf_pysandbox_worker.wire import tags
from elf_pysandbox_worker.wire.errors import WireError

if TYPE_CHECKING:
    from elf_pysandbox_worker.wire.reader import Reader
    from elf_pysandbox_worker.wire.writer import Writer

_UNIT: Final = r"\[[1-9]?[0-9]{0,8}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]"
_SIMPLE: Final = re.compile(
    r"[<>|](?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|[SUV][1-9][0-9]{0,8}|[mM]8" + _UNIT + r")\Z"
)
_MAX_FIELDS: Final = 1024
_MAX_NESTING: Final = 8
_MAX_DIMENSIONS: Final = 32
_MAX_ITEM: Final = 1 << 30
_FIELD, _SUBARRAY = 2_000, 5_000  # price in `Reader.charge`: stands for the time as well

Charge = Callable[[int], None]

Description = Any
"""A str of the grammar; [names, descriptions, offsets, item size]; or [description, shape] of a subarray."""


def numpy() -> Any:
    """Return the numpy module.

    Raises
    ------
    WireError
        It is not installed here.
    """
    try:
        import numpy
    except ImportError:
        raise WireError("the value holds a numpy array, but numpy is not installed here") from None
    return numpy


def _free(price: int) -> None:
    pass


# -- dtypes -------------------------------------------------------------------------------------------------


def describe(dtype: Any) -> Description | None:
    """Return the description of a dtype, or None if it cannot cross (objects, or a foreign type)."""
    description = _describe(dtype)
    if description is None:
        return None
    try:
        same = bool(build(description, _free) == dtype)
    except (WireError, TypeError, ValueError):
        return None
    return description if same else None


def _describe(dtype: Any) -> Description | None:
    if dtype.hasobject or dtype.itemsize == 0:
        return None
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        inner = _describe(base)
        return None if inner is None else [inner, list(shape)]
    if dtype.names is None:
        return dtype.str
    inners = [_describe(dtype.fields[name][0]) for name in dtype.names]
    offsets = [dtype.fields[name][1] for name in dtype.names]
    return None if None in inners else [list(dtype.names), inners, offsets, dtype.itemsize]


def build(description: Description, charge: Charge, nesting: int = 0) -> Any:
    """Return the dtype of a description that may be hostile.

    Parameters
    ----------
    description : str or list
    charge : callable
        Told what each field and subarray costs: making them takes microseconds, however little is in the array.
    nesting : int

    Raises
    ------
    WireError
    """
    if type(description) is str:
        if not _SIMPLE.match(description):
            raise WireError("no dtype")
        return numpy().dtype(description)
    if type(description) is not list or nesting >= _MAX_NESTING:
        raise WireError("no dtype")
    if len(description) == 2:
        charge(_SUBARRAY)
        inner, shape = description
        sizes = _shape(shape, _MAX_ITEM)
        if 0 in sizes:
            raise WireError("no dtype")  # of no bytes, and yet of a thousand million empty lists
        return numpy().dtype((build(inner, charge, nesting + 1), sizes))
    return _build_fields(description, charge, nesting)


def _build_fields(description: list[Any], charge: Charge, nesting: int) -> Any:
    if tuple(map(type, description)) != (list, list, list, int):
        raise WireError("no dtype")
    names, inners, offsets, size = description
    if len(names) > _MAX_FIELDS or not len(names) == len(inners) == len(offsets) or not 0 < size <= _MAX_ITEM:
        raise WireError("no dtype")
    if not (set(map(type, names)) <= {str} and set(map(type, offsets)) <= {int}):
        raise WireError("no dtype")
    charge(_FIELD * len(names))
    formats = [build(inner, charge, nesting + 1) for inner in inners]
    if any(
        offset < 0 or offset + kind.itemsize > size for offset, kind in zip(offsets, formats, strict=True)
    ):
        raise WireError("dtype with a field outside the item")
    return numpy().dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _shape(shape: Any, most: int) -> tuple[int, ...]:
    """Return a shape of at most `most` elements; also where a dimension is 0, none may be absurd."""
    if type(shape) is not list or len(shape) > _MAX_DIMENSIONS or not set(map(type, shape)) <= {int}:
        raise WireError("no shape")
    if any(size < 0 for size in shape) or math.prod(size or 1 for size in shape) > most:
        raise WireError("shape out of bounds")
    return tuple(shape)


# -- sending ------------------------------------------------------------------------------------------------


def write(writer: Writer, value: Any) -> bool:
    """Write an ndarray or a numpy scalar; False if it is neither."""
    np = numpy()
    if type(value) is np.ndarray:
        writer.enter(value)
        write_array(writer, value)
        return True
    if not isinstance(value, np.generic) or type(value) is np.object_:
        return False
    description = describe(value.dtype)
    if description is None and value.dtype.itemsize:
        reason = f"is a numpy scalar of dtype {value.dtype}, which cannot cross"
        raise writer.refuse(value, reason, _unit(value.dtype))
    # The empty np.str_ and np.bytes_ have no dtype of their own on the wire.
    head = tags.encode(value.dtype.char if description is None else description)
    data = b"" if description is None else value.tobytes()
    writer.need(len(data))
    writer.put(tags.ext(tags.NUMPY_SCALAR, b"\x92" + head + tags.ext(tags.BYTES, data)))
    return True


def _unit(dtype: Any) -> str:
    """Say how a date or duration that says nothing of its unit gets one."""
    return (
        f"give it a unit: astype('{dtype.name}[ns]')" if dtype.name in ("datetime64", "timedelta64") else ""
    )


def write_array(writer: Writer, array: Any) -> None:
    """Write an ndarray that is not to be noted as met (a temporary, or a part of a table)."""
    description = describe(array.dtype)
    if description is None:
        hint = f"{writer.give} tolist() of it, or convert it with astype" if array.dtype.hasobject else ""
        hint = hint or _unit(array.dtype)
        raise writer.refuse(array, f"is an array of dtype {array.dtype}, which cannot cross", hint)
    if array.ndim > _MAX_DIMENSIONS:
        raise writer.refuse(array, f"has more than {_MAX_DIMENSIONS} dimensions")
    writer.need(array.nbytes)  # before the copy below: a broadcast array may be far larger than its memory
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    flat = numpy().ascontiguousarray(array.T if order == "F" else array).reshape(-1)
    data = memoryview(flat.view("u1") if flat.size else bytearray())
    if not array.flags.writeable:
        data = data.toreadonly()
    writer.tagged(tags.NDARRAY, _write_array, writer, [description, list(array.shape), order], data)


def _write_array(writer: Writer, head: list[Any], data: memoryview) -> None:
    writer.put(b"\x94" + b"".join(map(tags.encode, head)))
    if data.readonly:
        writer.write_bytes(data, tags.BYTES, tags.BYTES_BUFFER)
    else:
        writer.write_bytes(data, tags.BYTEARRAY, tags.BYTEARRAY_BUFFER)


# -- receiving ----------------------------------------------------------------------------------------------


def load(reader: Reader, payload: memoryview) -> Any:
    """Return the array of a payload, over the memory its data came in."""
    head = reader.items(payload)
    if len(head) != 4 or type(head[2]) is not str or type(head[3]) not in (bytes, bytearray):
        raise WireError("no array")
    description, shape, order, data = head
    if order not in ("C", "F"):
        raise WireError("no array")
    np = numpy()
    dtype = build(description, reader.charge)
    sizes = _shape(shape, 1 << 48)
    if math.prod(sizes) * dtype.itemsize != len(data):
        raise WireError(f"array of shape {sizes} and dtype {dtype} with {len(data)} bytes")
    if len(data):
        return np.frombuffer(data, dtype).reshape(sizes, order=order)
    array = np.empty(sizes, dtype, order)
    array.flags.writeable = type(data) is bytearray
    return array


def load_scalar(reader: Reader, payload: memoryview) -> Any:
    """Return the numpy scalar of a payload."""
    head = reader.items(payload)
    if len(head) != 2 or type(head[1]) is not bytes:
        raise WireError("no numpy scalar")
    description, data = head
    np = numpy()
    if not data:
        if description not in ("S", "U"):
            raise WireError("no numpy scalar")
        return np.str_() if description == "U" else np.bytes_()
    dtype = build(description, reader.charge)
    if dtype.itemsize != len(data) or dtype.subdtype is not None:
        raise WireError("no numpy scalar")
    return np.frombuffer(data, dtype)[0]
