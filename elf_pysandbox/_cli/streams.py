"""The three standard streams: closed, or full."""

from __future__ import annotations

import os
import sys

from elf_pysandbox._cli.exits import USAGE


def give_up_stdout() -> None:
    """Send what standard output cannot take nowhere: else the interpreter fails on it again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
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
