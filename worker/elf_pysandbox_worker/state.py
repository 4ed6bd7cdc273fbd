"""What may be said when, on each channel: states and transitions. Sans-I/O; does not know its side.

Rules of these tables
---------------------
- A channel is in one state; saying or hearing a message moves it to another, as the table says.
- A transition that is absent is a protocol error: `advance` raises `WireError` and the state is left as it was.
- Both ends keep their own copy and move it alike, so each can hold the other to the table; the host never relies on
  the confined side doing so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.messages import (
    Blank,
    Call,
    Ended,
    Failure,
    Inquire,
    Item,
    Load,
    Loaded,
    LoadFailed,
    Output,
    Prepare,
    Ready,
    Refused,
    Result,
    Started,
    Stock,
    Target,
    WorkerEnded,
)

CONFINING, BLANK, LOADING, SERVING, ENDED = "confining", "blank", "loading", "serving", "ended"
STARTING, IDLE, RUNNING = "starting", "idle", "running"

Table = Mapping[tuple[str, type[msgspec.Struct]], str]

KEEPER: Final[Table] = {
    (STARTING, Started): RUNNING,
    (STARTING, Refused): ENDED,
    (RUNNING, Ended): ENDED,
}
"""Keeper to host; the host says nothing on this channel."""

TEMPLATE_SAYS: Final[Table] = {
    (CONFINING, Blank): BLANK,
    (CONFINING, Refused): ENDED,
    (BLANK, Loaded): SERVING,
    (BLANK, LoadFailed): ENDED,
    (SERVING, WorkerEnded): SERVING,
}
"""Template to host. What the host says crosses it on the way, so each direction has a table of its own."""

TEMPLATE_HEARS: Final[Table] = {
    (BLANK, Prepare): BLANK,
    (BLANK, Load): SERVING,
    (SERVING, Stock): SERVING,
    (SERVING, Target): SERVING,
    (SERVING, Inquire): SERVING,
}
"""Host to template, which reads nothing before it is confined."""

WORKER: Final[Table] = {
    (STARTING, Ready): IDLE,
    (IDLE, Call): RUNNING,
    (RUNNING, Output): RUNNING,
    (RUNNING, Item): RUNNING,
    (RUNNING, Result): IDLE,
    (RUNNING, Failure): IDLE,
}
"""Host and worker; with one call a worker, `IDLE` after a result is followed by the end of file."""


def advance(table: Table, state: str, message: msgspec.Struct) -> str:
    """Return the state after `message`.

    Raises
    ------
    WireError
        The message has no place in this state.
    """
    try:
        return table[state, type(message)]
    except KeyError:
        raise WireError(f"{type(message).__name__} is out of order: the channel is {state}") from None
