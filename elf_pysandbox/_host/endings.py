"""How a flight ended, before anything in it is decoded, and the limits the host itself holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from elf_pysandbox_worker.wire.messages import ErrorData, LayerReport, Refused, UsageData

Packed = tuple[bytes, Sequence[bytes | bytearray]]
"""A packed value and its out-of-band buffers."""


class HostLimits(NamedTuple):
    """The limits of a call that the host holds; see `elf_pysandbox.Limits` for units."""

    wall_s: float
    cpu_s: float
    queue_s: float
    load_s: float
    output_bytes: int
    result_bytes: int


class Ending(msgspec.Struct):
    """One call's end, as sealed bytes and counts.

    Attributes
    ----------
    status : str
    message : str
        What happened, in one sentence, when no exception of the tool tells it.
    value : Packed or None
    generator, items : bool, list of Packed
        Whether the tool was a generator whose items nobody took as events, and those items.
    error : ErrorData or None
    output : dict of int to list of str
        Stream number -> pieces of text.
    """

    status: str
    message: str = ""
    value: Packed | None = None
    items: list[Packed] = []
    generator: bool = False
    error: ErrorData | None = None
    refused: Refused | None = None
    output: dict[int, list[str]] = {}
    usage: UsageData = msgspec.field(default_factory=UsageData)
    wall_s: float = 0.0
    queue_s: float = 0.0
    load_s: float = 0.0
    layers: Sequence[LayerReport] = ()
