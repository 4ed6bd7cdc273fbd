"""Nothing unpublished is within reach of a name, for every default module."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

WALK = pathlib.Path(__file__).with_name("walk.py")


def walked(*options: str) -> dict:
    ended = subprocess.run(
        [sys.executable, str(WALK), *options], capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(ended.stdout)


def test_no_path_from_a_default_module_reaches_a_module_frame_code_or_builtin_that_is_not_published():
    result = walked()
    assert result["found"] == {}
    assert result["modules"] > 70
    assert result["seen"] > 10_000


@pytest.mark.parametrize("module", ["json", "random", "pathlib", "dataclasses", "warnings"])
def test_the_same_walk_of_the_real_module_finds_a_way_out(module):
    assert walked("--real", module)["found"]
