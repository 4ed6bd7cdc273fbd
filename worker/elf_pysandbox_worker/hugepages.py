"""Huge pages, taken from the kernel: for what `hugetext`, `hugelibs` and `hugedata` put in them.

Decided here and nowhere else: how memory is asked for of which it is sure that the kernel has it in huge pages, and how
it takes the place of other memory.
"""

from __future__ import annotations

from elf_pysandbox_worker.isolation import libc

PAGE, HUGE = 1 << 12, 1 << 21
READ, WRITE, EXECUTE = 1, 2, 4
MAP_PRIVATE_ANONYMOUS = 0x02 | 0x20
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
_MADV_HUGEPAGE, _MADV_NOHUGEPAGE, _MADV_COLLAPSE = 14, 15, 25
_MADV_POPULATE_READ, _MADV_POPULATE_WRITE = 22, 23


def take(length: int) -> int:
    """Return the address of new memory, zeroed, readable and writable, all of it in huge pages.

    Needs Linux 6.1 (MADV_COLLAPSE, madvise(2)).

    Parameters
    ----------
    length : int
        In bytes, a multiple of `HUGE`.

    Raises
    ------
    OSError
        There are none to be had.
    """
    # Huge pages lie at multiples of their size: somewhere in this room there is one.
    room = libc.call("mmap", 0, length + HUGE, READ | WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0)
    start = -(-room // HUGE) * HUGE
    for low, high in ((room, start), (start + length, room + length + HUGE)):
        if low < high:
            libc.call("munmap", low, high - low)
    try:
        libc.call(
            "madvise", start, length, _MADV_HUGEPAGE
        )  # so that the first touch takes huge pages already
        libc.call("madvise", start, length, _MADV_POPULATE_WRITE)
        libc.call("madvise", start, length, _MADV_COLLAPSE)
    except OSError:
        libc.call("munmap", start, length)
        raise
    return start


def take_in_parts(length: int) -> int:
    """Return what `take` does, to be mapped by small pages whenever a piece of it is moved or protected.

    A fork copies the table of these by the run, and a write copies a small page without splitting anything first.
    """
    start = take(length)
    libc.call("madvise", start, length, _MADV_NOHUGEPAGE)  # nor shall the kernel map them whole later on
    return start


def can_be_read(start: int, length: int) -> bool:
    """Whether all of this memory can be read without a signal; neither a guard can nor what a file has lost."""
    try:
        libc.call("madvise", start, length, _MADV_POPULATE_READ)
    except OSError:
        return False
    return True


def replace(start: int, length: int, place: int) -> None:
    """Move memory to where other memory is, in one step; raises OSError.

    Code that another thread runs is there before and after, and the kernel lets it wait meanwhile.
    """
    libc.call("mremap", start, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, place)
