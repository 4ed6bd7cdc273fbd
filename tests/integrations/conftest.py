"""Pools of both profiles, and a copy of the example workflows that tools may write into."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool

EXAMPLES = Path(__file__).parents[2] / "examples" / "workflows"


@pytest.fixture(scope="module", params=["native", "restricted"])
def pool(request: pytest.FixtureRequest) -> Iterator[SandboxPool]:
    with SandboxPool(8, policy=Policy(profile=request.param), limits=Limits(wall_s=20, cpu_s=20)) as made:
        yield made


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    folder = tmp_path / "workflows"
    shutil.copytree(EXAMPLES, folder)
    # Tools run as another user when the tests run as root.
    (folder / "scratch").chmod(0o777)
    return folder
