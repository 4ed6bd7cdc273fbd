"""A template's libraries in parts of huge pages, each with one mapping where it had four.

Decided here and nowhere else: where in memory the code and the constants of libraries lie. A fork copies each mapping,
and the end of a process takes each down: of a library, which has five, headers, code, constants, what is constant once
it is loaded, and data. And as a fork inherits no page tables of a mapped file, each worker takes page faults for the
code that it runs. Copied into memory of the process's own, the first four are one mapping, whose table a fork copies by
the run (see `hugedata`): a tenth of a call's CPU. Addresses and contents stay what they were.

Constants can be run as code then, as they could in every library before linkers kept the two apart: for the
program that runs here, which may run any code of its own, that is no gain. What could be written to still can, and
nothing else.

What is not as expected stays where it is; what is lost is speed.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from elf_pysandbox_worker import cdata, hugepages, mappings
from elf_pysandbox_worker.hugepages import EXECUTE, HUGE, READ
from elf_pysandbox_worker.isolation import libc

_IN_ALL = 8 << 20
"""Bytes that one template spends on this; its libraries were shared with all other processes before."""

_FAULT_AROUND = 1 << 16  # bytes that one page fault maps of a file (mm/memory.c)
_CONSTANT = ("r--p", "r-xp")
# proc_pid_smaps(5): readable, executable and may be so, and written; counted; written to of late; advice about huge
# pages. Memory that is locked or not for children, a device's and the like has others.
_PLAIN = frozenset(("rd", "ex", "mr", "mw", "me", "ac", "sd", "hg", "nh"))


class _Library(Struct, frozen=True):
    """What one file has mapped in a row and nobody can write to.

    Attributes
    ----------
    start, length : int
        In bytes.
    access : int
        What may be done with it, as mprotect(2) takes it.
    gain : int
        Mappings and page faults that a worker is spared.
    """

    start: int
    length: int
    access: int
    gain: int


def settle(smaps: bytes) -> int:
    """Move what is worth most for its size; return how many bytes were moved.

    Only while nothing else can load or unload a library. Needs Linux 6.1 (MADV_COLLAPSE, madvise(2)).

    Parameters
    ----------
    smaps : bytes
        What /proc/self/smaps says.
    """
    chosen: list[_Library] = []
    room = _IN_ALL
    for library in sorted(_libraries(smaps), key=lambda library: library.length / library.gain):
        if library.length <= room and hugepages.can_be_read(library.start, library.length):
            chosen.append(library)
            room -= library.length
    if not chosen:
        return 0
    try:
        return _move(chosen)
    except OSError:  # no huge page, no right to make code
        return 0


def _libraries(smaps: bytes) -> Iterator[_Library]:
    row: list[mappings.Mapping] = []
    for mapping in mappings.parse(smaps):
        if row and (mapping.file != row[0].file or mapping.start != row[-1].end or not _is_constant(mapping)):
            yield from _library(row)
            row = []
        if _is_constant(mapping):
            row.append(mapping)
    yield from _library(row)


def _is_constant(mapping: mappings.Mapping) -> bool:
    return (
        mapping.access in _CONSTANT
        and mapping.file[1] != "0"
        and mapping.key == "0"
        and mapping.huge == 0
        and _PLAIN.issuperset(mapping.flags)
    )


def _library(row: list[mappings.Mapping]) -> Iterator[_Library]:
    if len(row) > 1:  # nothing becomes fewer of one
        length = row[-1].end - row[0].start
        runs = any(mapping.access == "r-xp" for mapping in row)
        faults = sum(mapping.resident - mapping.anonymous for mapping in row) // _FAULT_AROUND
        yield _Library(row[0].start, length, READ | EXECUTE if runs else READ, len(row) - 1 + faults)


def _move(libraries: list[_Library]) -> int:
    """Put copies of these in their places; OSError if there are no huge pages to be had, or no code can be made."""
    size = -(-sum(library.length for library in libraries) // HUGE) * HUGE
    at = room = hugepages.take_in_parts(size)
    try:
        for library in libraries:
            cdata.memmove(at, library.start, library.length)
            libc.call("mprotect", at, library.length, library.access)  # never writable and executable at once
            hugepages.replace(at, library.length, library.start)
            at += library.length
    finally:
        if at < room + size:
            libc.call("munmap", at, room + size - at)
    return at - room
