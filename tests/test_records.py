"""Records of the face are frozen dataclasses to all who look, though `dataclasses` did not make them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from elf_pysandbox import (
    ConfigurationError,
    ErrorInfo,
    Files,
    Hint,
    ItemEvent,
    LayerState,
    Limits,
    ModuleContext,
    Outcome,
    Policy,
    Sibling,
    Tool,
    Usage,
)
from elf_pysandbox._records import field, record


@record(frozen=True, slots=True)
class Ours:
    """A record with all there is."""

    first: int
    second: str = "two"
    third: list[int] = field(default_factory=list, repr=False, compare=False)
    fourth: Any = field(default=4, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "second", self.second.upper())


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """The same as a dataclass."""

    first: int
    second: str = "two"
    third: list[int] = dataclasses.field(default_factory=list, repr=False, compare=False)
    fourth: Any = dataclasses.field(default=4, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "second", self.second.upper())


PLACES = [ModuleContext("m", b"x = 1", "m.py"), Sibling("s", "s.py", b"")]
VALUES = [Limits(wall_s=2), Files(read=("/usr",)), Outcome("ok", 3), Usage(), Hint("n"), *PLACES]
VALUES += [Tool("t", PLACES[0], "f"), ErrorInfo("T", "m", "text")]
each = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@pytest.mark.parametrize(
    "look",
    [
        lambda cls: repr(cls(1)).replace(cls.__name__, ""),
        lambda cls: (cls(1) == cls(1), cls(1) == cls(2), cls(1) == 1, cls(1, third=[1]) == cls(1)),
        lambda cls: (hash(cls(1)) == hash(cls(1, fourth=5)), hash(cls(1)) == hash(cls(2))),
        lambda cls: (cls.__match_args__, cls.__slots__, hasattr(cls(1), "__dict__")),
        lambda cls: str(inspect.signature(cls)).replace(cls.__name__, ""),
        lambda cls: [(f.name, f.type, f.repr, f.compare, f.hash) for f in dataclasses.fields(cls)],
        lambda cls: dataclasses.asdict(cls(1, third=[3])),
        lambda cls: dataclasses.replace(cls(1), second="x").second,
        lambda cls: cls(1).third is cls(1).third,
        lambda cls: repr(cls.__dataclass_params__)[:90],
    ],
)
def test_a_record_looks_like_a_frozen_dataclass(look: Any) -> None:
    assert look(Ours) == look(Theirs)


@record(frozen=True, slots=True)
class OurOne:
    """A record of one field."""

    value: Any


@dataclasses.dataclass(frozen=True, slots=True)
class TheirOne:
    """The same as a dataclass."""

    value: Any


def test_a_record_of_one_field_compares_and_hashes_as_a_dataclass_of_one() -> None:
    nan = float("nan")  # equal to itself in a tuple only; 3.13 compares field by field
    told = [[cls(1) == cls(1), cls(1) == cls(2), hash(cls(1))] for cls in (OurOne, TheirOne)]
    assert told[0] == told[1] == [True, False, hash((1,))]
    assert OurOne(nan) == OurOne(nan)
    array = np.arange(3)
    assert OurOne(array) == OurOne(array)


def test_two_threads_may_look_at_a_record_for_the_first_time_at_once() -> None:
    fresh = record(frozen=True)(type("Fresh", (), {"__annotations__": {"x": "int"}, "__module__": __name__}))
    names = ("__init__", "__dataclass_fields__", "__dataclass_params__")
    found = {name: vars(fresh)[name] for name in names}  # what the slower of the two has found in the class
    assert fresh(1).x == 1
    assert dataclasses.is_dataclass(fresh)
    for name, descriptor in found.items():
        assert descriptor.__get__(None, fresh) is not None, name
    assert (fresh(x=2).x, [field.name for field in dataclasses.fields(fresh)]) == (2, ["x"])


RECORDS = sorted({type(value) for value in VALUES} | {Policy, Outcome, ItemEvent, LayerState}, key=repr)


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
def test_the_hints_of_a_record_can_be_read_before_there_is_a_pool(cls: type) -> None:
    code = (
        "import inspect, sys, typing; import elf_pysandbox; from elf_pysandbox import *\n"
        f"cls = elf_pysandbox.{cls.__name__}\n"
        "wanted = set(inspect.signature(cls, eval_str=True).parameters)\n"
        "assert set(typing.get_type_hints(cls)) >= wanted and set(typing.get_type_hints(cls.__init__)) >= wanted\n"
        "import pydantic\n"
        "class Model(pydantic.BaseModel, arbitrary_types_allowed=True): x: cls"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_limits_hold_in_subclasses_too() -> None:
    class Slotted(Limits):
        __slots__ = ("note",)

    @dataclasses.dataclass(frozen=True, slots=True)
    class More(Limits):
        depth: int = 3

    for cls in (Slotted, More):
        assert cls(wall_s=2).wall_s == 2
        with pytest.raises(ConfigurationError, match="wall_s"):
            cls(wall_s=-1)


@pytest.mark.parametrize(
    "arguments", [((), {}), ((1, "2", [], 4, 5), {}), ((1,), {"fifth": 5}), ((1,), {"first": 1})]
)
def test_a_record_refuses_arguments_in_the_words_of_a_dataclass(arguments: Any) -> None:
    told = []
    for cls in (Ours, Theirs):
        with pytest.raises(TypeError) as caught:
            cls(*arguments[0], **arguments[1])
        told.append(str(caught.value).replace(cls.__name__, ""))
    assert told[0] == told[1]


@each
def test_nothing_of_a_record_can_be_set_or_deleted(value: Any) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        setattr(value, name, None)
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        delattr(value, name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.other = 1


@each
def test_a_record_is_copied_and_pickled(value: Any) -> None:
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
    assert dataclasses.replace(value) == value


def test_a_policy_is_copied() -> None:
    assert (
        dataclasses.replace(Policy(), profile="native")
        == Policy(profile="native")
        == copy.copy(Policy(profile="native"))
    )


@pytest.mark.parametrize("field", ["allowed_imports", "env"])
def test_names_of_a_policy_come_from_any_iterable_and_from_nothing_else(field: str) -> None:
    assert getattr(Policy(**{field: (name for name in ["numpy", "HOME"])}), field) == ("numpy", "HOME")
    for value in (None, 3, "numpy", [1], b"numpy", [""]):
        with pytest.raises(ConfigurationError, match=f"Policy.{field}"):
            Policy(**{field: value})


def test_a_dataclass_may_derive_from_a_record() -> None:
    @dataclasses.dataclass(frozen=True)
    class Wider(Limits):
        name: str = "wide"

    wider = Wider(wall_s=2.0, name="w")
    assert (wider.wall_s, wider.name) == (2.0, "w")
    assert [one.name for one in dataclasses.fields(Wider)][-1] == "name"


def test_a_plain_class_may_derive_from_a_record_and_have_attributes_of_its_own() -> None:
    class Named(Usage):
        pass

    named: Any = Named(wall_s=1.0)
    named.name = "mine"
    assert (named.name, named.wall_s) == ("mine", 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        named.wall_s = 2.0


def test_a_record_is_matched_by_position() -> None:
    match Ours(1, "a"):
        case Ours(first, second):
            assert (first, second) == (1, "A")


_HEAVY = """asyncio ast collections concurrent contextlib dataclasses enum functools importlib inspect json logging
msgspec re selectors socket string subprocess threading traceback types typing weakref"""


def test_what_stands_before_the_start_of_the_zygote_imports_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from elf_pysandbox import Limits, Policy, SandboxPool\n"
        "from elf_pysandbox._interpreter import own_interpreter\n"
        "Policy(profile='native'); Limits(); own_interpreter()\n"
        f"print(sorted(set({_HEAVY!r}.split()) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['types']"


def test_a_pool_is_an_executor_however_early_its_class_was_there() -> None:
    code = (
        "from elf_pysandbox import SandboxPool\n"
        "import concurrent.futures\n"
        "class Mine(SandboxPool): pass\n"
        "pool = Mine()\n"
        "print(isinstance(pool, concurrent.futures.Executor), issubclass(SandboxPool, concurrent.futures.Executor))\n"
        "pool.shutdown()"
    )
    for first in ("", "import concurrent.futures\n"):
        done = subprocess.run(
            [sys.executable, "-c", first + code], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.split() == ["True", "True"]
