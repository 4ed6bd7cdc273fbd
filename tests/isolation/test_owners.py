"""A root host grants its own files with their owner's rights, and those of nothing else."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox_worker.isolation import capabilities, libc, mounts, namespaces
from elf_pysandbox_worker.isolation.owners import _swap
from tests.isolation.driver import Raised, confinement, explained, readable_paths, run, without

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: an ordinary user owns its files")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of root with 0755, a private file in it, and a private one beside it."""
    base = tmp_path / "base"
    (base / "mine").mkdir(parents=True)
    for place in (base / "mine" / "private", base / "hidden"):
        place.write_text("secret")
        place.chmod(0o600)
    return base / "mine"


def granting(
    read: tuple[Path, ...] = (), write: tuple[Path, ...] = (), layers: dict[str, str] | None = None
) -> Any:
    named = [str(path) for path in read]
    return confinement(
        layers, read=[*readable_paths(), *named], write=[str(path) for path in write], grants_read=named
    )


def test_what_is_made_in_roots_folder_belongs_to_root_on_disk(folder: Path) -> None:
    def act() -> tuple[int, int, int]:
        (folder / "new").write_text("made")
        (folder / "sub").mkdir()
        (folder / "private").write_text("changed")
        return os.getuid(), (folder / "new").stat().st_uid, folder.stat().st_uid

    result = run(act, granting(write=(folder,)))
    assert result.value == (1000, 1000, 1000)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()} == {(0, 0)}
    assert (folder / "new").read_text() == "made"
    assert (folder / "private").read_text() == "changed"


def test_without_it_roots_folder_cannot_be_written_to(folder: Path) -> None:
    """The control: as a host without id-mapped mounts answers."""
    result = run((folder / "new").touch, granting(write=(folder,)), before=_no_mapping(folder))
    assert isinstance(result.value, Raised)
    assert result.value.errno == errno.EACCES


def test_a_private_file_of_root_is_read_by_its_grant_and_nothing_beside_it(folder: Path) -> None:
    hidden = folder.parent / "hidden"

    def act() -> tuple[str, bool, bool]:
        return (folder / "private").read_text(), hidden.exists(), (folder / "new").exists()

    (folder / "new").touch()
    assert run(act, granting(read=(folder / "private",))).value == ("secret", False, False)
    control = run((folder / "private").read_text, granting(), before=None)
    assert isinstance(control.value, Raised)


def test_what_is_granted_for_reading_is_not_written_to(folder: Path) -> None:
    value = run(lambda: (folder / "private").write_text("x"), granting(read=(folder,))).value
    assert isinstance(value, Raised)
    assert value.errno in (errno.EROFS, errno.EACCES)


@pytest.mark.parametrize("layer", ["landlock", "mount_namespace", "both"])
def test_a_link_in_the_grant_that_points_outside_leads_nowhere(folder: Path, layer: str) -> None:
    (folder / "link").symlink_to(folder.parent / "hidden")
    (folder / "up").symlink_to("..")
    modes = without("landlock") if layer == "mount_namespace" else {}

    def act() -> list[object]:
        found: list[object] = []
        os.symlink(folder.parent / "hidden", folder / "planted")
        for name in ("link", "up/hidden", "planted", "../hidden"):
            try:
                found.append((folder / name).read_text())
            except OSError as error:
                found.append(error.errno)
        return found

    value = run(act, granting(write=(folder,), layers=modes)).value
    assert set(value) <= {errno.ENOENT, errno.EACCES}


def test_interpreters_files_are_not_owned_by_the_tool(folder: Path) -> None:
    owner = run(lambda: os.stat(os.__file__).st_uid, granting(write=(folder,))).value
    assert owner == 0


def test_no_program_with_roots_rights_can_be_made_there(folder: Path) -> None:
    def attempt(act: Callable[[], object]) -> int | None:
        try:
            act()
        except OSError as error:
            return error.errno
        return None

    def act() -> list[int | None]:
        path = folder / "program"
        path.touch()
        return [
            attempt(lambda: path.chmod(0o4755)),
            attempt(lambda: os.close(os.open(folder / "other", os.O_CREAT | os.O_WRONLY, 0o4755))),
            attempt(lambda: os.chown(path, 0, 0)),
            attempt(lambda: os.mknod(folder / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))),
        ]

    result = run(act, granting(write=(folder,)))
    assert None not in result.value
    assert not any(path.stat().st_mode & stat.S_ISUID for path in folder.iterdir())


@pytest.mark.parametrize("mode", ["prefer", "off"])
def test_without_a_required_seccomp_tools_write_as_nobody(folder: Path, mode: str) -> None:
    """Nothing else would keep a tool from making a set-user-id program of root."""
    spec = granting(write=(folder,), layers={"seccomp": mode})
    value = run(explained((folder / "new").touch), spec).value
    assert "seccomp" in value


def test_another_users_folder_is_written_to_as_that_user(folder: Path) -> None:
    os.chown(folder, 1234, 1235)
    (folder / "nobodys").touch()
    os.chown(folder / "nobodys", 65534, 65534)

    def act() -> tuple[int, list[int]]:
        (folder / "new").touch()
        return (folder / "new").stat().st_uid, [(folder / name).stat().st_uid for name in ("private",)]

    assert run(act, granting(write=(folder,))).value == (1000, [0])
    assert ((folder / "new").stat().st_uid, (folder / "new").stat().st_gid) == (1234, 1235)


def test_a_folder_of_the_tools_own_id_is_granted_as_it_is(folder: Path) -> None:
    os.chown(folder, 65534, 65534)
    assert run((folder / "new").touch, granting(write=(folder,))).value is None
    assert (folder / "new").stat().st_uid == 65534


def test_a_folder_to_write_to_below_one_to_read_is_mapped_too(folder: Path) -> None:
    (folder / "out").mkdir()

    def act() -> tuple[str, int]:
        (folder / "out" / "new").touch()
        return (folder / "private").read_text(), (folder / "out" / "new").stat().st_uid

    assert run(act, granting((folder,), (folder / "out",))).value == ("secret", 1000)
    assert (folder / "out" / "new").stat().st_uid == 0


def test_a_folder_that_only_its_owner_may_reach_is_granted(folder: Path) -> None:
    os.chown(folder.parent, 1234, 1234)
    folder.parent.chmod(0o700)
    assert run((folder / "private").read_text, granting(read=(folder,))).value == "secret"


def test_root_without_user_namespaces_is_mapped_as_well(folder: Path) -> None:
    spec = granting(write=(folder,), layers={**without("user_namespace"), "identity": "prefer"})

    def act() -> tuple[int, int]:
        (folder / "new").touch()
        return os.getuid(), (folder / "new").stat().st_uid

    result = run(act, spec)
    if result.missing is not None or not result.reports["identity"].held:
        pytest.skip("uid 65534 cannot read this interpreter")
    assert result.value == (65534, 65534)
    assert (folder / "new").stat().st_uid == 0


def test_a_root_without_the_right_to_mount_is_told_with_owner_and_remedy(folder: Path) -> None:
    """As in default Docker, were user namespaces allowed there."""
    spec = granting(write=(folder,))
    result = run(explained((folder / "new").touch), spec, before=_drop_the_right_to_mount)
    assert result.missing is None
    assert result.reports["mount_namespace"].held
    for word in (str(folder), "uid 0", "65534", "chown or chmod", "Operation not permitted"):
        assert word in result.value


def test_a_file_system_without_it_is_granted_as_it_is(folder: Path) -> None:
    result = run(explained((folder / "new").touch), granting(write=(folder,)), before=_no_mapping(folder))
    assert "id-mapped mounts" in result.value
    assert "uid 0" in result.value


def test_no_descriptor_of_a_tree_is_left_to_the_tool(folder: Path) -> None:
    def act() -> list[str]:
        found = []
        for descriptor in range(64):
            try:
                if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    found.append(str(descriptor))
            except OSError:
                pass
        return found

    for spec in (
        granting((folder,), (folder,)),
        granting((folder,), layers=without("mount_namespace", "identity")),
    ):
        assert run(act, spec).value == []


def test_two_ids_change_places_and_all_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    from elf_pysandbox_worker.isolation import user_namespace

    cases = [
        ([(0, 10)], 0, 5, "0 5 1\n1 1 4\n5 0 1\n6 6 4\n"),
        ([(0, 10)], 9, 5, "0 0 5\n5 9 1\n6 6 3\n9 5 1\n"),
        ([(0, 3), (5, 8)], 0, 6, "0 6 1\n1 1 2\n5 5 1\n6 0 1\n7 7 1\n"),
    ]
    for spans, one, other, expected in cases:
        monkeypatch.setattr(user_namespace, "spans", lambda _kind, spans=spans: spans)
        assert _swap(one, other, "uid") == expected


def _drop_the_right_to_mount() -> None:
    kept = capabilities.current()[1] & ~(1 << 21)  # CAP_SYS_ADMIN
    capabilities._set(kept, kept)


def _no_mapping(folder: Path) -> Callable[[], None]:
    """Put the folder on a file system that has no id-mapped mounts, in a mount namespace of this process."""

    def before() -> None:
        libc.call("unshare", namespaces.CLONE_NEWNS)
        mounts.make_private()
        libc.call("mount", b"none", os.fsencode(folder), b"ramfs", 0, None)
        folder.chmod(0o755)

    return before
