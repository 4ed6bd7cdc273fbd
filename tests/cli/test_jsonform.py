"""Each kind of value has one form as JSON."""

from __future__ import annotations

import datetime
import decimal
import json

import numpy
import pandas
import pytest
from click.testing import CliRunner

from elf_pysandbox import to_json
from elf_pysandbox._cli import main

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ([NAN, float("inf"), -float("inf"), 1.5], [None, None, None, 1.5]),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (numpy.array([1.0, NAN]), [1.0, None]),
        (numpy.array(5), 5),
        ([numpy.int64(3), numpy.float32(0.5), numpy.bool_(True)], [3, 0.5, True]),
        (numpy.array(["2020-01-02", "NaT"], "datetime64[ns]"), ["2020-01-02T00:00:00", None]),
        (numpy.array([1500], "timedelta64[ms]"), [1.5]),
        (pandas.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), [[1, 2]]),
        (pandas.DataFrame({0: [1.5, NAN]}), [{"0": 1.5}, {"0": None}]),
        (pandas.Series([1.0, NAN]), [1.0, None]),
        (pandas.Series(pandas.to_datetime(["2020-01-02", None])), ["2020-01-02T00:00:00", None]),
        (pandas.NA, None),
        (datetime.datetime(2020, 1, 2, 3), "2020-01-02T03:00:00"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.timedelta(minutes=1), 60.0),
        (b"\x00", {"base64": "AA=="}),
        ({2, 1}, [1, 2]),
        (range(3), [0, 1, 2]),
        (decimal.Decimal("1.10"), "1.10"),
        ({1: 2, None: 3, datetime.date(2020, 1, 2): 4}, {"1": 2, "None": 3, "2020-01-02": 4}),
        (
            {None: 1, NAN: 2, pandas.NaT: 3, numpy.float64("nan"): 4},
            [[None, 1], [None, 2], [None, 3], [None, 4]],
        ),
        ({None: 1, NAN: 2, pandas.NaT: 3}, {"None": 1, "nan": 2, "NaT": 3}),
        ({1: "int", "1": "str"}, [[1, "int"], ["1", "str"]]),
        ([{"a": {True: [NAN], "True": 2}}], [{"a": [[True, [None]], ["True", 2]]}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_has_its_one_form_as_json(value, form):
    written = to_json(value, for_programs=True)
    assert written == form
    assert json.loads(json.dumps(written, allow_nan=False)) == form


def test_run_prints_tables_and_enum_members_as_json_that_every_parser_reads(tmp_path):
    (tmp_path / "tool.py").write_text(
        "import enum, pandas\n\nclass Kind(enum.Enum):\n    A = 'a'\n\n"
        "def table():\n    return {'rows': pandas.DataFrame({'x': [1.0, float('nan')]}), 'kind': Kind.A}\n"
    )
    done = CliRunner().invoke(main, ["run", f"{tmp_path}/tool.py:table", "--profile", "native", "--json"])
    assert done.exit_code == 0, done.output

    def no_constant(name):
        raise AssertionError(f"{name} is no JSON")

    value = json.loads(done.stdout, parse_constant=no_constant)["value"]
    assert value == {"rows": [{"x": 1.0}, {"x": None}], "kind": "a"}


@pytest.mark.parametrize(
    ("returned", "shown", "value"),
    [
        ("{1: 'int', '1': 'str'}", "{1: 'int', '1': 'str'}", [[1, "int"], ["1", "str"]]),
        ("[{True: 1, 'true': 2}]", "[{True: 1, 'true': 2}]", [{"True": 1, "true": 2}]),
        ("{1: 'int', '2': 'str'}", '{"1": "int", "2": "str"}', {"1": "int", "2": "str"}),  # the control
    ],
)
def test_no_item_of_a_dict_is_lost_where_two_keys_have_one_text(tmp_path, returned, shown, value):
    (tmp_path / "tool.py").write_text(f"def f():\n    return {returned}\n")
    assert CliRunner().invoke(main, ["run", f"{tmp_path}/tool.py:f"]).stdout == f"{shown}\n"
    done = CliRunner().invoke(main, ["run", f"{tmp_path}/tool.py:f", "--json"])
    assert json.loads(done.stdout)["value"] == value
