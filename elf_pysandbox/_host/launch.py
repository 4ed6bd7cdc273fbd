"""Starting a zygote process, with as few imports as can be: it boots while the host imports the rest.

Not `subprocess`: that is more to import than all of this, and what it adds (closing descriptors, a working folder) the
zygote does for itself first thing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

_BOOT = "import sys; sys.path.extend(sys.argv[1:]); from elf_pysandbox_worker.boot import main; main(3)"
# Read once by the C library of the zygote, and so in force for all it forks: large blocks come in huge pages, which
# spares a worker that is sent 10 MB some 2,500 page faults. It is gone from the environment that tools see.
_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
_ABOVE_STANDARD = 10  # no descriptor that is handed down may be one of those that the child's are put on


class Launched(NamedTuple):
    """A zygote process that boots: its pid, the host's end of its channel, the read end of its standard error."""

    python: str
    pid: int
    sock: socket.socket
    errors: int


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
    with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as always:
        near, far = socket.socketpair()
        on_failure.callback(near.close)
        always.callback(far.close)
        errors_read, errors_write = os.pipe()
        on_failure.callback(os.close, errors_read)
        always.callback(os.close, errors_write)
        channel = _moved_up(far.fileno())
        always.callback(os.close, channel)
        errors = _moved_up(errors_write)
        always.callback(os.close, errors)
        pid = os.posix_spawn(
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
        on_failure.pop_all()
    os.set_blocking(errors_read, False)
    return Launched(python, pid, near, errors_read)


def _moved_up(descriptor: int) -> int:
    """Return a copy of a descriptor with a number out of the way."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD)
