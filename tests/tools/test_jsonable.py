"""Values as JSON: everything has a form, and none is larger than what came."""

from __future__ import annotations

import json
import resource
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elf_pysandbox import Limits, Policy, SandboxPool, ToolHandler
from elf_pysandbox._tools.jsonable import to_json

HUGE = 10**6000  # CPython writes 4300 digits


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (range(3), [0, 1, 2]),
        ([range(2), {"a": range(1)}], [[0, 1], {"a": [0]}]),
        (pd.RangeIndex(3), [0, 1, 2]),
        (pd.DataFrame(index=range(2)), [{}, {}]),
        (pd.DataFrame({"a": [1, 2]}), [{"a": 1}, {"a": 2}]),
        (np.empty((2, 0, 5)), [[], []]),
        (10**4000, 10**4000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_short_is_written_out(value: Any, written: Any) -> None:
    assert to_json(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (range(10**15), "range(0, 1000000000000000)"),
        (range(10**30), "range(0, 1000000000000000000000000000000)"),
        (range(HUGE), "<range with a number too long to write>"),
        (pd.RangeIndex(2**60), f"<RangeIndex of {2**60} rows>"),
        (pd.DataFrame(index=pd.RangeIndex(2**60)), f"<DataFrame of {2**60} rows>"),
        (np.empty((10**6, 10**6, 0)), "<ndarray of shape (1000000, 1000000, 0)>"),
        (HUGE, hex(HUGE)),
        (-HUGE, hex(-HUGE)),
        ({HUGE: [HUGE]}, {hex(HUGE): [hex(HUGE)]}),
        (Fraction(HUGE, 7), "<Fraction with a number too long to write>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_a_few_bytes_on_the_wire_becomes_no_more_as_json(value: Any, written: Any) -> None:
    assert to_json(value) == written
    json.dumps(to_json(value))


_PAIR = np.dtype([("a", "i4"), ("b", np.longdouble)])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.longdouble("1.5"), 1.5),
        (np.longdouble("nan"), None),
        (np.longdouble("1e400"), None),
        (np.clongdouble(1 + 2j), "(1+2j)"),
        (np.array([1.5, 2], dtype=np.longdouble), [1.5, 2.0]),
        (np.array(1.5, dtype=np.longdouble), 1.5),
        (np.array([[1 + 2j]], dtype=np.clongdouble), [["(1+2j)"]]),
        (np.array([(1, 2.5)], dtype=_PAIR), [[1, 2.5]]),
        (pd.Series(np.array([1.5], dtype=np.longdouble)), [1.5]),
        ({np.longdouble("1.5"): 1}, {"1.5": 1}),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("error")
def test_floats_longer_than_pythons_are_written_as_its_own(value: Any, written: Any) -> None:
    found = to_json(value, for_programs=True)
    assert found == written
    json.dumps(found)


def test_a_scalar_that_gives_itself_for_a_python_value_becomes_its_text() -> None:
    class Own(np.longdouble):
        """Of a type of its own, as those of packages that add number types to numpy."""

        def astype(self, *_: Any) -> Any:
            return self

        def tolist(self) -> Any:
            return self

    assert to_json(Own("1.5")) == "1.5"


def test_many_ranges_together_have_the_room_of_one() -> None:
    found = to_json([range(600_000)] * 1000)
    assert [type(item) for item in found[:2]] == [list, str]
    assert {type(item) for item in found[1:]} == {str}


@pytest.mark.parametrize("expression", ["range(10**15)", "[range(10**9)] * 99", "10**6000"])
def test_a_model_is_answered_whatever_a_tool_returns_and_the_host_does_not_grow(
    expression: str, tmp_path: Any
) -> None:
    (tmp_path / "lazy.py").write_text(f"def lazy():\n    return {expression}\n")
    with SandboxPool(1, policy=Policy(profile="native"), limits=Limits(wall_s=20)) as pool:
        handler = ToolHandler(pool)
        handler.add_tool(f"{tmp_path}/lazy.py:lazy")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        (reply,) = handler.execute_many([{"type": "tool_use", "id": "1", "name": "lazy", "input": {}}])
        assert reply["content"]
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
