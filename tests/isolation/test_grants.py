"""A granted path stands for one real path, which no tool can bend."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from elf_pysandbox_worker.isolation.grants import Grants, links_on_the_way, resolve
from tests.isolation.driver import Raised, answer, confinement, readable_paths, run, words_of


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o755)
    for name in ("outer", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    (tmp_path / "secret" / "file").write_text("secret")
    (tmp_path / "secret" / "file").chmod(0o644)
    return tmp_path


def granted(read: list[Path], write: list[Path], own: list[Path] | None = None) -> Grants:
    named = [str(path) for path in read]
    return resolve(
        confinement(
            read=[*map(str, own or []), *named], write=[str(path) for path in write], grants_read=named
        )
    )


def test_links_are_followed_in_order_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert len(links_on_the_way(str(tmp_path / "a" / "x"))) == 40
    (tmp_path / "up").symlink_to("../" + tmp_path.name + "/up2")
    (tmp_path / "up2").mkdir()
    assert links_on_the_way(str(tmp_path / "up" / "x"))[-1] == (
        str(tmp_path / "up"),
        f"../{tmp_path.name}/up2",
    )


def test_a_grant_through_a_link_is_the_real_path_and_tells_the_link(open_path: Path) -> None:
    (open_path / "link").symlink_to("secret")
    found = granted([open_path / "link" / "file"], [])
    assert found.read == (str(open_path / "secret" / "file"),)
    assert found.links == ((str(open_path / "link"), "secret"),)


def test_a_link_in_a_place_to_write_to_grants_nothing(open_path: Path) -> None:
    outer = open_path / "outer"
    (outer / "inner").symlink_to(open_path / "secret")
    assert granted([outer / "inner"], [outer]).read == ()
    assert granted([outer / "inner"], [outer]).bent == (str(outer / "inner"),)
    assert granted([], [outer / "inner", outer]).write == (str(outer),)
    assert granted([], [outer], own=[outer / "inner"]).read == ()
    assert granted([outer / "inner"], []).read == (str(open_path / "secret"),), "a link of the host's is fine"


def test_the_wider_grant_holds_but_for_the_interpreters_own(open_path: Path) -> None:
    outer = open_path / "outer"
    (outer / "venv").mkdir()
    assert granted([outer / "venv"], [outer]).read == ()
    assert granted([outer / "venv"], [outer]).of_user == {str(outer)}
    # Mapped executable, which a place to write to does not allow.
    assert granted([], [outer], own=[outer / "venv"]).read == (str(outer / "venv"),)
    assert granted([outer], [], own=[outer / "venv"]).read == (str(outer),)


@pytest.mark.parametrize("layer", ["both", "landlock"])
def test_a_tool_cannot_plant_a_link_that_the_next_template_is_given(open_path: Path, layer: str) -> None:
    outer = open_path / "outer"
    (outer / "inner").mkdir()
    spec = confinement(
        {"identity": "prefer"}, read=[*readable_paths(), str(outer / "inner")], write=[str(outer)],
        grants_read=[str(outer / "inner")],
    )  # fmt: skip
    before = answer(errno.EPERM, "unshare") if layer == "landlock" else None

    def plant() -> None:
        (outer / "inner").rename(outer / "away")
        (outer / "inner").symlink_to(open_path / "secret")

    planted = run(plant, spec, before=before)
    if planted.missing is not None:
        pytest.skip(planted.missing[1])
    assert planted.value is None
    assert (outer / "inner" / "file").read_text() == "secret", "outside it leads there"

    def look() -> tuple[int | None, str | None]:
        try:
            (outer / "inner" / "file").read_text()
        except OSError as error:
            return error.errno, words_of(error)
        return 0, "it was read"

    number, why = run(look, spec, before=before).value
    assert number in (errno.ENOENT, errno.EACCES)
    assert "planted" in why


def test_numeric_packages_below_a_place_to_write_to_are_still_mapped_executable(open_path: Path) -> None:
    import _ctypes
    import shutil

    outer = open_path / "outer"
    (outer / "venv").mkdir()
    library = shutil.copy(_ctypes.__file__, outer / "venv")

    def load() -> bool:
        import ctypes

        return bool(ctypes.CDLL(library))

    spec = confinement(read=[*readable_paths(), str(outer / "venv")], write=[str(outer)])
    assert run(load, spec).value is True
    named = confinement(
        read=[*readable_paths(), str(outer / "venv")], write=[str(outer)], grants_read=[str(outer / "venv")]
    )
    assert isinstance(run(load, named).value, Raised)


def places_found(look: Callable[[], str], inner: Path, target: Path) -> set[str]:
    """Return every answer of `look` when a tool swaps the folder for a link between any two of its calls into C."""
    found: set[str] = set()
    for moment in range(1, 400):
        steps = 0

        def swap_once(frame: object, event: str, callee: object, moment: int = moment) -> None:
            nonlocal steps
            if event in ("c_return", "c_exception"):
                steps += 1
                if steps == moment:
                    inner.rmdir()
                    inner.symlink_to(target)

        sys.setprofile(swap_once)
        try:
            answer_ = look()
        finally:
            sys.setprofile(None)
        found.add(answer_)
        if not inner.is_symlink():
            return found  # it was over before that moment
        inner.unlink()
        inner.mkdir()
    raise AssertionError("the look takes more steps than were tried")


def test_a_folder_swapped_for_a_link_while_it_is_resolved_grants_nothing_else(open_path: Path) -> None:
    outer, inner, secret = open_path / "outer", open_path / "outer" / "inner", open_path / "secret"
    inner.mkdir()

    def in_two_walks() -> str:
        return "" if links_on_the_way(str(inner)) else os.path.realpath(inner)

    def as_granted() -> str:
        # Read without being named by a user, since what is inside a place to write to is not granted twice.
        found = granted([], [outer], own=[inner])
        return "".join(found.read)

    assert str(secret) in places_found(in_two_walks, inner, secret), "the control: two walks can be fooled"
    assert places_found(as_granted, inner, secret) <= {"", str(inner)}
