"""The examples do what they say, under the language policy with their packages allowed, and through ToolHandler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elf_pysandbox import InvalidArgumentsError, Limits, Policy, SandboxPool, ToolHandler, ToolRaised

EXAMPLES = Path(__file__).parents[2] / "examples" / "tools"


@pytest.fixture(scope="module")
def handler(pool: SandboxPool) -> Iterator[ToolHandler]:
    policy = Policy(allowed_imports=("pandas", "numpy", "pydantic"))
    with ToolHandler(pool, policy=policy, limits=Limits(memory_mb=1024)) as made:
        for name in ("sales.py", "signals.py", "booking.py", "batches.py"):
            made.add_tools(EXAMPLES / name)
        yield made


def test_the_pandas_tool_takes_and_returns_a_table(handler: ToolHandler) -> None:
    orders = pd.DataFrame({"region": ["north", "south", "north"], "amount": [1.0, 5.0, 2.0]})
    found = handler.execute("by_region", {"orders": orders})
    expected = pd.DataFrame({"region": ["south", "north"], "amount": [5.0, 3.0], "orders": [1, 2]})
    pd.testing.assert_frame_equal(found, expected)


def test_the_pandas_tool_takes_rows_from_a_model(handler: ToolHandler) -> None:
    rows = [{"region": "a", "amount": 1.0}, {"region": "b", "amount": 2.0}]
    request = {"type": "tool_use", "id": "1", "name": "by_region", "input": {"orders": rows, "top": 1}}
    assert handler.execute_many(request)[0]["content"] == '[{"region": "b", "amount": 2.0, "orders": 1}]'


def test_the_numpy_tool_takes_and_returns_an_array(handler: ToolHandler) -> None:
    found = handler.execute("smooth", {"signal": np.array([0.0, 3.0, 0.0, 3.0])})
    np.testing.assert_allclose(found, [1.0, 1.0, 2.0, 2.0])
    assert handler.execute("summary", {"signal": [1, 2, 3]})["mean"] == 2.0
    with pytest.raises(ToolRaised, match="odd"):
        handler.execute("smooth", {"signal": np.zeros(4), "width": 2})


def test_the_pydantic_tool_validates_and_returns_a_model(handler: ToolHandler) -> None:
    arguments: dict[str, Any] = {
        "guest": {"name": "Ada"},
        "arrival": "2024-05-01",
        "nights": 3,
        "room": "double",
    }
    found = handler.execute("book", arguments)
    assert (found.departure, found.price, found.guest.name) == (date(2024, 5, 4), Decimal(360), "Ada")
    with pytest.raises(InvalidArgumentsError) as caught:
        handler.execute("book", {"guest": {"name": ""}, "arrival": "soon", "nights": 99, "room": "attic"})
    assert {path for path, _ in caught.value.problems} == {"guest.name", "arrival", "nights", "room"}


def test_the_async_tools_run_and_stream(handler: ToolHandler) -> None:
    assert handler.execute("measure_all", {"names": ["a", "bcd"]}) == [
        {"name": "a", "length": 1},
        {"name": "bcd", "length": 3},
    ]
    assert handler.execute("countdown", {"start": 3}) == [3, 2, 1]


def test_private_functions_and_classes_are_no_tools(handler: ToolHandler) -> None:
    assert handler.names == ("by_region", "smooth", "summary", "book", "measure_all", "countdown")


def test_the_bot_answers_both_requests() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "bot.py")], capture_output=True, text=True, check=True, timeout=120
    )
    assert "toolu_1" in done.stdout
    assert "360" in done.stdout
    assert '"is_error": true' in done.stdout
    assert "- nights: Input should be less than or equal to 30" in done.stdout
