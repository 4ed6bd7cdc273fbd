"""Frames as two ends in memory: whole, byte by byte, in odd steps, received in place, then garbage."""

from __future__ import annotations

import ctypes
import struct

import pytest

from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, frame, parse_single

CAPS = FrameCaps(payload=1000, total=200_000, buffers=8)
FRAMES: list[tuple[bytes, list[bytes | bytearray]]] = [
    (b"payload", [b"abc", bytearray(b"d" * 70_000), b"", bytearray()]),
    (b"", []),
    (b"single", []),
    (b"", [b"x" * 100_000]),
]


def stream(frames: list[tuple[bytes, list[bytes | bytearray]]] = FRAMES) -> bytes:
    return b"".join(bytes(piece) for payload, buffers in frames for piece in frame(payload, buffers))


def collect(reader: FrameReader) -> list[tuple[bytes, list[bytes | bytearray]]]:
    found = []
    while (one := reader.next()) is not None:
        found.append(one)
    return found


def copy_into(room: memoryview, data: bytes) -> int:
    count = min(len(room), len(data))
    room[:count] = data[:count]
    return count


def receive(data: bytes, in_place: bool) -> list[tuple[bytes, list[bytes | bytearray]]]:
    """Drain `data` as a socket that hands out exactly what is asked for (MSG_WAITALL)."""
    reader, found, start = FrameReader(CAPS), [], 0
    while start < len(data):
        count = reader.fill(lambda room: copy_into(room, data[start:])) if in_place else None  # noqa: B023
        if count is None:
            count = reader.want()
            assert count > 0
            reader.feed(data[start : start + count])
        start += count
        found += collect(reader)
    reader.eof()
    return found


@pytest.mark.parametrize("step", [1, 2, 7, 8, 1000, 65_536, 10_000_000])
def test_frames_come_out_equal_however_the_stream_is_cut(step: int) -> None:
    reader, found, data = FrameReader(CAPS), [], stream()
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        found += collect(reader)
    reader.eof()
    assert found == FRAMES
    assert [[type(b) for b in buffers] for _, buffers in found] == [[type(b) for b in f[1]] for f in FRAMES]


@pytest.mark.parametrize("in_place", [True, False])
def test_a_receiver_that_takes_exactly_what_is_wanted_gets_equal_frames(in_place: bool) -> None:
    assert receive(stream(), in_place) == FRAMES


@pytest.mark.parametrize("first", [0, 1, 60_000])
def test_a_read_only_buffer_is_received_into_the_very_bytes_handed_out(first: int) -> None:
    whole = b"x" * 100_000
    head = bytes(frame(b"", [whole])[0])
    reader = FrameReader(CAPS)
    reader.feed(head + whole[:first])
    assert reader.next() is None
    places = []

    def fill(room: memoryview) -> int:
        places.append(ctypes.addressof(ctypes.c_char.from_buffer(room)))
        return copy_into(room, whole[first:])

    assert reader.fill(fill) == len(whole) - first
    result = reader.next()
    assert result is not None
    received = result[1][0]
    assert received == whole
    assert type(received) is bytes
    assert places[0] == id(received) + bytes.__basicsize__ - 1 + first


def test_the_sender_does_not_copy_buffers() -> None:
    whole = memoryview(bytearray(100_000))
    assert frame(b"p", [whole])[1] is whole


def test_a_writable_buffer_arrives_writable_and_a_read_only_one_as_bytes() -> None:
    data = b"".join(map(bytes, frame(b"", [memoryview(bytearray(b"w")), memoryview(b"r")])))
    reader = FrameReader(CAPS)
    reader.feed(data)
    assert reader.next() == (b"", [bytearray(b"w"), b"r"])


def test_parse_single_takes_exactly_one_whole_frame_without_buffers() -> None:
    (single,) = frame(b"payload")
    assert parse_single(bytes(single)) == b"payload"
    assert parse_single(bytes(frame(b"")[0])) == b""
    for other in (b"", bytes(single)[:-1], bytes(single) + b"x", single[:7], stream([(b"p", [b"b"])])):
        assert parse_single(bytes(other)) is None


def test_parse_single_ignores_frames_with_reserved_bits() -> None:
    assert parse_single(struct.pack("<IHH", 1, 0, 1) + b"x") is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack("<IHH", 1001, 0, 0), "over the caps"),
        (struct.pack("<IHH", 0xFFFF_FFFF, 0, 0), "over the caps"),
        (struct.pack("<IHH", 0, 9, 0), "over the caps"),
        (struct.pack("<IHH", 0, 0, 1), "reserved bits"),
        (struct.pack("<IHHQ", 0, 1, 0, 200_001), "is over the cap of 200000"),
        (struct.pack("<IHHQ", 0, 1, 0, (1 << 64) - 1), "is over the cap of 200000"),
        (struct.pack("<IHHQQ", 0, 2, 0, 150_000, 150_000), "is over the cap of 200000"),
    ],
    ids=["payload", "huge payload", "count", "reserved", "total", "huge buffer", "sum"],
)
def test_a_header_over_the_caps_is_refused_before_its_bytes_come(data: bytes, reason: str) -> None:
    reader = FrameReader(CAPS)
    reader.feed(data)
    with pytest.raises(WireError, match=reason):
        reader.next()
    with pytest.raises(WireError, match=reason):
        reader.next()


def test_the_end_of_file_inside_a_frame_is_an_error_at_every_place_but_the_boundaries() -> None:
    data, ends = stream([(b"ab", [b"cd", bytearray(b"ef")]), (b"gh", [])]), set()
    for cut in range(len(data) + 1):
        reader = FrameReader(CAPS)
        reader.feed(data[:cut])
        collect(reader)
        try:
            reader.eof()
        except WireError:
            continue
        ends.add(cut)
    assert ends == {0, len(data) - 10, len(data)}


def test_a_frame_that_cannot_be_written_is_refused_by_the_sender() -> None:
    with pytest.raises(WireError, match="1024 buffers"):
        frame(b"", [b"x"] * 1024)
