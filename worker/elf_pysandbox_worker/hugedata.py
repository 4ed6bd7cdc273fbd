"""The data of a template in parts of huge pages: a fork copies their table by the run, not by the page.

Decided here and nowhere else: where in memory the data of a template lie. For each small page, a fork copies an entry
and counts a reference, and the end of the process takes both back: for the two thousand that a template has, a third of
what a worker costs. For neighbours in one huge page Linux 6.9 and later do so for all of them at once, and still copy
only the small page that is written to.

They are mapped by small pages although they are huge ones: to write to one that is mapped whole, both processes split
it first, which takes what the fork has saved.

What is written to all the time cannot be copied by Python, as each of its lines writes there. So the copy, and its
taking the place of what it is one of, are C functions that makecontext(3) has return into each other, where nothing
else can run: no second thread, no handler of a signal, no function that a tool has called for each line. Addresses and
contents stay what they were.

What is not as expected stays where it is; what is lost is speed.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import gc
import os
from collections.abc import Iterator
from typing import Any

from elf_pysandbox_worker import alone, cdata, hugelibs, hugepages, mappings
from elf_pysandbox_worker.hugepages import HUGE, MREMAP_FIXED, MREMAP_MAYMOVE, PAGE, READ, WRITE
from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.syscalls import MACHINE
from elf_pysandbox_worker.ownfiles import OwnFile

_FIRST_KERNEL = (6, 9)
_AT_ONCE = 8 << 20  # bytes: some 5 ms in which a template does nothing else
_MOST = 64 << 20  # bytes of one mapping: what is larger has been given huge pages already, or is left alone
_ROUNDS = 64  # at most; what is mapped may change under way
_PIECES = 128  # moved at once, at most: each needs two stacks
# proc_pid_smaps(5): readable, writable and may be so; counted; written to of late; advice about huge pages. Memory that
# is locked, not for children or wiped in them, a stack, a device's, has others, which a copy would lose.
_PLAIN = frozenset(("rd", "wr", "mr", "mw", "me", "ac", "sd", "hg", "nh"))
_ARCH_SHSTK_STATUS = 0x5005
_CONTEXT = 4 * PAGE  # a `ucontext_t`, less than a page, and a stack

# Found now: to look for one is an event that a tool may listen to.
_c = cdata.CDLL(None)
_memcpy, _mremap, _munmap = _c.memcpy, _c.mremap, _c.munmap
_getcontext: Any = getattr(_c, "getcontext", None)
_makecontext: Any = getattr(_c, "makecontext", None)
_swapcontext: Any = getattr(_c, "swapcontext", None)


class _Context(cdata.Structure):
    """The head of `ucontext_t` as the GNU C library has it, where getcontext(3) leaves the rest as it should be."""

    _fields_ = (
        ("flags", cdata.c_ulong),
        ("link", cdata.c_void_p),
        ("stack", cdata.c_void_p),
        ("stack_flags", cdata.c_int),
        ("stack_size", cdata.c_size_t),
    )


class Data:
    """The data of this process, to be moved piece by piece.

    Parameters
    ----------
    files : list of OwnFile
        Of `ownfiles.opened`.

    Attributes
    ----------
    moved : int
        Bytes that have been moved.
    """

    def __init__(self, files: list[OwnFile]) -> None:
        self.moved = 0
        self._seen: set[int] = set()  # addresses of what has been moved, or cannot be
        self._rounds = _ROUNDS
        self._files = files
        if not _is_of_use():
            self.close()

    def close(self) -> None:
        """Let go of the files; nothing is moved any more."""
        while self._files:
            self._files.pop().close()

    def settle_some(self) -> bool:
        """Move the next few megabytes; return whether there may be more.

        Any code may have run in this process before, and threads of it may still: then nothing is moved.
        """
        if not self._files:
            return False
        collecting = gc.isenabled()
        # Whatever runs in between may write to what has been copied, or let go of it; a signal that is pending keeps
        # the kernel from finding huge pages.
        gc.disable()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            more = self._is_alone() and self._settle_some()
        except BaseException:  # no huge page, no memory, a descriptor closed, an audit function of the tool's
            more = False
        finally:
            if collecting:
                gc.enable()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # last: a handler may raise
        if not more:
            self.close()
        return more

    def _is_alone(self) -> bool:
        return alone.has_one_thread(self._files[0]) and not alone.is_watched()

    def _settle_some(self) -> bool:
        if self._rounds == _ROUNDS:
            hugelibs.settle(self._files[1].read())
        # Held until it is done: to let go of so much may take the end of the heap along, and change what it says.
        smaps = self._files[1].read()
        pieces = self._next(smaps)
        if pieces and self._move(pieces, bytearray(len(smaps))):
            self._seen.update(start for start, _ in pieces)
            self.moved += sum(length for _, length in pieces)
        self._rounds -= 1
        return bool(pieces) and self._rounds > 0

    def _next(self, smaps: bytes) -> list[tuple[int, int]]:
        """Return (address, length in bytes) of what is moved next: whole mappings, as mremap(2) of two is refused."""
        pieces: list[tuple[int, int]] = []
        room = _AT_ONCE
        for start, length in _candidates(smaps):
            if start in self._seen or (pieces and length > room):
                continue
            if not hugepages.can_be_read(start, length):
                self._seen.add(start)
                continue
            pieces.append((start, length))
            room -= length
            if room <= 0 or len(pieces) == _PIECES:
                break
        return pieces

    def _move(self, pieces: list[tuple[int, int]], buffer: bytearray) -> bool:
        """Put copies of these pieces in their places; return whether they were still there.

        Raises OSError if there are no huge pages to be had. The buffer is one for /proc/self/maps.
        """
        size = -(-sum(length for _, length in pieces) // HUGE) * HUGE
        room = at = hugepages.take_in_parts(size)
        steps: list[tuple[object, tuple[int, ...]]] = []
        for start, length in pieces:
            steps.append((_memcpy, (at, start, length)))
            steps.append((_mremap, (at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, start)))
            at += length
        # What could not be moved goes with what is left over, before anything else can be mapped in between.
        steps.append((_munmap, (room, size)))
        contexts, done = None, False
        try:
            contexts = _Row(steps)
            view, length, found, at = memoryview(buffer), 0, 0, 0
            read, maps, swap = os.preadv, self._files[2].checked(), _swapcontext
            here, first = contexts.here, contexts.first
            # From here on nothing is called that is written in Python, and nothing large let go of: with more than 512
            # bytes the C library may give back the end of the heap. The interpreter takes what is smaller from arenas,
            # of which it gives back none that these pieces were.
            while more := read(maps, [view[length:]], length):
                length += more
            while (end := buffer.find(b"\n", at, length)) >= 0:
                line = buffer[at : at + 64].split()  # the path that ends it may be of any length
                if line[1] == b"rw-p":
                    low, _, high = line[0].partition(b"-")
                    for start, bytes_ in pieces:
                        found += int(low, 16) <= start and start + bytes_ <= int(high, 16)
                at = end + 1
            if found == len(pieces):
                swap(here, first)
                done = True
        finally:
            if contexts is not None:
                contexts.close()
            if not done:
                libc.call("munmap", room, size)
        return done


class _Row:
    """C functions that return into each other, each on a stack of its own, and the last one to where it began.

    Attributes
    ----------
    here, first : c_void_p
        Arguments of swapcontext(3), which calls them in a row.
    """

    def __init__(self, steps: list[tuple[object, tuple[int, ...]]]) -> None:
        self._size = _CONTEXT * (len(steps) + 1)
        self._start = libc.call("mmap", 0, self._size, READ | WRITE, hugepages.MAP_PRIVATE_ANONYMOUS, -1, 0)
        for number, (function, arguments) in enumerate(steps, 1):
            place = self._start + number * _CONTEXT
            _getcontext(cdata.c_void_p(place))  # with the signals that are blocked now
            context = _Context.from_address(place)
            context.link = place + _CONTEXT if number < len(steps) else self._start
            context.stack, context.stack_size = place + PAGE, _CONTEXT - PAGE
            address = cdata.cast(function, cdata.c_void_p)  # type: ignore[arg-type]
            words = [cdata.c_ulong(argument) for argument in arguments]
            _makecontext(cdata.c_void_p(place), address, len(words), *words)
        self.here, self.first = cdata.c_void_p(self._start), cdata.c_void_p(self._start + _CONTEXT)

    def close(self) -> None:
        """Let go of their stacks."""
        libc.call("munmap", self._start, self._size)


def _is_of_use() -> bool:
    if MACHINE != "x86_64" or _swapcontext is None:  # the C library is another one
        return False
    try:
        major, minor = os.uname().release.split(".")[:2]
        return (int(major), int(minor)) >= _FIRST_KERNEL and not _has_shadow_stack()
    except ValueError:
        return False


def _has_shadow_stack() -> bool:
    """Whether makecontext(3) would ask for one more of them, and abort(3): here there are none to be had."""
    features = cdata.c_ulong(0)
    try:
        libc.call("arch_prctl", _ARCH_SHSTK_STATUS, cdata.addressof(features))
    except OSError:
        return False  # this kernel has none
    return features.value != 0


def _candidates(smaps: bytes) -> Iterator[tuple[int, int]]:
    """Yield (address, length in bytes) of what is worth moving: private data, most of it there, in small pages."""
    for mapping in mappings.parse(smaps):
        if mapping.access != "rw-p" or mapping.key != "0" or not _PLAIN.issuperset(mapping.flags):
            continue
        length, small = mapping.end - mapping.start, mapping.anonymous - mapping.huge
        if length > _MOST or 4 * small < length:
            continue
        # Of what was never touched, a copy would have to be; of a file it may be gone. What is in huge pages, between
        # small ones, is written to as these are.
        of_file = mapping.file[1] != "0"
        if mapping.anonymous == length or (4 * mapping.anonymous >= 3 * length and not of_file):
            yield mapping.start, length
