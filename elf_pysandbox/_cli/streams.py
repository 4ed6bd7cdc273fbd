"""The three standard streams: closed, full, not blocking, and what Ctrl-C leaves on them.

Imported before everything else, and thus imports next to nothing: Ctrl-C may come at any moment from here on.
"""

from __future__ import annotations

import io
import os
import sys

from elf_pysandbox._cli.exits import INTERRUPTED, USAGE

TYPE_CHECKING = False  # as in `elf_pysandbox`: `typing` is yet to be imported
if TYPE_CHECKING:
    from typing import Any, NoReturn

CANCELLED = '{"status": "cancelled", "value": null, "error": {"type": "CallCancelledError", "message": "interrupted"}}'
"""What is printed for programs when Ctrl-C ended the command before it had anything to print."""


def end_interrupted(*, as_json: bool) -> NoReturn:
    """Say that Ctrl-C ended the command, and end with the exit code that a shell expects."""
    stream, told = (sys.stdout, CANCELLED) if as_json else (sys.stderr, "interrupted")
    try:
        if stream is not None:
            print(told, file=stream, flush=True)
    except OSError:
        give_up_full()
    sys.exit(INTERRUPTED)


def give_up_full() -> None:
    """Send what a standard stream cannot take nowhere: else the interpreter fails on it again at its end, with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def open_closed() -> None:
    """Put `/dev/null` in the place of closed streams; end with a usage error where standard output is one of them.

    Else the first file or socket that is opened takes its number, and gets what is written to the stream.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest number that is free is this one.
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        print("error: standard output is closed; to do without it: >/dev/null", file=sys.stderr)
        sys.exit(USAGE)


class _Patient(io.RawIOBase):
    """A descriptor to write to, which may be one that does not block: then whoever writes waits for room."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:
                import select

                room = select.poll()
                room.register(self._number, select.POLLOUT)
                room.poll()


def write_whole() -> None:
    """Have what is written to standard output and error arrive whole, whatever the surroundings made of them.

    Without a buffer (`PYTHONUNBUFFERED`) a text stream takes a write of a part for one of the whole; a descriptor that
    does not block, as programs around event loops hand on, fails where its reader is slow.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            number = stream.fileno()
            is_sound = isinstance(stream.buffer, io.BufferedWriter) and os.get_blocking(number)
        except (AttributeError, OSError, ValueError):
            continue  # a stand-in of the program's own
        if not is_sound:
            stream.flush()
            patient = io.BufferedWriter(_Patient(number))
            setattr(sys, name, io.TextIOWrapper(patient, stream.encoding, stream.errors, line_buffering=True))
