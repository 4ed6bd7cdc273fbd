"""The interpreter's code in huge pages: no fork need map it piece by piece again.

Decided here and nowhere else: where in memory the code of this process lies. A fork inherits no page tables of a
mapped file, so each worker takes some thirty page faults for the code and the constants of the interpreter, and takes
down the five hundred pages that these brought when it ends: an eighth of its CPU time. Copied once into anonymous huge
pages, all of it is two entries that a fork copies along. Addresses and contents stay what they were.

What is not as expected stays where it is; what is lost is speed.
"""

from __future__ import annotations

import struct

from elf_pysandbox_worker import cdata, hugepages
from elf_pysandbox_worker.hugepages import EXECUTE, HUGE, PAGE, READ
from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.syscalls import MACHINE

# elf(5): what of the file header tells where the program headers are, and a program header of 64 bits.
_ELF_64 = b"\x7fELF\x02"
_HEADERS = struct.Struct("=32xQ14xHH")  # offset, size of one, number
_HEADER = struct.Struct("=II8xQ8x8xQ8x")  # type, flags, address, size in memory
_LOADED, _WRITABLE, _READABLE = 1, 2, 4


class _SymbolInfo(cdata.Structure):
    """`Dl_info`, dladdr(3)."""

    _fields_ = (
        ("file", cdata.c_char_p),
        ("base", cdata.c_void_p),
        ("symbol", cdata.c_char_p),
        ("address", cdata.c_void_p),
    )


_tried = False  # in this process, or the one that it was forked from


def settle() -> int:
    """Move the interpreter's code into huge pages, as far as whole ones fit; return how many bytes were moved.

    Tried once: by the zygote as soon as no program's first call waits for it, for all templates to come; by those that
    were forked before, for themselves. Needs Linux 6.1 (MADV_COLLAPSE, madvise(2)).
    """
    global _tried
    # Elsewhere the caches of instructions and data must be told of each other.
    if _tried or MACHINE != "x86_64":
        return 0
    _tried = True
    try:
        start, end = _code()
        start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
        if start >= end:
            return 0
        _move(start, end - start)
    except Exception:  # no huge page, no right to make code, a C library without dladdr
        return 0
    return end - start


def _code() -> tuple[int, int]:
    """Return where the interpreter's code and constants lie: the segments of its file before the first writable one."""
    info = _SymbolInfo()
    if not cdata.CDLL(None).dladdr(cdata.pythonapi.Py_GetVersion, cdata.byref(info)) or not info.base:
        return 0, 0
    head = cdata.string_at(info.base, _HEADERS.size)
    offset, size, number = _HEADERS.unpack(head)
    # A tool that rewrites such files may have moved the table to where no memory has it: only the first page surely is.
    if not head.startswith(_ELF_64) or size != _HEADER.size or offset + size * number > PAGE:
        return 0, 0
    table = cdata.string_at(info.base + offset, size * number)
    first, end = -1, 0  # as the file has them
    for at in range(0, len(table), size):
        kind, flags, address, length = _HEADER.unpack_from(table, at)
        if kind != _LOADED:
            continue
        low = address // PAGE * PAGE
        if first < 0:
            first = end = low
        if flags & (_WRITABLE | _READABLE) != _READABLE or low != end:
            break
        end = -(-(address + length) // PAGE) * PAGE
    return info.base, info.base + end - first


def _move(start: int, length: int) -> None:
    """Put a copy of this part of memory in its place, in huge pages; raises OSError if there are none to be had."""
    copy = hugepages.take(length)
    try:
        cdata.memmove(copy, start, length)
        libc.call("mprotect", copy, length, READ | EXECUTE)  # never writable and executable at once
        hugepages.replace(copy, length, start)
    except OSError:
        libc.call("munmap", copy, length)
        raise
