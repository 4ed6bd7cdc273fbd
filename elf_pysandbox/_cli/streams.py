"""The three standard streams: closed, full, and what Ctrl-C leaves on them.

Imported before everything else, and thus imports next to nothing: Ctrl-C may come at any moment from here on.
"""

from __future__ import annotations

import os
import sys

from elf_pysandbox._cli.exits import INTERRUPTED, USAGE

TYPE_CHECKING = False  # as in `elf_pysandbox`: `typing` is yet to be imported
if TYPE_CHECKING:
    from typing import NoReturn

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
