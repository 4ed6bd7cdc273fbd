"""Instances cross as data: named, comparable, read-only, and harmless where protocols are looked up."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import pickle
import typing
from typing import Any

import msgspec
import numpy as np
import pydantic
import pytest

from elf_pysandbox_worker.wire.values import Record, UnsupportedValue, WireError, pack
from tests.wire.support import LIMIT, round_trip


class Colour(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: int
    y: list[Any]
    hidden: typing.ClassVar[int] = 3
    _private: int = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    name: str


class Pair(typing.NamedTuple):
    left: int
    right: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    when: dict[str, int] = {}


class Packet(msgspec.Struct):
    size: int


class Loose(collections.namedtuple("Loose", "a b")):
    pass


class Raising:
    __dataclass_fields__: typing.ClassVar[dict[str, Any]] = dataclasses.fields and Point.__dataclass_fields__
    __dataclass_params__ = Point.__dataclass_params__  # type: ignore[attr-defined]

    @property
    def x(self) -> int:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "kind", "fields"),
    [
        (Colour.RED, "enum", {"name": "RED", "value": "r"}),
        (Level.LOW, "enum", {"name": "LOW", "value": 1}),
        (Mode.A | Mode.B, "enum", {"name": "A|B", "value": 3}),
        (Point(1, [2]), "dataclass", {"x": 1, "y": [2], "_private": 4}),
        (Frozen("n"), "dataclass", {"name": "n"}),
        (Pair(1, (2,)), "namedtuple", {"left": 1, "right": (2,)}),
        (Loose(1, 2), "namedtuple", {"a": 1, "b": 2}),
        (Model(name="m", more=[1]), "pydantic", {"name": "m", "when": {}, "more": [1]}),  # type: ignore[call-arg]
        (Packet(5), "struct", {"size": 5}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (str, dict)) else "",
)
def test_an_instance_with_declared_fields_arrives_as_a_record(value: Any, kind: str, fields: Any) -> None:
    record = round_trip([value])[0]
    assert type(record) is Record
    assert (record.kind, record.type_name, record.module) == (kind, type(value).__qualname__, __name__)
    assert dict(record.fields) == fields
    assert round_trip(record) == record


def test_an_instance_in_an_instance_is_converted_with_it() -> None:
    record = round_trip(Point(1, [Frozen("a"), {"k": Colour.RED}, (Pair(1, 2),)]))
    assert record.y[0].name == "a"
    expected = {"x": 1, "y": [{"name": "a"}, {"k": "r"}, ({"left": 1, "right": 2},)], "_private": 4}
    assert record.as_dict() == expected


def test_an_enum_member_may_occur_twice_and_be_a_key_and_a_dataclass_may_not() -> None:
    assert round_trip({Colour.RED: [Colour.RED, Colour.RED]})
    point = Point(1, [])
    with pytest.raises(UnsupportedValue, match=r"result\[1\] is the same Point as result\[0\]"):
        pack([point, point], max_bytes=LIMIT)


def test_the_path_of_a_bad_field_is_spelt_with_a_dot() -> None:
    with pytest.raises(UnsupportedValue) as caught:
        pack({"rows": [Point(1, [0, len])]}, max_bytes=LIMIT)
    assert caught.value.path == "result['rows'][0].y[1]"


def test_a_field_that_raises_is_a_refusal() -> None:
    with pytest.raises(UnsupportedValue, match="RuntimeError"):
        pack(Raising(), max_bytes=LIMIT)


def test_records_are_read_only_comparable_hashable_printable_copyable() -> None:
    record = round_trip(Frozen("n"))
    with pytest.raises(AttributeError, match="read-only"):
        record.name = "x"
    with pytest.raises(AttributeError, match="read-only"):
        del record.name
    with pytest.raises(TypeError):
        record.fields["name"] = "x"
    with pytest.raises(AttributeError, match="no field 'missing'"):
        _ = record.missing
    assert record == round_trip(Frozen("n")) != round_trip(Frozen("m"))
    assert record != "n"
    assert hash(record) == hash(round_trip(Frozen("n")))
    assert repr(record) == "Frozen(name='n')"
    assert repr(round_trip(Colour.RED)) == "<Colour.RED: 'r'>"
    assert copy.deepcopy(record) == pickle.loads(pickle.dumps(record)) == record
    assert (record["name"], list(record), len(record)) == ("n", ["name"], 1)


def test_a_record_makes_a_dict_of_its_fields_as_they_are() -> None:
    record = round_trip(Point(1, [Colour.RED]))
    assert (
        dict(record)
        == {**record}
        == dict(record.fields)
        == {"x": 1, "y": [round_trip(Colour.RED)], "_private": 4}
    )
    named = round_trip(Record("Odd", "m", "dataclass", {"keys": 1, "kind": 2}))
    assert dict(named) == {"keys": 1, "kind": 2}


def test_the_record_of_a_named_tuple_has_its_items_by_place_and_others_have_none() -> None:
    pair = round_trip(Pair(1, (2,)))
    assert (pair[0], pair[-1], pair["left"], list(pair)) == (1, (2,), 1, ["left", "right"])
    with pytest.raises(IndexError):
        pair[2]
    with pytest.raises(KeyError):
        round_trip(Frozen("n"))[0]


def test_a_record_can_be_imported_by_those_who_are_given_one() -> None:
    import elf_pysandbox

    assert elf_pysandbox.Record is Record


def test_fields_named_like_protocols_are_no_attributes() -> None:
    memory = {"shape": (4,), "typestr": "|u1", "data": (12345, False), "version": 3}
    fields = {"__array_interface__": memory, "_repr_html_": "<script>", "__class__": 1, "keys": 2, "kind": 3}
    record = round_trip(Record("Evil", "m", "dataclass", fields))
    assert not hasattr(record, "__array_interface__")
    assert not hasattr(record, "_repr_html_")
    assert record.__class__ is Record
    assert record.kind == "dataclass"
    assert record["kind"] == 3
    assert np.asarray(record, dtype=object).shape in ((), (5,))


def test_the_side_that_has_the_classes_may_rebuild_them() -> None:
    classes = {"Point": Point, "Pair": Pair}

    def rebuild(record: Record) -> Any:
        return classes[record.type_name](**record.fields)

    assert round_trip([Pair(1, Point(2, []))], rebuild=rebuild) == [Pair(1, Point(2, []))]
    with pytest.raises(WireError, match="KeyError"):
        round_trip(Frozen("n"), rebuild=rebuild)
