"""What /proc tells a process about itself, opened while there is a /proc: the root of a template has none."""

from __future__ import annotations

import errno
import os

from elf_pysandbox_worker.isolation import libc

_NAMES = ("stat", "smaps", "maps")
_ABOVE_CHANNELS = 10
_F_DUPFD_CLOEXEC = 1030  # of `fcntl`, which is not imported: five mappings in every fork


def opened() -> list[OwnFile]:
    """Return stat, smaps and maps of this process (proc(5)), none where there is no /proc."""
    files: list[OwnFile] = []
    try:
        for name in _NAMES:
            files.append(OwnFile(f"/proc/self/{name}"))
    except OSError:
        while files:
            files.pop().close()
    return files


class OwnFile:
    """A file of /proc about this process; a tool's module may have closed it and another have its number since."""

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._descriptor = libc.call("fcntl", descriptor, _F_DUPFD_CLOEXEC, _ABOVE_CHANNELS)
        finally:
            os.close(descriptor)
        self._identity = self._identify()

    def _identify(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def checked(self) -> int:
        """Return its descriptor; OSError if that is another's by now."""
        if self._identify() != self._identity:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._descriptor

    def read(self) -> bytes:
        """Return all of it."""
        descriptor, found = self.checked(), b""
        while part := os.pread(descriptor, 1 << 16, len(found)):
            found += part
        return found

    def close(self) -> None:
        """Close it, if it is still open."""
        try:
            os.close(self.checked())
        except OSError:
            pass
