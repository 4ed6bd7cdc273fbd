"""Wiping what a tool left, however odd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from elf_pysandbox_worker.isolation.scratch import wipe_directory
from tests.isolation.driver import Raised, confinement, run


def test_files_folders_and_odd_names_go(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "file").touch()
    (tmp_path / "-rf *\n").touch()
    os.mkfifo(tmp_path / "pipe")
    wipe_directory(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_planted_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside, top = tmp_path / "outside", tmp_path / "top"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (top / "folder").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "folder" / "link").symlink_to(outside, target_is_directory=True)
    wipe_directory(str(top))
    assert os.listdir(top) == []
    assert (outside / "file").read_text() == "mine"


def test_a_tree_deeper_than_any_path_or_stack_goes(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    wipe_directory(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_names_that_the_wiper_would_choose_do_not_stop_it(tmp_path: Path) -> None:
    for number in range(1, 5):
        (tmp_path / f".{number}").touch()
    (tmp_path / "x" / "y" / ".1" / "z").mkdir(parents=True)
    wipe_directory(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="link"):
        wipe_directory(str(tmp_path / "link"))
    assert (tmp_path / "real" / "file").exists()


def test_the_template_wipes_what_a_worker_locked_against_it() -> None:
    """In the template, as the tool's own user: directories without rights are given them back."""
    from elf_pysandbox_worker.isolation import wipe_scratch

    def act() -> list[str]:
        os.makedirs("/scratch/0/a/b")
        Path("/scratch/0/a/b/file").touch()
        os.chmod("/scratch/0/a/b", 0)
        os.chmod("/scratch/0/a", 0)
        wipe_scratch(0)
        return os.listdir("/scratch/0")

    assert run(act, confinement(scratch_mb=2, scratch_slots=1), "template").value == []


def test_a_worker_reaches_its_own_scratch_directory_and_no_other() -> None:
    def act() -> tuple[str, list[object]]:
        import tempfile

        seen: list[object] = []
        for slot in range(3):
            try:
                seen.append(os.listdir(f"/scratch/{slot}"))
            except PermissionError:
                seen.append("refused")
        return tempfile.gettempdir(), seen

    result = run(act, confinement(scratch_mb=2, scratch_slots=3), slot=1)
    assert not isinstance(result.value, Raised)
    assert result.value == ("/scratch/1", ["refused", [], "refused"])
