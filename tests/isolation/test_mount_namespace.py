"""The private root: granted paths where they are outside, and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.isolation.driver import Raised, confinement, only, readable_paths, run

MODES = only("user_namespace", "mount_namespace", "identity")


def inside(
    act: Callable[[], object], read: list[Path] | None = None, write: list[Path] | None = None
) -> object:
    spec = confinement(
        MODES, read=[*readable_paths(), *map(str, read or [])], write=[str(path) for path in write or []],
        grants_read=[str(path) for path in read or []],
    )  # fmt: skip
    result = run(act, spec, "template")
    assert result.missing is None
    return result.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("content")
    return tmp_path


def test_the_root_holds_the_tops_of_the_grants_and_three_devices() -> None:
    tops, devices = inside(lambda: (sorted(os.listdir("/")), sorted(os.listdir("/dev"))))  # type: ignore[misc]
    assert set(tops) == {path.split("/")[1] for path in readable_paths()} | {"dev"}
    assert devices == ["null", "random", "urandom"]


def test_the_devices_work() -> None:
    def act() -> tuple[int, int]:
        with open("/dev/null", "wb") as null, open("/dev/urandom", "rb") as random:
            return null.write(b"x"), len(random.read(5))

    assert inside(act) == (1, 5)


def test_nothing_can_be_made_at_the_root() -> None:
    value = inside(lambda: os.mkdir("/new"))
    assert isinstance(value, Raised)
    assert value.errno == errno.EROFS


def test_a_single_file_is_granted_without_its_folder(folder: Path) -> None:
    (folder / "data" / "other").touch()
    file = folder / "data" / "file"
    assert inside(lambda: (file.read_text(), os.listdir(folder / "data")), [file]) == ("content", ["file"])


def testlinks_on_the_way_resolve_as_they_do_outside(folder: Path) -> None:
    (folder / "absolute").symlink_to(folder / "data")
    (folder / "relative").symlink_to("absolute")
    path = folder / "relative" / "file"
    assert inside(lambda: (path.read_text(), os.path.realpath(path)), [path]) == (
        "content",
        str(folder / "data" / "file"),
    )


def test_the_link_of_a_merged_usr_is_there() -> None:
    if not os.path.islink("/lib"):
        pytest.skip("this system has no merged /usr")
    assert inside(lambda: os.readlink("/lib")) == os.readlink("/lib")


def test_a_folder_for_writing_below_one_for_reading_is_written_to(folder: Path) -> None:
    out = folder / "data" / "out"
    out.mkdir()
    out.chmod(0o777)

    def act() -> int:
        (out / "new").write_text("x")
        try:
            (folder / "data" / "new").write_text("x")
        except OSError as error:
            return error.errno or -1
        return 0

    assert inside(act, [folder / "data"], [out]) == errno.EROFS
    assert (out / "new").read_text() == "x"


def test_a_folder_for_reading_below_one_for_writing_is_as_wide_as_the_wider_grant(folder: Path) -> None:
    inner = folder / "data" / "inner"
    inner.mkdir()
    for path in (folder / "data", inner):
        path.chmod(0o777)
    assert inside(lambda: (inner / "new").write_text("x"), [inner], [folder / "data"]) == 1


def test_a_grant_that_does_not_exist_grants_nothing(folder: Path) -> None:
    value = inside((folder / "missing").exists, [folder / "missing"])
    assert value is False


def test_no_program_runs_from_a_place_to_write_to(folder: Path) -> None:
    program = folder / "data" / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    def act() -> None:
        os.execv(program, ["program"])

    value = inside(act, [], [folder / "data"])
    assert isinstance(value, Raised)
    assert value.errno == errno.EACCES


def test_a_strict_umask_of_the_host_does_not_lock_the_tool_out(folder: Path) -> None:
    spec = confinement(MODES, read=[*readable_paths(), str(folder / "data")])
    result = run(
        (folder / "data" / "file").read_text, spec, "template", before=lambda: os.umask(0o077) and None
    )
    assert result.value == "content"


def test_the_old_root_cannot_be_reached_by_a_kept_descriptor_of_a_folder() -> None:
    def act() -> list[str]:
        return [name for name in ("/proc", "/sys", "/tmp", "/home", "/old") if os.path.lexists(name)]

    visible = inside(act)
    assert isinstance(visible, list)
    assert {name.split("/")[1] for name in visible} <= {path.split("/")[1] for path in readable_paths()}
