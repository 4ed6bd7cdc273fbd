"""The mount calls the private root is made of: open_tree(2), mount_setattr(2), move_mount(2), pivot_root(2).

Decided here and nowhere else: the flags. The descriptor-based calls are used because they take a copy of a
tree before anything is mounted over it, and because attributes can be set on a copy that nobody can reach
yet.
"""

from __future__ import annotations

import errno
import os
import struct

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation import libc

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

RDONLY = 0x1
NOSUID = 0x2
NODEV = 0x4
NOEXEC = 0x8
READ_ONLY = RDONLY | NOSUID | NODEV
WRITABLE = NOSUID | NODEV | NOEXEC
_IDMAP = 0x100000
_RESOLVE_NO_SYMLINKS = 0x04

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x2, 0x4, 0x8
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MNT_DETACH = 2


def make_private() -> None:
    """Stop mounts from crossing into this mount namespace or out of it."""
    libc.call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


def tmpfs(target: str, options: str) -> None:
    """Mount an empty tmpfs; raises OSError."""
    libc.call(
        "mount",
        b"tmpfs",
        os.fsencode(target),
        b"tmpfs",
        _MS_NOSUID | _MS_NODEV | _MS_NOEXEC,
        options.encode(),
    )


def copy_tree(path: str, attributes: int) -> int:
    """Return a descriptor of a detached copy of the mounts at `path`, with `attributes` set on all of them.

    `path` must be real: a symbolic link anywhere in it is refused with ELOOP, whoever put it there meanwhile.
    Recursive, because an ordinary user may not leave out mounts that lie below: they may hide something.
    The copy is private: what is mounted outside later does not appear in it.
    """
    place = open_real(path)
    try:
        flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH
        tree = libc.call("open_tree", place, b"", flags)
    finally:
        os.close(place)
    try:
        set_attributes(tree, attributes, _AT_RECURSIVE)
    except BaseException:
        os.close(tree)
        raise
    return tree


def open_real(path: str) -> int:
    """Return an O_PATH descriptor of `path`; a symbolic link anywhere in it is refused with ELOOP."""
    how = struct.pack("=3Q", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    try:
        return libc.call(
            "openat2", _AT_FDCWD, os.fsencode(path), cdata.create_string_buffer(how, len(how)), len(how)
        )
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def set_attributes(tree: int, attributes: int, recursive: int = 0) -> None:
    """Add attributes to the mount that descriptor `tree` stands for, and make it private."""
    request = cdata.create_string_buffer(struct.pack("=4Q", attributes, 0, _MS_PRIVATE, 0), 32)
    libc.call("mount_setattr", tree, b"", _AT_EMPTY_PATH | recursive, request, 32)


def map_ids(tree: int, user_namespace: int) -> None:
    """Show the owners of a detached tree through the maps of a user namespace (mount_setattr(2)).

    Mounts below the tree's own are mapped along if their file systems allow it, else none of them.

    Raises
    ------
    OSError
        EINVAL if the file system does not allow it, EPERM if this process may not do it.
    """
    request = cdata.create_string_buffer(struct.pack("=4Q", _IDMAP, 0, 0, user_namespace), 32)
    try:
        libc.call("mount_setattr", tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, request, 32)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        libc.call("mount_setattr", tree, b"", _AT_EMPTY_PATH, request, 32)


def attach(tree: int, target: str) -> None:
    """Mount a copied tree at `target`, which must be real: it may lie where a tool can put links meanwhile."""
    place = open_real(target)
    try:
        libc.call("move_mount", tree, b"", place, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)
    finally:
        os.close(place)


def become_root(new_root: str) -> None:
    """Make the mount at `new_root` the root and let go of the old one, so that nothing of it can be
    reached."""
    os.chdir(new_root)
    # pivot_root(".", ".") stacks the old root on the new one; detaching "." then removes the old one, and no
    # directory has to be made for it (pivot_root(2), NOTES).
    libc.call("pivot_root", b".", b".")
    libc.call("umount2", b".", _MNT_DETACH)
    os.chdir("/")
