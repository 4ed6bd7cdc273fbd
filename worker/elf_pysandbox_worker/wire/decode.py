"""Payload to message, for each channel and direction: a message or a `WireError`, nothing else.

Decided here and nowhere else: what a peer may say, by its place, and how large the messages may be whose
size nothing else bounds. Values inside messages stay packed (`msgspec.Raw`): skipped over, not built.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.messages import (
    ErrorData,
    Failure,
    FromKeeper,
    FromTemplate,
    FromWorker,
    Item,
    LoadFailed,
    Output,
    Result,
)

MAX_REPORT_BYTES: Final = 256 << 10
"""Largest payload of a confined side's message other than `Output`, `Item` and `Result`.

Errors are lists of small records: the smallest takes 5 bytes on the wire and 150 as objects, so the payload
must be small where the objects are to be. The senders cut messages, notes and tracebacks to fit.
"""

MAX_CAUSES: Final = 64
"""Most exceptions in one chain of causes. Senders tell fewer, and each is a level of the stack of who walks it."""

_T = TypeVar("_T")

_from_worker: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(FromWorker)
_from_worker_large: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Output | Item | Result)
_from_template: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(FromTemplate)
_from_keeper: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(FromKeeper)


def _decode(decoder: msgspec.msgpack.Decoder[_T], payload: bytes) -> _T:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise WireError(f"no valid message: {type(error).__name__}: {str(error)[:200]}") from None


def _report(decoder: msgspec.msgpack.Decoder[_T], payload: bytes) -> _T:
    if len(payload) > MAX_REPORT_BYTES:
        raise WireError(f"message of {len(payload)} bytes is over the cap of {MAX_REPORT_BYTES}")
    return _decode(decoder, payload)


def decode_from_worker(payload: bytes) -> FromWorker:
    """Decode what a worker sent; hostile bytes end as `WireError`."""
    large = len(payload) > MAX_REPORT_BYTES
    message: FromWorker = _decode(_from_worker_large if large else _from_worker, payload)
    if isinstance(message, Failure):
        _check_causes(message.error)
    return message


def decode_from_template(payload: bytes) -> FromTemplate:
    """Decode what a template sent; hostile bytes end as `WireError`."""
    message: FromTemplate = _report(_from_template, payload)
    if isinstance(message, LoadFailed):
        _check_causes(message.error)
    return message


def _check_causes(error: ErrorData) -> None:
    cause, count = error.cause, 0
    while cause is not None:
        cause, count = cause.cause, count + 1
    if count > MAX_CAUSES:
        raise WireError(f"an error with {count} causes")


def decode_from_keeper(payload: bytes) -> FromKeeper:
    """Decode what a keeper sent."""
    message: FromKeeper = _report(_from_keeper, payload)
    return message
