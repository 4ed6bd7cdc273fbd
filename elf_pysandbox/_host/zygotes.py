"""Starting the zygote of an interpreter and asking it for templates.

The zygote is a fresh interpreter, not a fork of the host: a fork would carry the host's secrets, threads
and locks.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from typing import IO

from elf_pysandbox._host import processes
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import Confinement, Spawn, encode

_BOOT = (
    "import sys; sys.path.extend(sys.argv[2:]); "
    "from elf_pysandbox_worker.boot import main; main(int(sys.argv[1]))"
)


class Zygote:
    """One running zygote.

    Parameters
    ----------
    python : str
        Path of the interpreter.
    roots : sequence of str
        Folders that hold `elf_pysandbox_worker` and the packages it imports.
    """

    def __init__(self, python: str, roots: Sequence[str]) -> None:
        self.python = python
        self.sock, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen(
                # -I: no environment, no user site; -S: no site at all, whose .pth files run code.
                [python, "-I", "-S", "-c", _BOOT, str(far.fileno()), *roots],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[far.fileno()],
                env={},
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    def spawn(self, confinement: Confinement, keeper: socket.socket, template: socket.socket) -> None:
        """Ask for a blank template; raises OSError when the zygote is gone."""
        data = b"".join(frame(encode(Spawn(confinement))))
        processes.send_with_descriptors(self.sock, data, [keeper.fileno(), template.fileno()])

    def last_words(self) -> str:
        """Return what a zygote that ended had written to standard error, its last 2,000 characters."""
        stream: IO[bytes] | None = self._process.stderr
        if stream is None:
            return ""
        # Keepers and templates hold this pipe's other end no longer: descriptors are closed first thing.
        os.set_blocking(stream.fileno(), False)
        return (stream.read() or b"").decode(errors="replace")[-2000:].strip()

    def close(self) -> None:
        """End the zygote; its templates are not touched by that."""
        self.sock.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
