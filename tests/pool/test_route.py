"""What a policy and limits mean on this host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from elf_pysandbox import ConfigurationError, Files, Limits, Policy, SandboxPool
from elf_pysandbox._interpreter import own_interpreter
from elf_pysandbox._route import confinement_of

WRITE = """
import os

def write(path):
    with open(path, "w") as file:
        file.write("made")
    return os.stat(path).st_uid == os.getuid()
"""


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        (Files(read=("/",), scratch_mb=4), Limits()),
        (Files(write=("/proc/self/root",)), Limits(scratch_mb=4)),
    ],
)
def test_granting_the_root_with_a_scratch_directory_is_refused_with_what_to_do(
    files: Files, limits: Limits
) -> None:
    with pytest.raises(ConfigurationError, match=r"no place for the scratch directory.*scratch_mb to 0"):
        confinement_of(Policy(files=files), limits, 1, own_interpreter())


def test_granting_the_root_alone_is_possible() -> None:
    found = confinement_of(Policy(files=Files(read=("/",))), Limits(), 1, own_interpreter())
    assert found.grants_read == ["/"]


def test_a_granted_path_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        confinement_of(Policy(files=Files(read=("/no/such",))), Limits(), 1, own_interpreter())


def test_a_tool_writes_to_the_hosts_own_folder_whoever_the_host_is(tmp_path: Path) -> None:
    """Also as root, whose tools are another user outside."""
    tmp_path.chmod(0o755)
    policy = Policy(profile="native", files=Files(write=(str(tmp_path),)))
    with SandboxPool(1, policy=policy) as pool:
        tool = pool.load_source(WRITE, "write", name="writer")
        assert pool.call(tool, str(tmp_path / "new")) is True
    assert (tmp_path / "new").stat().st_uid == os.geteuid()
