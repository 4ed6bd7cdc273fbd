"""Starting a zygote process, with as few imports as can be: it boots while the host imports the rest.

Not `subprocess`, and `_socket` rather than `socket`: each is more to import than all of this. What `subprocess` adds
(closing descriptors, a working folder) the zygote does for itself first thing.
"""

from __future__ import annotations

import fcntl
import os

from elf_pysandbox._host import sockets

TYPE_CHECKING = False  # `typing` costs more than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence

_BOOT = "import sys; sys.path.extend(sys.argv[1:]); from elf_pysandbox_worker.boot import main; main(3)"
# Read once by the C library of the zygote, and so in force for all it forks: large blocks come in huge pages, which
# spares a worker that is sent 10 MB some 2,500 page faults. It is gone from the environment that tools see.
_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
_ABOVE_STANDARD = 10  # no descriptor that is handed down may be one of those that the child's are put on


class Launched:
    """A zygote process that boots.

    Attributes
    ----------
    python : str
    pid : int
    channel : int
        The host's end of its channel, a stream socket (AF_UNIX).
    errors : int
        The read end of its standard error.
    """

    __slots__ = ("channel", "errors", "pid", "python")

    def __init__(self, python: str, pid: int, channel: int, errors: int) -> None:
        self.python, self.pid, self.channel, self.errors = python, pid, channel, errors

    def end(self) -> None:
        """End a zygote that nobody has taken over, and wait for it."""
        import signal
        from contextlib import suppress

        os.close(self.channel)
        os.close(self.errors)
        with suppress(
            ProcessLookupError, ChildProcessError
        ):  # the host may wait for all of its children itself
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def launch(python: str, roots: Sequence[str]) -> Launched:
    """Start a zygote.

    Parameters
    ----------
    python : str
        Path of the interpreter.
    roots : sequence of str
        Folders that hold `elf_pysandbox_worker` and the packages it imports.

    Raises
    ------
    OSError
        It cannot be started.
    """
    kept: list[int] = []
    handed: list[int] = []
    try:
        near, far = (end.detach() for end in sockets.pair())
        kept.append(near)
        handed.append(far)
        errors_read, errors_write = os.pipe()
        kept.append(errors_read)
        handed.append(errors_write)
        channel = _moved_up(far)
        handed.append(channel)
        errors = _moved_up(errors_write)
        handed.append(errors)
        os.set_blocking(errors_read, False)
        pid = _spawn(python, roots, channel, errors)
        kept.clear()
    finally:
        for descriptor in (*kept, *handed):
            os.close(descriptor)
    return Launched(python, pid, near, errors_read)


def _spawn(python: str, roots: Sequence[str], channel: int, errors: int) -> int:
    return os.posix_spawn(
        python,
        # -I: no environment, no user site; -S: no site at all, whose .pth files run code.
        [python, "-I", "-S", "-c", _BOOT, *roots],
        _ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, errors, 2),
            (os.POSIX_SPAWN_DUP2, channel, 3),
        ],
        setsid=True,
        setsigmask=(),
    )


def _moved_up(descriptor: int) -> int:
    """Return a copy of a descriptor with a number out of the way."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD)
