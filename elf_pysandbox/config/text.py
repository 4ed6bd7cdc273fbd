"""YAML text to a tree of plain values that knows where each of them stands.

Decided here and nowhere else: which YAML is accepted. It is read event by event (`yaml.parse`), never
composed or constructed by PyYAML, so no tag can make an object and nothing is recursive without a bound.

- Scalars follow the core schema of YAML 1.2: only ``true`` and ``false`` are booleans (in YAML 1.1 the key
  ``on`` would be one), dates stay text, an integer is decimal, ``0x`` or ``0o``.
- Keys are text, and no key twice in one mapping.
- Tags are refused, also known ones: what a value is shows from how it is written.
- Anchors, aliases and ``<<`` work, within `MAX_VALUES` values after expansion; an alias inside its own anchor
  is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from elf_pysandbox.config.problems import DocumentError, Problem

MAX_BYTES = 512 << 10
"""Bytes of one document: two thousand nodes fit; PyYAML reads that in about two seconds."""

MAX_DEPTH = 40
"""Nesting of mappings and lists. Documents that people write stay below 12."""

MAX_VALUES = 50_000
"""Values in one document, counted after aliases are expanded: a bomb of nine lines has 10**9."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan"),
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Place:
    """One value of a document with where it stands.

    Attributes
    ----------
    value : Any
        A scalar; for a mapping or list, the dict or list of the places in it.
    file, line, column
        Where it begins; line and column count from 1.
    keys : dict of str to (line, column)
        For a mapping, where each key stands.
    """

    value: Any
    file: str
    line: int
    column: int
    keys: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def problem(self, message: str) -> Problem:
        """Return a problem at this place."""
        return Problem(self.file, self.line, self.column, message)

    def key_problem(self, key: str, message: str) -> Problem:
        """Return a problem at a key of this mapping."""
        return Problem(*self.keys.get(key, (self.file, self.line, self.column)), message)

    def get(self, key: str) -> Place | None:
        """Return the place of a mapping's value, None when it is not there or this is no mapping."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if isinstance(found, Place) else None

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def at(self, path: tuple[Any, ...]) -> Place:
        """Return the deepest place on `path`: keys and list positions; what fits nothing is passed over."""
        place = self
        for step in path:
            value = place.value
            positions = range(len(value)) if isinstance(value, list) else ()
            if (isinstance(value, dict) and step in value) or step in positions:
                place = value[step]
        return place


def read_text(path: Path) -> str:
    """Read a document, within `MAX_BYTES` and as UTF-8.

    Raises
    ------
    DocumentError
        There is no such file, it is too long, or it is not UTF-8.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError([Problem(name, 1, 1, f"cannot be read: {error.strerror or error}")]) from None
    if len(data) > MAX_BYTES:
        raise DocumentError(
            [Problem(name, 1, 1, f"is longer than {MAX_BYTES} bytes; split it with 'include'")]
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise DocumentError([Problem(name, line, column, message)]) from None


def parse(text: str, file: str) -> Place:
    """Read one YAML document.

    Parameters
    ----------
    text : str
    file : str
        The name that problems carry.

    Raises
    ------
    DocumentError
        It is no YAML, or none of the YAML this module accepts.
    """
    try:
        return _Reader(text, file).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = _worded(" ".join(filter(None, (error.context, error.problem))))
        raise DocumentError([Problem(file, line, column, message)]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        message = f"character {error.character!r} is not allowed in YAML"
        raise DocumentError([Problem(file, line, column, message)]) from None


def _worded(message: str) -> str:
    if "'\\t'" in message:
        return "a tab cannot indent YAML; use spaces"
    return f"is not valid YAML: {message}"


class _Anchored(NamedTuple):
    """What an alias stands for, with its number of values and levels."""

    place: Place
    values: int
    height: int


class _Reader:
    """Reads the events of one document."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._anchors: dict[str, _Anchored | None] = {}
        self._values = 0
        self._deepest = 0

    def document(self) -> Place:
        next(self._events)  # stream start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise DocumentError([Problem(self._file, 1, 1, "is empty: there is nothing to run")])
        place = self._value(next(self._events), 0)
        next(self._events)  # document end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._fail(event, "a second document ('---'): one document a file")
        return place

    def _fail(self, event: Any, message: str) -> NoReturn:
        mark = event.start_mark
        raise DocumentError([Problem(self._file, mark.line + 1, mark.column + 1, message)])

    def _place(self, event: Any, value: Any) -> Place:
        return Place(value, self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _count(self, event: Any, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            self._fail(event, f"has more than {MAX_VALUES} values (aliases count each time they are used)")

    def _value(self, event: Any, depth: int) -> Place:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            self._fail(event, f"the tag {_shown(event.tag)} is not accepted; write the plain value")
        self._descend(event, depth)
        self._count(event, 1)
        if not event.anchor:
            return self._content(event, depth)
        before, outer, self._deepest = self._values - 1, self._deepest, depth
        self._anchors[event.anchor] = None
        place = self._content(event, depth)
        self._anchors[event.anchor] = _Anchored(place, self._values - before, self._deepest - depth)
        self._deepest = max(outer, self._deepest)
        return place

    def _descend(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._fail(event, f"is nested more than {MAX_DEPTH} levels deep")
        self._deepest = max(self._deepest, depth)

    def _content(self, event: Any, depth: int) -> Place:
        if isinstance(event, yaml.ScalarEvent):
            # `implicit[0]` is True for a plain scalar only: quoted text and block scalars stay text.
            return self._place(event, self._scalar(event) if event.implicit[0] else event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, depth)
        return self._mapping(event, depth)

    def _alias(self, event: Any, depth: int) -> Place:
        if event.anchor not in self._anchors:
            self._fail(event, f"alias *{event.anchor} has no anchor &{event.anchor} before it")
        found = self._anchors[event.anchor]
        if found is None:
            self._fail(event, f"alias *{event.anchor} stands inside its own anchor")
        self._count(event, found.values)
        self._descend(event, depth + found.height)
        return found.place

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            if len(text) > 1000:
                self._fail(event, "a number of more than 1,000 digits")
            return int(text, 10) if text[:2] not in ("0x", "0o") else int(text, 0)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _sequence(self, event: Any, depth: int) -> Place:
        items = []
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(item, depth + 1))
        return self._place(event, items)

    def _mapping(self, event: Any, depth: int) -> Place:
        place = self._place(event, {})
        merges: list[tuple[Any, Place]] = []
        while not isinstance(item := next(self._events), yaml.MappingEndEvent):
            key = self._key(item)
            value_event = next(self._events)
            if key == "<<" and item.implicit[0]:
                merges.append((item, self._value(value_event, depth + 1)))
                continue
            if key in place.value:
                self._fail(item, f"the key {key!r} is here twice (first in line {place.keys[key][1]})")
            place.keys[key] = (self._file, item.start_mark.line + 1, item.start_mark.column + 1)
            place.value[key] = self._value(value_event, depth + 1)
        for item, merged in merges:
            self._merge(item, place, merged)
        return place

    def _key(self, event: Any) -> str:
        if isinstance(event, yaml.AliasEvent) or not isinstance(event, yaml.ScalarEvent):
            self._fail(event, "a key must be plain text")
        if event.tag is not None:
            self._fail(event, f"the tag {_shown(event.tag)} is not accepted; write the plain value")
        self._count(event, 1)
        key: str = event.value
        return key

    def _merge(self, event: Any, into: Place, merged: Place) -> None:
        sources = merged.value if isinstance(merged.value, list) else [merged]
        for source in sources:
            if not isinstance(source.value, dict):
                self._fail(event, "'<<' takes an alias of a mapping, or a list of such aliases")
            self._count(event, len(source.value))
            for key, value in source.value.items():
                if key not in into.value:
                    into.value[key], into.keys[key] = value, source.keys[key]


def _shown(tag: str) -> str:
    return "!!" + tag.removeprefix("tag:yaml.org,2002:") if tag.startswith("tag:yaml.org,2002:") else tag
