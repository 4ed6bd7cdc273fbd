from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elf_pysandbox import Policy, SandboxPool


@pytest.fixture(scope="session")
def pool() -> Iterator[SandboxPool]:
    """One pool for all tests of the room: plain CPython, confined."""
    with SandboxPool(8, policy=Policy(profile="native")) as opened:
        yield opened


@pytest.fixture(scope="session")
def restricted(pool: SandboxPool) -> SandboxPool:
    """A view on it under the language policy."""
    return pool.with_options(policy=Policy(profile="restricted"))


Project = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Write files below a new folder and return the folder."""

    def write(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path

    return write
