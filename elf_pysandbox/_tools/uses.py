"""What a live callable was written down from, to tell whether it would be written alike now.

To write a callable takes a millisecond or two, to look whether that is needed again some microseconds. Where looking
cannot tell (a bound method's object may have changed, whatever it is), it is written again.
"""

from __future__ import annotations

import types
from typing import Any

from elf_pysandbox._tools.plain import (
    IMMUTABLE,
    has_only_immutable_leaves,
    is_copy,
    plain_copy,
    why_not_plain,
)

_ABSENT = object()


class Uses:
    """What was read to write one callable.

    Attributes
    ----------
    certain : bool
        Whether a change of anything that it was written from shows in what is kept here.
    """

    def __init__(self) -> None:
        self.certain = True
        self._names: list[tuple[dict[str, Any], str, object]] = []
        self._cells: list[tuple[types.CellType, object]] = []
        self._functions: list[tuple[types.FunctionType, tuple[object, ...], dict[str, Any]]] = []
        self._data: list[tuple[object, object]] = []
        self._hashed: list[tuple[object, bytes]] = []

    def name(self, namespace: dict[str, Any], name: str) -> None:
        """Note what a name of a module means."""
        self._names.append((namespace, name, namespace.get(name, _ABSENT)))

    def function(self, function: types.FunctionType) -> None:
        """Note what a function consists of."""
        self._functions.append((function, _parts(function), dict(function.__dict__)))
        self._cells += [(cell, _content(cell)) for cell in function.__closure__ or ()]

    def data(self, value: object) -> None:
        """Note a value that is sent along."""
        if type(value) in IMMUTABLE:
            return  # whoever holds it is noted
        try:
            if why_not_plain(value) is not None:
                self.certain = False
            elif has_only_immutable_leaves(value):
                self._data.append((value, plain_copy(value)))
            else:
                self._hashed.append((value, _fingerprint(value)))
        except Exception:  # what cannot be sent, or changes at this moment, is told when it is
            self.certain = False

    def unchanged(self) -> bool:
        """Whether all of it is as it was."""
        return (
            self.certain
            and all(space.get(name, _ABSENT) is value for space, name, value in self._names)
            and all(_content(cell) is value for cell, value in self._cells)
            and all(
                _same(_parts(function), parts) and _same_items(function.__dict__, attributes)
                for function, parts, attributes in self._functions
            )
            and all(is_copy(value, copied) for value, copied in self._data)
            and all(_is_still(value, fingerprint) for value, fingerprint in self._hashed)
        )


def _parts(function: types.FunctionType) -> tuple[object, ...]:
    keywords = function.__kwdefaults__ or {}
    return (function.__code__, function.__defaults__, *keywords, *keywords.values())


def _same(left: tuple[object, ...], right: tuple[object, ...]) -> bool:
    return len(left) == len(right) and all(one is other for one, other in zip(left, right, strict=True))


def _same_items(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(left[name] is right[name] for name in left)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


def _is_still(value: object, fingerprint: bytes) -> bool:
    try:
        return _fingerprint(value) == fingerprint
    except Exception:
        return False


def _fingerprint(value: object) -> bytes:
    from elf_pysandbox._tools.context import MAX_BUNDLE, digest_of
    from elf_pysandbox_worker.wire.values import pack

    packed = pack(value, max_bytes=MAX_BUNDLE)
    return digest_of([packed.data, *packed.buffers])
