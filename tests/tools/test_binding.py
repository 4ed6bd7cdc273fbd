"""Binding in this process (the functions here are the test's own), and through the pool."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import subprocess
import sys
import uuid
import warnings
from dataclasses import replace
from typing import Annotated, Any, Literal, LiteralString, NamedTuple, Never, TypedDict, Unpack

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, Field

from elf_pysandbox import BadResultError, InvalidArgumentsError, SandboxPool
from elf_pysandbox._tools.load import load_source
from elf_pysandbox_worker.binder import check_result
from elf_pysandbox_worker.binding import prepare
from elf_pysandbox_worker.describe import describe
from elf_pysandbox_worker.errors import BadArguments, BadResult
from elf_pysandbox_worker.wire.values import Record

LAX = {"lax": "1"}
NAMED = {"named": "1"}


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class Pair(NamedTuple):
    a: int
    b: str


class Shape(TypedDict, total=False):
    sides: int


class Order(BaseModel):
    name: str
    points: list[Point] = []


def bind(function: Any, *args: Any, options: dict[str, str] | None = None, **kwargs: Any) -> Any:
    convert = prepare(function)
    if convert is None:
        return args, kwargs
    return convert(args, kwargs, options or {})


def problems(function: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
    with pytest.raises(BadArguments) as caught:
        bind(function, *args, **kwargs)
    return dict(caught.value.problems)


def value_of(annotation: Any, value: Any, **options: str) -> Any:
    def function(x): ...

    function.__annotations__ = {"x": annotation}
    args, kwargs = bind(function, value, options=options)
    return args[0] if args else kwargs["x"]


def test_a_function_without_annotations_costs_nothing() -> None:
    def function(a, b=1): ...

    assert prepare(function) is None


@pytest.mark.parametrize("future", [False, True])
def test_plain_annotations_load_neither_pydantic_nor_inspect(future: bool) -> None:
    head = "from __future__ import annotations\n" if future else ""
    code = (
        f"{head}import sys\nfrom elf_pysandbox_worker.binding import prepare\n"
        "def f(text: str, n: int | None = 1, *, k: float = 2.0) -> dict[str, int]: ...\n"
        "convert = prepare(f)\nassert convert(('a',), {'k': 1.0}, {}) == (('a',), {'k': 1.0})\n"
        "assert not {'pydantic', 'inspect', 'dataclasses'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env={"PYTHONPATH": "worker"})


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (int, "3", 3),
        (float, 3, 3.0),
        (bool, "true", True),
        (str, "a", "a"),
        (bytes, "a", b"a"),
        (int | None, None, None),
        ("int | None", "4", 4),
        (list[int], ["1", 2], [1, 2]),
        (set[int], [1, 1], {1}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Literal["a", "b"], "b", "b"),
        (Color, "red", Color.RED),
        (dt.datetime, "2024-01-02T03:04:05", dt.datetime(2024, 1, 2, 3, 4, 5)),
        (dt.timedelta, "PT1H", dt.timedelta(hours=1)),
        (decimal.Decimal, "1.5", decimal.Decimal("1.5")),
        (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
        (pathlib.Path, "a/b", pathlib.Path("a/b")),
        (Point, {"x": "1"}, Point(1)),
        (Pair, [1, "b"], Pair(1, "b")),
        (Shape, {"sides": "3"}, {"sides": 3}),
        (Order, {"name": "n", "points": [{"x": 1}]}, Order(name="n", points=[Point(1)])),
        (list[Point], [Record("Point", "m", "dataclass", {"x": 1, "y": 2.0})], [Point(1, 2.0)]),
        (Color, Record("Color", "m", "enum", {"name": "RED", "value": "red"}), Color.RED),
        (Annotated[int, Field(gt=0)], 3, 3),
    ],
)
def test_lax_binding_converts_to_the_annotated_type(annotation: Any, given: Any, expected: Any) -> None:
    found = value_of(annotation, given, lax="1")
    assert found == expected
    assert type(found) is type(expected)


def test_arrays_and_tables_are_made_of_lists() -> None:
    assert value_of(np.ndarray, [1, 2]).tolist() == [1, 2]
    frame = pd.DataFrame({"a": [1]})
    assert value_of(pd.DataFrame, frame) is frame
    assert value_of(pd.DataFrame, [{"a": 1}]).to_dict("list") == {"a": [1]}


@pytest.mark.parametrize(
    ("annotation", "given"), [(int, "3"), (int, True), (float, "1"), (bool, 1), (str, 3), (list[int], ["1"])]
)
def test_nothing_is_converted_unless_lax_is_asked_for(annotation: Any, given: Any) -> None:
    with pytest.raises(BadArguments):
        value_of(annotation, given)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (int, 3.0, 3),
        (float, 3, 3.0),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dt.date, "2024-01-02", dt.date(2024, 1, 2)),
        (Color, "red", Color.RED),
        (Point, {"x": 1}, Point(1)),
        (dt.date, dt.date(2024, 1, 2), dt.date(2024, 1, 2)),
    ],
)
def test_what_stands_for_the_type_in_json_is_taken(annotation: Any, given: Any, expected: Any) -> None:
    assert value_of(annotation, given) == expected


@dataclasses.dataclass
class Visit:
    when: dt.datetime
    where: pathlib.Path
    count: int = 1
    sizes: tuple[int, ...] = ()


class Stay(BaseModel):
    visits: list[Visit]
    price: decimal.Decimal
    length: dt.timedelta = dt.timedelta()
    by_day: dict[int, int] = {}


WHEN = dt.datetime(2024, 1, 2)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (Visit, {"when": WHEN, "where": "a"}, Visit(WHEN, pathlib.Path("a"))),
        (Visit, {"when": WHEN, "where": "a", "sizes": [1, 2]}, Visit(WHEN, pathlib.Path("a"), 1, (1, 2))),
        (list[Visit], ({"when": WHEN, "where": "a"},), [Visit(WHEN, pathlib.Path("a"))]),
        (list[int], (1, 2), [1, 2]),
        (
            Stay,
            {"visits": [{"when": WHEN, "where": "a"}], "price": "1.5", "by_day": {"1": 2}},
            Stay(visits=[Visit(WHEN, pathlib.Path("a"))], price=decimal.Decimal("1.5"), by_day={1: 2}),
        ),
    ],
)
def test_parts_that_are_json_may_stand_beside_parts_that_are_not(
    annotation: Any, given: Any, expected: Any
) -> None:
    assert value_of(annotation, given) == expected


@pytest.mark.parametrize(
    ("annotation", "given", "path"),
    [
        (Visit, {"when": WHEN, "where": "a", "count": "1"}, "x.count"),
        (Visit, {"when": WHEN, "where": "a", "count": True}, "x.count"),
        (Visit, {"when": WHEN, "where": pathlib.Path("a"), "sizes": ["1"]}, "x.sizes[0]"),
        (Stay, {"visits": [{"when": WHEN, "where": "a", "count": "1"}], "price": 1}, "x.visits[0].count"),
        (Stay, {"visits": [{"when": 0, "where": pathlib.Path("a")}], "price": 1}, "x.visits[0].when"),
        (Stay, {"visits": (), "price": decimal.Decimal(1), "length": 60}, "x.length"),
        (list[int], ("1",), "x[0]"),
    ],
)
def test_parts_that_would_have_to_be_converted_are_refused_beside_any_others(
    annotation: Any, given: Any, path: str
) -> None:
    def function(x): ...

    function.__annotations__ = {"x": annotation}
    assert set(problems(function, given)) == {path}


def test_every_problem_is_listed_with_its_path() -> None:
    def function(a: int, b: list[Point], c: Order, *, d: Color = Color.RED, e: str) -> None: ...

    found = problems(function, "x", [{"x": "y"}, {}], {"points": [{"x": None}]}, d="blue", f=1)
    assert set(found) == {"a", "b[0].x", "b[1].x", "c.name", "c.points[0].x", "d", "e", "f"}


def test_missing_unknown_and_repeated_arguments_are_problems() -> None:
    def function(first: int, second: int = 1): ...

    assert problems(function, 1, 2, first=1, secund=3, third=0, options={}).keys() == {
        "first",
        "secund",
        "third",
    }
    assert "did you mean 'second'" in problems(function, secund=3)["secund"]
    assert problems(function)["first"] == "is required"
    assert "by position" in problems(function, 1, 2, 3)[""]


def test_an_argument_by_name_whose_parameter_is_positional_only_is_told_as_that_and_not_as_missing() -> None:
    def loose(a: int, b: int = 1, /, **more: Any): ...
    def closed(a: int, b: int = 1, /): ...

    told = "is positional-only: pass it by position, not by name"
    assert problems(loose, a=1) == problems(loose, a="x") == problems(closed, a=1) == {"a": told}
    assert problems(closed, 1, b=2) == {"b": told}
    assert bind(loose, 1, a=2, b=3) == ((1,), {"a": 2, "b": 3})
    assert set(problems(closed, c=1)) == {"c", "a"}


def test_positional_only_parameters_may_be_named_where_all_arguments_are() -> None:
    def function(a: int, b: int, /): ...

    with pytest.raises(BadArguments) as caught:
        bind(function, options=NAMED, b=1)
    assert caught.value.problems == [("a", "is required")]


class Opaque:
    """Of which pydantic knows nothing."""


@pytest.mark.parametrize(
    ("annotation", "value", "place"),
    [
        (Opaque, {"a": 1}, "x"),
        (list[Opaque], [1], "x[0]"),
        (dict[str, Opaque], {"k": 1}, "x.k"),
        (Opaque | None, "text", "x"),
    ],
    ids=str,
)
def test_a_class_that_is_not_made_from_arguments_is_named_with_what_is(
    annotation: Any, value: Any, place: str
) -> None:
    def function(x): ...

    function.__annotations__ = {"x": annotation}
    assert problems(function, value) == {
        place: "an instance of Opaque cannot be made from such an argument: take a dataclass, a pydantic model or a "
        "dict instead"
    }


def test_a_class_that_is_no_first_choice_or_wanted_itself_is_told_in_words_of_a_tools_author() -> None:
    def function(a: tuple[Opaque, int], b: Opaque | int, c: type[Opaque]): ...

    found = problems(function, [1, 2], [], "Opaque")
    assert set(found) == {"a[0]", "b", "c"}
    assert found["a[0]"].startswith("an instance of its class cannot be made from such an argument: ")
    assert found["b"].endswith(" or Input should be a valid integer")
    assert found["c"] == "a class cannot be made from an argument: take its name instead"


class Options(TypedDict):
    depth: int


@pytest.mark.parametrize(
    "annotation", [Unpack[Options], LiteralString, Never, 5, list[LiteralString]], ids=str
)
def test_an_annotation_that_means_nothing_to_pydantic_is_passed_over_without_a_warning(
    annotation: Any,
) -> None:
    def function(x=None): ...

    function.__annotations__ = {"x": annotation}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert bind(function, [1]) == (([1],), {})
        assert describe(function, "function")
    assert told == []


def test_the_members_of_a_union_do_not_show_in_paths() -> None:
    def function(a: list[int] | dict[str, int]): ...

    assert set(problems(function, {"k": "x"})) == {"a", "a.k"}


def test_field_defaults_never_reach_the_function() -> None:
    def function(x: int = Field(3, gt=1), y: list = Field(default_factory=list)): ...  # noqa: B008

    assert bind(function) == ((), {"x": 3, "y": []})
    assert set(problems(function, x=1)) == {"x"}


def test_named_arguments_reach_parameters_that_python_takes_by_position_only() -> None:
    def function(a: int, b=2, /, c=3, *rest: int, d=4, **more: str): ...

    assert bind(function, options=NAMED | LAX, a="1", rest=["5", 6], d=0) == ((1, 2, 3, 5, 6), {"d": 0})
    assert bind(function, options=NAMED, a=1, c=9, z="q") == ((1, 2), {"c": 9, "z": "q"})
    import math

    assert bind(math.sqrt, options=NAMED, x=9) == ((9,), {})


def test_a_result_is_held_against_the_return_annotation() -> None:
    def function() -> list[Point]: ...

    assert check_result(function, [{"x": 1}]) == [Point(1)]
    with pytest.raises(BadResult, match=r"result\[0\]\.x"):
        check_result(function, [{}])
    with pytest.raises(BadResult, match=r"result\[0\]\.x"):
        check_result(function, [{"x": "1"}])


SOURCE = """
from dataclasses import dataclass
@dataclass
class Point:
    x: int
def take(p: Point, n: int = 1) -> int:
    return type(p).__name__ + str(p.x * n)
def lie() -> int:
    return "text"
"""


def test_arguments_are_converted_before_the_call(pool: SandboxPool, restricted: SandboxPool) -> None:
    tool = load_source(SOURCE, "take", name="points")
    assert pool.call(tool, {"x": 2}, n=3.0) == "Point6"
    assert restricted.call(tool, Point(2)) == "Point2"
    with pytest.raises(InvalidArgumentsError) as caught:
        pool.call(tool, {"x": "q"}, n=[])
    assert {path for path, _ in caught.value.problems} == {"p.x", "n"}


def test_a_tool_converts_text_to_numbers_where_it_asks_for_lax_binding_and_nowhere_else(
    pool: SandboxPool,
) -> None:
    tool = load_source(SOURCE, "take", name="points")
    with pytest.raises(InvalidArgumentsError, match=r"p\.x"):
        pool.call(tool, {"x": "2"})
    assert pool.call(replace(tool, strict=False), {"x": "2"}, n="3") == "Point6"


def test_a_result_is_checked_when_asked(pool: SandboxPool) -> None:
    tool = load_source(SOURCE, "lie", name="points")
    assert pool.call(tool) == "text"
    with pytest.raises(BadResultError, match="result"):
        pool.call(replace(tool, check_result=True))
