"""Values with tags in them: one walk that writes them out, counts, and knows where it is.

Decided here and nowhere else: what is written for each kind of container, what is refused, and the path
that a refusal names. Values made of plain types only do not come here (`plain`). Bounded by what is written
out: the walk stops as soon as the limit is passed, so a small graph of shared tuples never becomes a large
message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final

from elf_pysandbox_worker.wire import instances, tags
from elf_pysandbox_worker.wire.errors import UnsupportedValue, ValueTooLarge
from elf_pysandbox_worker.wire.frames import MAX_BUFFERS, Buffer
from elf_pysandbox_worker.wire.leaves import DUMP, Refused, dump_bigint, dump_text, find_lazy
from elf_pysandbox_worker.wire.paths import Step, first_path, spell
from elf_pysandbox_worker.wire.plain import LEAVES, only, plain_boxes
from elf_pysandbox_worker.wire.tags import array_head, encode, ext, ext_head, map_head

_CHUNK: Final = 4096
"""Items of a list that are checked and encoded at once where the whole list cannot be."""

_HEAD: Final = bytes(6)
_TUPLE: Final = frozenset({tuple})
_STR: Final = frozenset({str})


class Writer:
    """Writes one value.

    Attributes
    ----------
    out : bytearray
        What was written so far.
    buffers : list of buffer
        Data that travels out of band, in the order in which the message mentions it.
    steps : list
        The way from the root to the value being written.
    """

    def __init__(self, root: object, name: str, limit: int) -> None:
        self.out = bytearray()
        self.buffers: list[Buffer] = []
        self.steps: list[Step] = []
        self._root, self._name, self._limit = root, name, limit
        self._beside = 0  # bytes in buffers
        self._seen: set[int] = set()  # ids of the mutable objects met
        self._alive: list[object] = []  # temporaries whose ids are in _seen

    # -- errors ---------------------------------------------------------------------------------------------

    def path(self) -> str:
        """Spell the place of the value being written as Python would."""
        return spell(self._name, self.steps)

    @property
    def give(self) -> str:
        """The word for letting a value cross: a result is returned, arguments are passed."""
        return "return" if self._name else "pass"

    def refuse(self, value: object, reason: str, hint: str = "") -> UnsupportedValue:
        """Return the error that says why the value being written cannot cross."""
        return UnsupportedValue(self.path(), instances.full_name(type(value)), reason, hint)

    def room(self) -> int:
        """Return how many bytes may still be written."""
        return self._limit - len(self.out) - self._beside

    def need(self, count: int) -> None:
        """Refuse to go on unless `count` more bytes fit; before they are made, where that is known."""
        if self._limit - len(self.out) - self._beside < count:
            raise ValueTooLarge(self._limit, self.path())

    def put(self, data: bytes) -> None:
        """Append encoded bytes."""
        self.out += data
        if self._limit - len(self.out) - self._beside < 0:
            raise ValueTooLarge(self._limit, self.path())

    def enter(self, value: object) -> None:
        """Note a mutable object; a second meeting is refused."""
        if id(value) in self._seen:
            steps, kind = first_path(self._root, value, self.steps), type(value).__name__
            first = spell(self._name, steps)
            if len(steps) < len(self.steps) and self.steps[: len(steps)] == steps:
                raise self.refuse(
                    value, f"is {first}, the {kind} that it is in", f"{self.give} a value without cycles"
                )
            raise self.refuse(value, f"is the same {kind} as {first}", f"{self.give} a copy")
        self._seen.add(id(value))

    def keep(self, value: object) -> None:
        """Keep a temporary alive, so that no other object gets its id while the walk lasts."""
        self._alive.append(value)

    # -- the walk -------------------------------------------------------------------------------------------

    def write(self, value: Any) -> None:
        """Write one value of any kind."""
        kind = type(value)
        if kind in LEAVES:
            self._write_leaf(value)
            return
        write = _CONTAINERS.get(kind)
        if write is not None:
            if len(self.steps) >= tags.MAX_DEPTH:
                raise self.refuse(
                    value, f"lies more than {tags.MAX_DEPTH} levels deep", f"{self.give} a flatter value"
                )
            write(self, value)
            return
        found = DUMP.get(kind) or find_lazy(kind)
        if found is None:
            instances.write(self, value)
            return
        code, dump = found
        try:
            self.put(ext(code, dump(value)))
        except Refused as refused:
            raise self.refuse(value, *refused.args) from None

    def write_items(self, items: Iterable[Any]) -> None:
        """Write the items of a sequence one after the other."""
        steps = self.steps
        steps.append(0)
        for index, item in enumerate(items):
            steps[-1] = index
            self.write(item)
        steps.pop()

    def tagged(self, code: int, write: Callable[..., None], *args: Any) -> None:
        """Write an ext item whose payload `write(*args)` writes."""
        self.put(_HEAD)
        start = len(self.out)
        write(*args)
        # A head shorter than the place kept for it moves the payload, which is then below 64 KiB.
        self.out[start - len(_HEAD) : start] = ext_head(code, len(self.out) - start)

    def write_array(self, items: Any) -> None:
        """Write a sized iterable as an array."""
        self.put(array_head(len(items)))
        self.write_items(items)

    def write_bytes(self, data: Buffer, inline: int, beside: int) -> None:
        """Write bytes, out of band if that is worth it; the two ext codes say how."""
        if len(data) < tags.OUT_OF_BAND or len(self.buffers) >= MAX_BUFFERS:
            self.need(len(data) + 2)
            self.put(ext(inline, bytes(data)))
            return
        self.need(len(data) + 8)
        self.put(ext(beside, encode(len(self.buffers))))
        self.buffers.append(data)
        self._beside += len(data)

    def _write_leaf(self, value: Any) -> None:
        if type(value) is str:
            self.need(len(value) + 1)
        try:
            self.put(encode(value))
        except OverflowError:
            self.need(value.bit_length() // 8)
            self.put(ext(tags.BIGINT, dump_bigint(value)))
        except UnicodeEncodeError:
            self.put(ext(tags.TEXT, dump_text(value)))

    def _encode_plain(self, value: Any, level: list[Any], skip: int = 0) -> bool:
        """Write `value`, whose items are `level`, at once if it is plain; else write nothing.

        `skip` bytes of its head are left out.
        """
        found = plain_boxes(level, self._seen, self.room(), len(self.steps))
        if found is None:
            return False
        try:
            data = encode(value)
        except (OverflowError, UnicodeEncodeError):
            return False
        self._seen |= found
        self.put(data[skip:] if skip else data)
        return True

    def _write_list(self, value: list[Any]) -> None:
        self.enter(value)
        if self._encode_plain(value, value):
            return
        if only(_TUPLE, value) and self._write_rows(value):
            return
        self.put(array_head(len(value)))
        if len(value) <= _CHUNK:
            self.write_items(value)
            return
        self.steps.append(0)
        for start in range(0, len(value), _CHUNK):
            chunk = value[start : start + _CHUNK]
            self.steps[-1] = start
            if self._encode_plain(chunk, chunk, len(array_head(len(chunk)))):
                continue
            for index, item in enumerate(chunk, start):
                self.steps[-1] = index
                self.write(item)
        self.steps.pop()

    def _write_rows(self, rows: list[tuple[Any, ...]]) -> bool:
        """Write a list of tuples of scalars (rows of a database) at once; False if it is not that."""
        room = self.room() - 9 * (len(rows) + sum(map(len, rows)))
        if len(self.steps) + 1 >= tags.MAX_DEPTH:  # the walk says which tuple lies too deep
            return False
        if room < 0 or not only(LEAVES, chain.from_iterable(rows)):
            return False
        if 4 * sum(len(item) for row in rows for item in row if type(item) is str) > room:
            return False
        try:
            data = encode(rows)
        except (OverflowError, UnicodeEncodeError):
            return False
        self.put(ext(tags.TUPLES, data))
        return True

    def _write_dict(self, value: dict[Any, Any]) -> None:
        self.enter(value)
        room = self.room()
        if not only(_STR, value) or sum(map(len, value)) > room:
            self.tagged(tags.DICT, self._write_pairs, value)
            return
        items = list(value.values())
        # The keys count as items of the level: they are str and take room alike.
        if self._encode_plain(value, [*value, *items]):
            return
        try:
            keys = [encode(key) for key in value]
        except UnicodeEncodeError:
            self.tagged(tags.DICT, self._write_pairs, value)
            return
        self.put(map_head(len(value)))
        self.steps.append(0)
        for key, head, item in zip(value, keys, items, strict=True):
            self.steps[-1] = ("item", key)
            self.put(head)
            self.write(item)
        self.steps.pop()

    def _write_pairs(self, value: dict[Any, Any]) -> None:
        self.put(b"\x92" + array_head(len(value)))
        self.steps.append(0)
        for key in value:
            self.steps[-1] = ("key", key)
            self.write(key)
        self.put(array_head(len(value)))
        for key, item in value.items():
            self.steps[-1] = ("item", key)
            self.write(item)
        self.steps.pop()

    def _write_tuple(self, value: tuple[Any, ...]) -> None:
        self.tagged(tags.TUPLE, self._write_sequence, value)

    def _write_sequence(self, value: tuple[Any, ...]) -> None:
        if only(LEAVES, value) and self._encode_plain(value, list(value)):
            return
        self.write_array(value)

    def _write_set(self, value: set[Any]) -> None:
        self.enter(value)
        self.tagged(tags.SET, self._write_members, value)

    def _write_frozenset(self, value: frozenset[Any]) -> None:
        self.tagged(tags.FROZENSET, self._write_members, value)

    def _write_members(self, value: Iterable[Any]) -> None:
        members = list(value)
        if only(LEAVES, members) and self._encode_plain(members, members):
            return
        self.put(array_head(len(members)))
        self.steps.append(0)
        for item in members:
            self.steps[-1] = ("member", item)
            self.write(item)
        self.steps.pop()

    def _write_bytes(self, value: bytes) -> None:
        self.write_bytes(value, tags.BYTES, tags.BYTES_BUFFER)

    def _write_bytearray(self, value: bytearray) -> None:
        self.enter(value)
        self.write_bytes(value, tags.BYTEARRAY, tags.BYTEARRAY_BUFFER)

    def _write_memoryview(self, value: memoryview) -> None:
        try:
            self.need(value.nbytes)
        except ValueError:
            raise self.refuse(value, "is a memoryview that was released") from None
        flat = value.cast("B") if value.c_contiguous and value.nbytes else memoryview(value.tobytes())
        self.write_bytes(flat.toreadonly(), tags.BYTES, tags.BYTES_BUFFER)

    def _write_range(self, value: range) -> None:
        self.tagged(tags.RANGE, self.write_array, (value.start, value.stop, value.step))

    def _write_slice(self, value: slice) -> None:
        self.tagged(tags.SLICE, self.write_array, (value.start, value.stop, value.step))


_CONTAINERS: Final[dict[type, Callable[[Writer, Any], None]]] = {
    list: Writer._write_list,
    dict: Writer._write_dict,
    tuple: Writer._write_tuple,
    set: Writer._write_set,
    frozenset: Writer._write_frozenset,
    bytes: Writer._write_bytes,
    bytearray: Writer._write_bytearray,
    memoryview: Writer._write_memoryview,
    range: Writer._write_range,
    slice: Writer._write_slice,
}
