"""Scratch directories: emptied by the template between two workers.

Decided here and nowhere else: how a tree that a tool made is removed. It never follows a link, never holds
more than two directories open and never recurses: the tree may be as deep and as odd as its inodes allow.
"""

from __future__ import annotations

import errno
import os
import stat

from elf_pysandbox_worker.isolation.mount_namespace import SCRATCH_ROOT

_ATTEMPTS = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def wipe_scratch(slot: int) -> None:
    """Remove everything in one scratch directory; for the template, after the worker that used it has ended.

    Raises
    ------
    OSError
        If something cannot be removed; the slot must then not be used again.
    """
    wipe_directory(f"{SCRATCH_ROOT}/{slot}")


def wipe_directory(path: str) -> None:
    """Remove everything below a directory on which nobody else works."""
    top = os.open(path, _DIRECTORY)
    try:
        # A directory's own directories are moved up here before it is removed, so the tree gets flat as it
        # gets smaller; numbers that are taken already only cost another attempt.
        serial = 0
        while names := os.listdir(top):
            for name in names:
                if _remove(top, name):
                    continue
                below = _open_below(top, name)
                try:
                    serial = _empty_into(top, below, serial)
                finally:
                    os.close(below)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _remove(directory: int, name: str) -> bool:
    """Unlink an entry that is not a directory; whether that was so."""
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return False
    os.unlink(name, dir_fd=directory)
    return True


def _open_below(directory: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory)
    except PermissionError:
        # The tool took the rights away from its own directory; the owner may give them back.
        os.chmod(name, 0o700, dir_fd=directory)
        return os.open(name, _DIRECTORY, dir_fd=directory)


def _empty_into(top: int, below: int, serial: int) -> int:
    """Unlink the files in `below` and move its directories to `top`; return the next unused number."""
    os.chmod(below, 0o700)
    for name in os.listdir(below):
        if _remove(below, name):
            continue
        # A directory can only be moved by who may write to it: its ".." changes.
        os.chmod(name, 0o700, dir_fd=below)
        serial = _move_up(below, name, top, serial)
    return serial


def _move_up(below: int, name: str, top: int, serial: int) -> int:
    for number in range(serial + 1, serial + _ATTEMPTS):
        try:
            os.rename(name, f".{number}", src_dir_fd=below, dst_dir_fd=top)
            return number
        except OSError as error:
            # The tool happens to use that name itself; it cannot use them all, it has few inodes.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
    raise OSError(errno.EEXIST, "no free name in the scratch directory")
