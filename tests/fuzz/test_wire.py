"""The invariant of the wire under mutated bytes.

Whatever bytes come, the result is a frame, message or value, or a `WireError`; never another exception, never
more memory than the caps allow, never more time than the size explains. Deterministic: the seed is fixed and
the number of rounds bounded; ``PYSANDBOX_FUZZ_SECONDS`` makes a long run with a fresh seed, which it prints.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import itertools
import os
import pathlib
import random
import time
import tracemalloc
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from elf_pysandbox_worker.wire import decode, frames, messages, tags
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, parse_single
from elf_pysandbox_worker.wire.values import Caps, Record, WireError, pack, unpack

SECONDS = float(os.environ.get("PYSANDBOX_FUZZ_SECONDS", "0"))
ROUNDS = 4_000
CAPS = Caps(memory_base=4 << 20, memory_per_byte=48)
OVERHEAD = 8 << 20  # decoders, error texts, caches that fill once

VALUES: list[Any] = [
    None,
    [1, -40, 2.5, "text", True, {"a": [{"b": None}]}],
    ((1, "a"), {"k": [1, 2]}),
    {"rows": [(1, "a", None), (2, "b", 1.5)], 3: {4, 5}, (6, "t"): frozenset({b"7"})},
    [datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), datetime.time(1, 2), datetime.date.min],
    [datetime.timezone(datetime.timedelta(hours=1), "x"), datetime.timedelta(3, 4, 5)],
    [decimal.Decimal("-1.50"), fractions.Fraction(3, 7), uuid.UUID(int=5), pathlib.Path("/a/b"), 10**40, 1j],
    [range(5), slice(1, None, (2,)), ..., bytearray(b"ab"), "\ud800"],
    Record("Point", "m", "dataclass", {"x": 1, "y": [Record("E", "m", "enum", {"name": "A", "value": 2})]}),
    [np.arange(6.0).reshape(2, 3), np.float32(1), np.zeros(2, [("a", "<i4"), ("b", "S3")])],
    [bytes(70_000), {"a": np.zeros(10_000)}, bytearray(70_000)],
    pd.DataFrame({"i": [1, 2], "s": ["a", None], "c": pd.Categorical(["x", "y"]), "o": [(1,), {}]}),
    pd.Series([1, None], dtype="Int64", index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    [pd.Timestamp("2020-01-01", tz="UTC"), pd.NaT, pd.date_range("2020", periods=4, freq="h", tz="UTC")],
    [[[[[[[[[[(1,)]]]]]]]]] * 1],
]
MESSAGES: list[Any] = [
    messages.Ready(),
    messages.Output(1, "text"),
    messages.Item(msgspec.Raw(b"\x01")),
    messages.Result(1, msgspec.Raw(pack([1, (2,)], max_bytes=100).data), messages.UsageData()),
    messages.Failure(
        1,
        "raised",
        messages.ErrorData("E", "m", "x", ["n"], [messages.FrameData("f", 1, "g")]),
        messages.UsageData(),
    ),
    messages.LoadFailed("load_failed", messages.ErrorData("E", "m", "x")),
    messages.Refused("layer", "reason", "remedy"),
]
# Bytes that mean something: heads of every kind of item, the codes of the tags, edges of lengths.
TELLING = bytes([*range(0x80, 0x94), *range(0xC0, 0xE1), 0x00, 0x7F, 0xFF, *range(1, 56)])


def mutate(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return `data` with a few bytes changed, dropped, doubled or taken from elsewhere."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(out) + 1)
        end = min(len(out), at + chance.choice((1, 1, 2, 4, 16, 200)))
        action = chance.randrange(7)
        if action == 0 and at < len(out):
            out[at] = chance.choice(TELLING)
        elif action == 1 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif action == 2:
            del out[at:end]
        elif action == 3:
            out[at:at] = bytes(chance.choices(TELLING, k=chance.choice((1, 2, 5, 40))))
        elif action == 4:
            out[at:at] = out[at:end] * chance.choice((1, 2, 30))
        elif action == 5:
            donor = chance.choice(others)
            start = chance.randrange(len(donor) + 1)
            out[at:end] = donor[start : start + chance.choice((1, 4, 16, 200))]
        else:
            out[at:at] = bytes([chance.choice(TELLING)]) * chance.choice((3, 100, 5000))
    return bytes(out)


def rounds(rounds: int = ROUNDS) -> Iterator[random.Random]:
    """Yield a source of chance for each round; of a fixed seed unless a long run was asked for."""
    seed = random.SystemRandom().randrange(1 << 32) if SECONDS else 20_24
    print(f"seed {seed}")
    end = time.monotonic() + SECONDS
    for number in itertools.count() if SECONDS else range(rounds):
        if SECONDS and time.monotonic() > end:
            return
        yield random.Random(seed * 1_000_003 + number)


def printed(value: object) -> str:
    """Return the `repr` of a value, which must neither recurse too deep nor take too much."""
    try:
        return repr(value)
    except (ValueError, NotImplementedError):  # ints of too many digits, Timestamps beyond the year 9999
        return ""


def held(attempt: Callable[[], Any], size: int, what: object) -> Any:
    """Run one attempt under the invariant; return its result or None."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    start = time.process_time()
    try:
        result = attempt()
    except WireError:
        result = None
    # What the scan allows, what tags are charged, and copies of the message itself.
    allowed = 2 * CAPS.allowed(size) + 8 * size + OVERHEAD
    assert tracemalloc.get_traced_memory()[1] - before < allowed, what
    assert time.process_time() - start < 10 + size / 10_000, what
    return result


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_mutated_values_are_values_or_wire_errors_in_bounded_memory() -> None:
    packed = [pack(value, max_bytes=1 << 20) for value in VALUES]
    datas = [one.data for one in packed]
    accepted = 0
    for chance in rounds():
        index = chance.randrange(len(packed))
        data = mutate(chance, datas[index], datas)
        buffers = [
            bytearray(buffer) if chance.random() < 0.5 else bytes(buffer) for buffer in packed[index].buffers
        ]
        size = len(data) + sum(map(len, buffers))
        value = held(lambda: unpack(data, buffers, caps=CAPS), size, data)  # noqa: B023
        if value is not None:
            accepted += 1
            held(lambda: printed(value), size, data)  # noqa: B023
    assert accepted > 0 or SECONDS


def test_random_bytes_below_every_tag_are_values_or_wire_errors() -> None:
    codes = [code for name, code in vars(tags).items() if name.isupper() and type(code) is int and code < 56]
    for chance in rounds(2_000):
        payload = bytes(chance.choices(TELLING, k=chance.randrange(40)))
        payload = chance.choice((payload, tags.array_head(chance.randrange(6)) + payload))
        data = tags.ext(chance.choice(codes), payload)
        held(lambda: unpack(data, [b"x" * 8], caps=CAPS), len(data), data)  # noqa: B023
        held(lambda: unpack(data, caps=CAPS), len(data), data)  # noqa: B023


def test_mutated_messages_are_messages_or_wire_errors() -> None:
    datas = [messages.encode(message) for message in MESSAGES]
    doors = (decode.decode_from_worker, decode.decode_from_template, decode.decode_from_keeper)
    for chance in rounds():
        data = mutate(chance, chance.choice(datas), datas)
        message = held(lambda: chance.choice(doors)(data), len(data), data)  # noqa: B023
        value = getattr(message, "value", None)
        if value is not None:
            held(lambda: unpack(value, caps=CAPS), len(data), data)  # noqa: B023


def test_mutated_streams_are_frames_or_wire_errors_in_bounded_memory() -> None:
    caps = FrameCaps(payload=1 << 20, total=2 << 20, buffers=64)
    streams = [
        b"".join(map(bytes, frames.frame(one.data, one.buffers)))
        for one in (pack(value, max_bytes=1 << 20) for value in VALUES)
    ]

    def drain(stream: bytes, chance: random.Random) -> None:
        reader = FrameReader(caps)
        parse_single(stream)
        at = 0
        while at < len(stream):
            step = min(len(stream) - at, chance.choice((1, 7, 4096, max(1, reader.want()))))
            piece = stream[at : at + step]

            def copy(room: memoryview, piece: bytes = piece) -> int:
                count = min(len(room), len(piece))
                room[:count] = piece[:count]
                return count

            count = reader.fill(copy) if chance.random() < 0.5 else None
            if count is None:
                reader.feed(piece)
            step = step if count is None else count
            at += step
            while (found := reader.next()) is not None:
                payload, buffers = found
                assert len(payload) + sum(map(len, buffers)) <= caps.total
        reader.eof()

    for chance in rounds(1_000):
        whole = chance.choice(streams) + chance.choice(streams[:3])
        head, tail = whole[:400], whole[400:]
        data = mutate(chance, head, streams) + tail
        held(lambda: drain(data, chance), len(data), data[:400])  # noqa: B023
