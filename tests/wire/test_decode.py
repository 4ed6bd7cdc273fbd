"""Messages from a confined side: typed, of the right channel, small where nothing else bounds them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from elf_pysandbox_worker.wire import decode, messages
from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.messages import encode
from elf_pysandbox_worker.wire.values import pack

RAW = msgspec.Raw(pack((1, "x"), max_bytes=100).data)
USAGE = messages.UsageData(1.5, 2.5)
ERROR = messages.ErrorData("ValueError", "builtins", "no", ["note"], [messages.FrameData("f", 1, "g", "h")])


@pytest.mark.parametrize(
    "message",
    [
        messages.Ready(),
        messages.Output(1, "text"),
        messages.Result(7, RAW, USAGE),
        messages.Failure(7, "raised", ERROR, USAGE),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_worker_says_what_a_worker_may_say(message: Any) -> None:
    found = decode.decode_from_worker(encode(message))
    assert type(found) is type(message)
    assert encode(found) == encode(message)


@pytest.mark.parametrize(
    ("door", "payload"),
    [
        (decode.decode_from_worker, b""),
        (decode.decode_from_worker, encode(messages.Loaded(0.1))),
        (decode.decode_from_worker, encode(messages.Target(3))),
        (decode.decode_from_template, encode(messages.Ready())),
        (decode.decode_from_keeper, encode(messages.Loaded(0.1))),
        (decode.decode_from_worker, encode(messages.Ready()) + b"\xc0"),
        (decode.decode_from_worker, encode(["result"])),
        (decode.decode_from_worker, encode(["result", "7", None, [0.0, 0.0]])),
        (decode.decode_from_worker, encode({"type": "ready"})),
        (decode.decode_from_worker, b"\x93\xa6output\x01\xa2\xff\xff"),
        (decode.decode_from_worker, b"\x91" * 1_000_000),
        (decode.decode_from_worker, b"\x94\xa6result\x01" + b"\x91" * 5_000_000),
        (decode.decode_from_worker, b"\xdd\xff\xff\xff\xff"),
        (decode.decode_from_worker, b"\x94\xa6result\x01\xc9\xff\xff\xff\xff\x07"),
    ],
    ids=[
        "nothing",
        "a template's message",
        "a host's message",
        "a worker's message from a template",
        "a template's message from a keeper",
        "trailing bytes",
        "too few parts",
        "a part of another type",
        "a map",
        "invalid utf-8",
        "deep nesting",
        "a value nested for ever",
        "huge declared array",
        "huge declared value",
    ],
)
def test_anything_else_is_a_wire_error(door: Any, payload: bytes) -> None:
    with pytest.raises(WireError):
        door(payload)


def test_an_error_of_many_small_records_is_refused_before_they_exist() -> None:
    frames = [messages.FrameData("", 0, "", "")] * 200_000
    error = messages.ErrorData("E", "m", "", [], frames)
    with pytest.raises(WireError):
        decode.decode_from_worker(encode(messages.Failure(1, "raised", error, USAGE)))
    with pytest.raises(WireError, match="over the cap"):
        decode.decode_from_template(encode(messages.LoadFailed("load_failed", error)))


def test_a_large_result_and_large_output_pass() -> None:
    value = msgspec.Raw(pack("x" * 1_000_000, max_bytes=2_000_000).data)
    assert decode.decode_from_worker(encode(messages.Result(1, value, USAGE)))
    assert decode.decode_from_worker(encode(messages.Output(1, "x" * 1_000_000)))


@pytest.mark.parametrize("door", ["worker", "template"])
def test_a_chain_of_causes_deeper_than_a_stack_is_a_wire_error(door: str) -> None:
    def payload(causes: int) -> bytes:
        # Written by hand: the encoder's own recursion ends earlier than a decoder's may.
        error = b"\x97\xa1E\xa8builtins\xa0\x90\x90" * (causes + 1) + b"\xc0\x90" + b"\x90" * causes
        if door == "worker":
            return b"\x95\xa7failure\x01\xa6raised" + error + encode(USAGE)
        return b"\x93\xabload_failed\xabload_failed" + error

    decoded = decode.decode_from_worker if door == "worker" else decode.decode_from_template
    assert decoded(payload(decode.MAX_CAUSES))
    for causes in (decode.MAX_CAUSES + 1, 900, 2_000, 20_000):
        with pytest.raises(WireError):
            decoded(payload(causes))
