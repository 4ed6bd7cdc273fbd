"""Files, devices and /proc."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elf_pysandbox_worker.isolation import landlock, libc
from tests.escape.matrix import Attack, Matrix
from tests.isolation.driver import Raised, confinement, only, readable_paths, run

# Made when this module is imported, because the attacks are parameters; each test gets its own copy of the
# files.
BASE = Path(tempfile.gettempdir()) / f"pysandbox-escape-{os.getpid()}"
HIDDEN, GRANTED, WRITABLE = BASE / "hidden", BASE / "granted", BASE / "writable"
GRANTS = {"read": [*readable_paths(), str(GRANTED)]}
WRITING = {**GRANTS, "write": [str(WRITABLE)]}


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    for folder in (HIDDEN, GRANTED, WRITABLE):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        (folder / "file").write_text("secret")
        os.mkfifo(folder / "pipe")
        (folder / "pipe").chmod(0o666)
        (folder / "file").chmod(0o666)
        os.setxattr(folder / "file", "user.note", b"secret")
    yield
    for path in sorted(BASE.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    BASE.rmdir()


def read(path: object) -> Callable[[], object]:
    return lambda: Path(str(path)).read_bytes()[:10]


def open_with(path: object, flags: int) -> Callable[[], object]:
    return lambda: os.close(os.open(str(path), flags))


def share_memory_by_a_device() -> None:
    """Map /dev/zero shared: memory that all which is forked afterwards has in common."""
    descriptor = os.open("/dev/zero", os.O_RDWR)
    try:
        mmap.mmap(descriptor, 4096, mmap.MAP_SHARED).close()
    finally:
        os.close(descriptor)


def follow_a_link() -> None:
    link = WRITABLE / "link"
    link.symlink_to(HIDDEN / "file")
    link.read_text()


def read_attribute_without_right() -> None:
    """Open with the fourth access mode: Landlock is asked for no right, and fgetxattr(2) asks for none."""
    descriptor = os.open(HIDDEN / "file", os.O_WRONLY | os.O_RDWR)
    try:
        os.getxattr(descriptor, "user.note")
    finally:
        os.close(descriptor)


def make_set_user_id_program() -> None:
    path = WRITABLE / "program"
    path.touch()
    path.chmod(0o4777)
    assert path.stat().st_mode & stat.S_ISUID


def create_set_user_id_program() -> None:
    os.close(os.open(WRITABLE / "program", os.O_CREAT | os.O_WRONLY, 0o4777))
    assert (WRITABLE / "program").stat().st_mode & stat.S_ISUID


def lock(operation: Callable[[int], object]) -> Callable[[], None]:
    def act() -> None:
        with open(GRANTED / "file", "rb") as file:
            operation(file.fileno())

    return act


def open_by_handle() -> None:
    """Reach a file by its inode number, past every folder: one known way out of containers."""
    handle = bytearray((128).to_bytes(4, "little") + bytes(132))
    import ctypes

    mount_id = ctypes.create_string_buffer(8)
    buffer = (ctypes.c_char * len(handle)).from_buffer(handle)
    libc.call("name_to_handle_at", -100, os.fsencode(GRANTED / "file"), buffer, mount_id, 0)
    mount = os.open(GRANTED, os.O_RDONLY)
    os.close(libc.call("open_by_handle_at", mount, buffer, os.O_RDONLY))


FILES = {"mount_namespace": errno.ENOENT, "landlock": errno.EACCES}
ATTACKS = [
    Attack("read a file that was not granted", read(HIDDEN / "file"), FILES, changes=GRANTS),
    Attack("list a folder that was not granted", lambda: os.listdir(HIDDEN), FILES, changes=GRANTS),
    Attack(
        "read an attribute of a file that was not granted", lambda: os.getxattr(HIDDEN / "file", "user.note"),
        {"mount_namespace": errno.ENOENT, "seccomp": errno.EOPNOTSUPP}, changes=GRANTS,
    ),
    Attack(
        "read an attribute by a descriptor that asks for no right", read_attribute_without_right,
        {"mount_namespace": errno.ENOENT, "seccomp": errno.EPERM}, changes=GRANTS,
    ),
    Attack("share memory by a device", share_memory_by_a_device, FILES, changes=GRANTS),
    Attack("climb out with dots", read(GRANTED / ".." / "hidden" / "file"), FILES, changes=GRANTS),
    Attack("follow a planted link", follow_a_link, FILES, changes=WRITING),
    Attack(
        "write to a file granted for reading", lambda: (GRANTED / "file").write_text("x"),
        {"mount_namespace": errno.EROFS, "landlock": errno.EACCES}, changes=GRANTS,
    ),
    # A read-only mount keeps no one from writing to a pipe in it: nothing of the disk changes.
    Attack(
        "write to a named pipe granted for reading", open_with(GRANTED / "pipe", os.O_RDWR),
        {"landlock": errno.EACCES}, changes=GRANTS,
    ),
    Attack(
        "create a file in a folder granted for reading", (GRANTED / "new").touch,
        {"mount_namespace": errno.EROFS, "landlock": errno.EACCES}, changes=GRANTS,
    ),
    Attack(
        "remove a file granted for reading", (GRANTED / "file").unlink,
        {"mount_namespace": errno.EROFS, "landlock": errno.EACCES, "seccomp": errno.EPERM}, changes=GRANTS,
    ),
    Attack(
        "change the mode of a granted file", lambda: (GRANTED / "file").chmod(0o600),
        {"mount_namespace": errno.EROFS, "seccomp": errno.EPERM}, changes=GRANTS,
    ),
    Attack(
        "change the times of a granted file", lambda: os.utime(GRANTED / "file", (0, 0)),
        {"mount_namespace": errno.EROFS, "seccomp": errno.EPERM}, changes=GRANTS,
    ),
    Attack(
        "change the mode of any file while writing is granted", lambda: (HIDDEN / "file").chmod(0o600),
        {"mount_namespace": errno.ENOENT, "seccomp": errno.EPERM}, changes=WRITING,
    ),
    Attack(
        "hard link a granted file to where it can write",
        lambda: os.link(GRANTED / "file", WRITABLE / "alias"),
        {"mount_namespace": errno.EXDEV, "landlock": errno.EXDEV}, changes=WRITING,
    ),
    Attack(
        "give a program the host user's rights", make_set_user_id_program, {"seccomp": errno.EPERM},
        changes=WRITING,
    ),
    Attack(
        "create a program with the host user's rights", create_set_user_id_program, {"seccomp": errno.EPERM},
        changes=WRITING,
    ),
    Attack(
        "hold a lock others wait for", lock(lambda file: fcntl.flock(file, fcntl.LOCK_EX)),
        {"seccomp": errno.EPERM}, changes=GRANTS,
    ),
    Attack(
        "lease a file others open", lock(lambda file: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)),
        {"seccomp": errno.EPERM}, changes=GRANTS,
    ),
    Attack("watch files with inotify", lambda: os.close(libc.call("inotify_init1", 0)), {"seccomp":
    errno.EPERM}), Attack("open a file by its inode", open_by_handle, {"seccomp": errno.EPERM},
    changes=GRANTS, root=True), Attack("read its own memory map", read("/proc/self/maps"), FILES),
    Attack(
        "read the environment of the host program", read(f"/proc/{os.getpid()}/environ"),
        {**FILES, "user_namespace": errno.EACCES},
    ),
    Attack("open a kernel knob for writing", open_with("/proc/sys/vm/drop_caches", os.O_WRONLY), FILES,
    root=True), Attack("read the kernel's log", open_with("/dev/kmsg", os.O_RDONLY), FILES, root=True),
    Attack("open a disk", open_with("/dev/loop0", os.O_RDONLY), FILES, root=True),
    Attack("see the cgroups", lambda: os.listdir("/sys/fs/cgroup"), FILES),
    Attack("share memory by /dev/shm", open_with("/dev/shm", os.O_TMPFILE | os.O_RDWR), FILES),
    Attack(
        "make a device", lambda: os.mknod(WRITABLE / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3)),
        {"seccomp": errno.EPERM, "landlock": errno.EACCES, "user_namespace": errno.EPERM}, changes=WRITING,
        root=True,
    ),
]  # fmt: skip


class TestFiles(Matrix):
    attacks = ATTACKS


CUTS = {
    "a file that was not granted, by path": (HIDDEN, lambda: os.truncate(HIDDEN / "file", 0)),
    "a file granted for reading, by path": (GRANTED, lambda: os.truncate(GRANTED / "file", 0)),
    "a file granted for reading, as it is opened": (GRANTED, open_with(GRANTED / "file", os.O_TRUNC)),
}


@pytest.mark.parametrize("name", CUTS)
def test_where_landlock_knows_nothing_of_truncation_the_filter_keeps_files_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Linux 5.13 to 6.1, in a container without namespaces."""
    monkeypatch.setattr(landlock, "abi", lambda: 2)
    folder, cut = CUTS[name]
    layers = ["no_new_privs", "landlock", "seccomp"]
    stopped = run(cut, confinement(only(*layers), **WRITING))
    assert isinstance(stopped.value, Raised)
    assert stopped.value.errno == errno.EPERM
    assert (folder / "file").read_text() == "secret"
    usual = run(_write_anew, confinement(only(*layers), **WRITING))
    assert usual.value == 3

    assert not isinstance(run(cut, confinement(only(*layers[:2]), **WRITING)).value, Raised)  # the control
    assert (folder / "file").read_text() == ""


def _write_anew() -> int:
    return (WRITABLE / "file").write_text("new")
