"""The checking program with its parser taken over: what hostile source would do if it could make the parser run code.

A source that begins with ``act NAME`` is not checked but acted on; the one finding says what came of it.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import socket
import time

from elf_pysandbox_worker.restricted import check_process
from elf_pysandbox_worker.restricted.diagnostics import Diagnostic
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import encode

_check = check_process.check


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _execute() -> None:
    # In a thread's place there is only this process: it would be gone, and so would the answer.
    os.execv("/bin/true", ["true"])


def _forge() -> None:
    os.write(1, b"".join(frame(encode(check_process.Checked([])))) * 2)
    os._exit(0)


def _flood() -> None:
    while True:
        os.write(1, bytes(1 << 16))


def _is_open(descriptor: int) -> bool:
    try:
        return os.fstat(descriptor) is not None
    except OSError:
        return False


def _spin() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while True:
        pass


ACTS = {
    "read a file": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
    "list the root": lambda: os.listdir("/"),
    "write a file": lambda: os.close(os.open("/tmp/pysandbox-check", os.O_WRONLY | os.O_CREAT)),
    "make a socket": lambda: socket.socket().close(),
    "fork": _fork,
    "execute a program": _execute,
    "signal its parent": lambda: os.kill(os.getppid() or 1, 0),
    "take 2 GiB": lambda: mmap.mmap(-1, 2 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close(),
    "read the environment": lambda: os.environ["PATH"],
    "tell its descriptors": lambda: list(filter(_is_open, range(256))),
    "tell its user": os.getuid,
    "forge two answers": _forge,
    "flood": _flood,
    "end without an answer": lambda: os._exit(0),
    "die": lambda: signal.raise_signal(signal.SIGKILL) or os.abort(),
    "spin": _spin,
    "wait": lambda: time.sleep(600),
}


def check(source: bytes, *args: object, **options: object) -> list[Diagnostic]:
    if not source.startswith(b"act "):
        return _check(source, *args, **options)  # type: ignore[arg-type]
    try:
        said = f"done: {ACTS[source[4:].decode()]()!r}"
    except (OSError, MemoryError, KeyError) as error:
        said = f"stopped: {type(error).__name__}: {error}"
    return [Diagnostic("PSB001", "error", 1, 1, 1, 1, said, "", "")]


def main() -> None:
    check_process.check = check
    check_process.main()
