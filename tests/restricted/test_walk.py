"""Nothing unpublished is within reach of a name, for every default module."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from elf_pysandbox_worker.restricted import published

WALK = pathlib.Path(__file__).with_name("walk.py")


def walked(*options: str) -> dict:
    ended = subprocess.run(
        [sys.executable, str(WALK), *options], capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def everything() -> dict:
    return walked()


@pytest.mark.parametrize("module", ["builtins", *published.DEFAULT])
def test_no_path_from_a_default_module_reaches_what_is_not_published(everything, module):
    """No module, frame, code object, namespace or builtin that is not published, by any path of public names."""
    assert module in everything["roots"]
    paths = [path for path in everything["found"] if path[len(module) :][:1] in ("", ".", "[", "(")]
    assert [path for path in paths if path.startswith(module)] == []


def test_no_path_at_all_reaches_it_and_the_walk_is_a_long_one(everything):
    assert everything["found"] == {}
    assert len(everything["roots"]) > 70
    assert everything["seen"] > 10_000


@pytest.mark.parametrize("module", ["json", "random", "pathlib", "dataclasses", "warnings"])
def test_the_same_walk_of_the_real_module_finds_a_way_out(module):
    assert walked("--real", module)["found"]
