"""Exit codes of the commands that make calls: part of the interface, never renumbered."""

from __future__ import annotations

EXIT_OF_STATUS = {
    "ok": 0,
    "raised": 1,
    "denied": 3,
    "invalid_arguments": 4,
    "not_found": 5,
    "load_failed": 5,
    "bad_result": 6,
    "output_limit": 6,
    "timeout": 124,
    "cpu_limit": 124,
    "fault": 125,
    "rejected": 125,
    "cancelled": 130,
    "memory_limit": 137,
    "killed": 137,
    "crashed": 137,
}
USAGE = 2
UNUSABLE = 6
"""The result or the output cannot be used, and the tool has run."""

INTERRUPTED = 130
READER_GONE = 141
"""As a shell shows a program that SIGPIPE ended: not 1, which says that the tool raised."""

_CALLED = "elf_pysandbox.called"
"""In the context: that the command has begun to make calls."""


def calling() -> None:
    """Note that calls are made from here on: an output that cannot be written is no slip of the command line then."""
    import click  # Whatever ends before that is there has an exit code, too.

    click.get_current_context().meta[_CALLED] = True


def unwritten() -> int:
    """Return the exit code of an output that cannot be written, by whether a tool may have run."""
    import click

    return UNUSABLE if click.get_current_context().meta.get(_CALLED) else USAGE
