"""Hostile bytes to a value: checked in C by type before anything is built from a tag.

Decided here and nowhere else: the order of the checks, and what each tag becomes. A message goes through

1. a bound on the objects it would become (`scan`; nothing to do up to 64 KiB),
2. a typed decode that admits only nil, bool, int, float, str, array, map with str keys and ext items, in five
   levels (deeper ones are walked one by one first),
3. a comparison of lengths with its encoding, which finds keys given twice and every other spelling but ours,
4. if there are ext items: a second decode, whose hook makes their values, each payload by these same steps.

No tag names a class: what the sender has as an instance comes out as a `Record`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec.msgpack import Decoder, Ext

from elf_pysandbox_worker.wire import scan, tags
from elf_pysandbox_worker.wire.errors import WireError, WireTooLarge
from elf_pysandbox_worker.wire.hashing import Hashing
from elf_pysandbox_worker.wire.leaves import LOAD
from elf_pysandbox_worker.wire.record import KINDS, MAX_NAME, Record
from elf_pysandbox_worker.wire.scan import Caps
from elf_pysandbox_worker.wire.tags import encode

_T = TypeVar("_T")
Rebuild = Callable[[Record], object]

_TYPED_LEVELS: Final = 5
_CHEAP_LEVELS: Final = 8 * _TYPED_LEVELS


def _typed(leaf: Any, levels: int) -> Any:
    """Return the type of values with at most so many levels; its hash and its decoder cost 2**levels, so not 100."""
    kind = leaf
    for _ in range(levels):
        kind = leaf | types.GenericAlias(list, kind) | types.GenericAlias(dict, (str, kind))
    return kind


_LEAF: Final = None | bool | int | float | str
decode_plain: Final = Decoder(_typed(_LEAF, _TYPED_LEVELS)).decode
# It has two of these types in it, so one level less; arguments with more levels take the general way.
_ARGUMENT: Final = _typed(_LEAF, _TYPED_LEVELS - 1)
decode_call: Final = Decoder(tuple[list[_ARGUMENT], dict[str, _ARGUMENT]]).decode  # type: ignore[valid-type]
_decode_rows: Final = Decoder(list[list[bool | int | float | str | None]]).decode

# What an object costs beyond what `scan` counts for the bytes of its ext item.
_PRICE: Final = {
    tags.NDARRAY: 1_000,
    tags.SET: 220,
    tags.FROZENSET: 220,
    tags.DICT: 240,
    tags.RECORD: 450,
    tags.RANGE: 150,
    tags.DECIMAL: 100,
    tags.FRACTION: 150,
    tags.UUID: 150,
    tags.PATH: 300,
    # Those of pandas stand for the time as well: a tenth of a millisecond to make one.
    tags.DATAFRAME: 100_000,
    tags.SERIES: 50_000,
    tags.INDEX: 25_000,
}
_ROW: Final = 64  # of a tuple beside the list it is made of
_ELEMENT: Final = 80  # of a set or dict: its table, when it has just grown


@cache
def shapes() -> Callable[[bytes | memoryview], object]:
    """Return the decoder of step 2 for values that have ext items; not made before a program's first call has ended."""
    return Decoder(_typed(_LEAF | Ext, _TYPED_LEVELS)).decode


class Reader:
    """Makes one value of a message and its buffers.

    Parameters
    ----------
    buffers : sequence of bytes or bytearray
        The out-of-band buffers, each used exactly once, in their order.
    caps : Caps
    rebuild : callable, optional
        Makes the object of a `Record` (on the side that has the classes); else records stay.
    """

    def __init__(self, buffers: Sequence[bytes | bytearray], caps: Caps, rebuild: Rebuild | None) -> None:
        self._buffers, self._caps, self._rebuild = buffers, caps, rebuild
        self._used = 0
        self._memory = 0
        self._hashing = Hashing()
        self._depth = 0  # an upper bound of the levels around the payload under way
        self._deep = False
        self._counted = False  # whether all payloads together are known to be small enough
        self._decode_any = Decoder(Any, ext_hook=self._load).decode

    def read(self, data: bytes | memoryview) -> Any:
        """Return the value of a whole message; the only one of this reader."""
        self._counted = scan.harmless(data, self._caps)
        self._memory = self._caps.allowed(len(data) + sum(map(len, self._buffers)))
        try:
            value = self.value(data)
        finally:
            # It refers back here: the buffers must not wait for the garbage collector.
            del self._decode_any
        if self._used != len(self._buffers):
            raise WireError(f"{len(self._buffers) - self._used} buffers that the value does not mention")
        if self._deep:
            _check_depth(value)
        return value

    def value(self, data: bytes | memoryview) -> Any:
        """Return the value of a payload."""
        self._count(data)
        try:
            value = decode_plain(data)
        except msgspec.ValidationError:
            return self._tagged_value(data)
        if len(encode(value)) != len(data):
            raise WireError("key given twice, or a spelling that is not the shortest")
        return value

    def _count(self, data: bytes | memoryview) -> None:
        """Charge for the objects of a payload, unless the bound on the whole message has done so."""
        if not self._counted:
            self.charge(scan.measure(data, self._memory, self._caps)[1])

    def charge(self, count: int) -> None:
        """Count `count` bytes of objects against the cap; before they are made."""
        self._memory -= count
        if self._memory < 0:
            raise WireTooLarge("value would become more objects than its size allows")

    def buffer(self, index: object) -> bytes | bytearray:
        """Return the out-of-band buffer with this index, which must be the next one."""
        if type(index) is not int or index != self._used or index >= len(self._buffers):
            raise WireError(f"buffer {index!r} is not the next of {len(self._buffers)}")
        self._used += 1
        return self._buffers[index]

    def _tagged_value(self, data: bytes | memoryview) -> Any:
        levels = _TYPED_LEVELS
        try:
            shape = shapes()(data)
        except msgspec.ValidationError:
            # Too deep for the typed decoder, or hostile: find out which before anything is built.
            levels, _ = scan.measure(data, self._caps.memory, self._caps)
            shape = _decode_raw(data)
        if len(encode(shape)) != len(data):
            raise WireError("key given twice, or a spelling that is not the shortest")
        del shape
        self._depth += levels
        if self._depth > _CHEAP_LEVELS:
            # Each payload inside another is decoded again: the time of it is charged, as memory is.
            self.charge(len(data))
        if self._depth > tags.MAX_DEPTH:
            self._deep = True
        if self._depth > _TYPED_LEVELS * (tags.MAX_DEPTH + 2):
            raise _too_deep()
        value = self._decode_any(data)
        self._depth -= levels
        return value

    def _load(self, code: int, data: memoryview) -> Any:
        """Make the value of one ext item."""
        price = _PRICE.get(code)
        if price is not None:
            self.charge(price)
        leaf = LOAD.get(code)
        if leaf is not None:
            return leaf(data)
        load = _TAGGED.get(code)
        if load is not None:
            return load(self, data)
        if code in _TABLES:
            return self._load_table(code, data)
        raise WireError(f"no kind of value has code {code}")

    def parts(self, data: memoryview, *kinds: type) -> Any:
        """Return the array in a payload, whose items must be of these exact types."""
        items = self.value(data)
        if type(items) is not list or tuple(map(type, items)) != kinds:
            raise WireError(f"expected an array of {', '.join(kind.__name__ for kind in kinds)}")
        return items

    def items(self, data: memoryview) -> list[Any]:
        """Return the array in a payload."""
        items = self.value(data)
        if type(items) is not list:
            raise WireError("expected an array")
        return items

    def _load_buffer(self, data: memoryview) -> bytes:
        found = self.buffer(decode_plain(data))
        return found if type(found) is bytes else bytes(found)

    def _load_bytearray_buffer(self, data: memoryview) -> bytearray:
        found = self.buffer(decode_plain(data))
        return found if type(found) is bytearray else bytearray(found)

    def _load_tuple(self, data: memoryview) -> tuple[Any, ...]:
        return tuple(self.items(data))

    def _load_rows(self, data: memoryview) -> list[tuple[Any, ...]]:
        self._count(data)
        rows = _decode_rows(data)
        if len(encode(rows)) != len(data):
            raise WireError("a spelling that is not the shortest")
        self.charge(_ROW * len(rows))
        return list(map(tuple, rows))

    def _load_set(self, data: memoryview) -> set[Any]:
        items = self.items(data)
        self.charge(_ELEMENT * len(items))
        return self._hashing.set_of(items)

    def _load_frozenset(self, data: memoryview) -> frozenset[Any]:
        return frozenset(self._load_set(data))

    def _load_dict(self, data: memoryview) -> dict[Any, Any]:
        keys, values = self.parts(data, list, list)
        self.charge(_ELEMENT * len(keys))
        return self._hashing.dict_of(keys, values)

    def _load_call(self, data: memoryview) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = self.parts(data, list, dict)
        return tuple(args), kwargs

    def _load_range(self, data: memoryview) -> range:
        return range(*self.parts(data, int, int, int))

    def _load_slice(self, data: memoryview) -> slice:
        items = self.items(data)
        if len(items) != 3:
            raise WireError("slice of other than three parts")
        return slice(*items)

    def _load_record(self, data: memoryview) -> Any:
        name, module, kind, names, values = self.parts(data, str, str, str, list, list)
        if kind not in KINDS or max(len(name), len(module)) > MAX_NAME or not (name + module).isprintable():
            raise WireError("no record")
        if not set(map(type, names)) <= {str}:
            raise WireError("record with a field name that is no str")
        self.charge(_ELEMENT * len(names))
        fields = self._hashing.dict_of(names, values)
        if kind == "enum" and names != ["name", "value"]:
            raise WireError("Enum member without name and value")
        record = Record(name, module, kind, fields)
        return record if self._rebuild is None else self._rebuild(record)

    def _load_array(self, data: memoryview) -> Any:
        from elf_pysandbox_worker.wire import arrays

        return arrays.load(self, data)

    def _load_scalar(self, data: memoryview) -> Any:
        from elf_pysandbox_worker.wire import arrays

        return arrays.load_scalar(self, data)

    def _load_table(self, code: int, data: memoryview) -> Any:
        from elf_pysandbox_worker.wire import tables

        return tables.load(self, code, data)


_decode_raw: Final = Decoder().decode


def _too_deep() -> WireTooLarge:
    return WireTooLarge(f"value is nested more than {tags.MAX_DEPTH} levels deep")


def _check_depth(value: Any) -> None:
    """Refuse a value of more levels of containers than allowed."""
    level, depth = [value], 0
    while level := [item for box in level for item in _inside(box)]:
        depth += 1
        if depth > tags.MAX_DEPTH:
            raise _too_deep()


def _inside(box: Any) -> Sequence[Any]:
    kind = type(box)
    if kind in (list, tuple):
        return box  # type: ignore[no-any-return]
    if kind is dict:
        return [*box, *box.values()]
    if kind in (set, frozenset):
        return list(box)
    return list(box.fields.values()) if kind is Record else ()


_TAGGED: Final[dict[int, Callable[[Reader, memoryview], Any]]] = {
    tags.BYTES_BUFFER: Reader._load_buffer,
    tags.BYTEARRAY_BUFFER: Reader._load_bytearray_buffer,
    tags.TUPLE: Reader._load_tuple,
    tags.SET: Reader._load_set,
    tags.FROZENSET: Reader._load_frozenset,
    tags.DICT: Reader._load_dict,
    tags.CALL: Reader._load_call,
    tags.TUPLES: Reader._load_rows,
    tags.RANGE: Reader._load_range,
    tags.SLICE: Reader._load_slice,
    tags.RECORD: Reader._load_record,
    tags.NDARRAY: Reader._load_array,
    tags.NUMPY_SCALAR: Reader._load_scalar,
}
_TABLES: Final = frozenset(
    {
        tags.DATAFRAME,
        tags.SERIES,
        tags.INDEX,
        tags.TIMESTAMP,
        tags.PANDAS_TIMEDELTA,
        tags.PANDAS_SINGLETON,
    }
)
