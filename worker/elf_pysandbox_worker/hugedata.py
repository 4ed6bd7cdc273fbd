"""The data of a template in parts of huge pages: a fork copies their table by the run, not by the page.

Decided here and nowhere else: where in memory the data of a template lie. For each small page, a fork copies an entry
and counts a reference, and the end of the process takes both back: for the two thousand that a template has, a third of
what a worker costs. For neighbours in one huge page Linux 6.9 and later do so for all of them at once, and still copy
only the small page that is written to.

They are mapped by small pages although they are huge ones: to write to one that is mapped whole, both processes split
it first, which takes what the fork has saved.

What is written to all the time cannot be copied by Python, as each of its lines writes there. So the copy, and its
taking the place of what it is one of, are C functions that makecontext(3) has return into each other, in a process
without a second thread and with its signals blocked. Addresses and contents stay what they were.

What is not as expected stays where it is; what is lost is speed.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import ctypes
import fcntl
import gc
import os
from collections.abc import Callable, Iterator

from elf_pysandbox_worker import hugepages
from elf_pysandbox_worker.hugepages import HUGE, MREMAP_FIXED, MREMAP_MAYMOVE, PAGE, READ, WRITE
from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.syscalls import MACHINE

_FIRST_KERNEL = (6, 9)
_AT_ONCE = 8 << 20  # bytes: some 5 ms in which a template does nothing else
_TRIES = 8  # how often what is mapped may have changed under way
_LEAST = 16 * PAGE  # what is smaller is not worth two more system calls
# proc_pid_smaps(5): readable, writable and may be so; counted; written to of late; advice about huge pages. Memory that
# is locked, guarded, not for children or wiped in them, a stack, a device's, has others, which a copy would lose.
_PLAIN = frozenset(("rd", "wr", "mr", "mw", "me", "ac", "sd", "hg", "nh"))
_MADV_NOHUGEPAGE = 15
_ARCH_SHSTK_STATUS = 0x5005
_NUM_THREADS = 17  # of the fields after the name, proc_pid_stat(5)
_MOST_READ = 1 << 24  # bytes: some 10,000 mappings
_ABOVE_CHANNELS = 10
_CONTEXT = 4 * PAGE  # a `ucontext_t`, less than a page, and a stack

_c = ctypes.CDLL(None)


class _Context(ctypes.Structure):
    """The head of `ucontext_t` as the GNU C library has it, where getcontext(3) leaves the rest as it should be."""

    _fields_ = (
        ("flags", ctypes.c_ulong),
        ("link", ctypes.c_void_p),
        ("stack", ctypes.c_void_p),
        ("stack_flags", ctypes.c_int),
        ("stack_size", ctypes.c_size_t),
    )


class Data:
    """The data of this process, to be moved piece by piece.

    To be made where /proc is: the root of a template has none.

    Attributes
    ----------
    moved : int
        Bytes that have been moved.
    """

    def __init__(self) -> None:
        self.moved = 0
        self._seen: set[int] = set()  # addresses of what has been moved
        self._tries = _TRIES
        self._open: list[int] = []
        if _is_of_use():
            try:
                for name in ("stat", "smaps", "maps"):
                    self._open.append(_opened(f"/proc/self/{name}"))
            except OSError:
                self.close()

    def close(self) -> None:
        """Let go of the descriptors; nothing is moved any more."""
        while self._open:
            try:
                os.close(self._open.pop())
            except OSError:
                pass  # by the tool's module already

    def settle_some(self) -> bool:
        """Move the next few megabytes; return whether there may be more.

        Any code may have run in this process before, and threads of it may still: then nothing is moved.
        """
        if not self._open:
            return False
        collecting = gc.isenabled()
        # Whatever runs in between may write to what has been copied, or let go of it; a signal that is pending keeps
        # the kernel from finding huge pages.
        gc.disable()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            more = _threads(self._open[0]) == 1 and self._settle_some()
        except Exception:  # no huge page, no memory, descriptors that the tool's module has closed
            more = False
        finally:
            if collecting:
                gc.enable()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # last: a handler may raise
        if not more:
            self.close()
        return more

    def _settle_some(self) -> bool:
        # Held until it is done: to let go of so much may take the end of the heap along, and change what it says.
        smaps = _read(self._open[1])
        pieces = self._next(smaps)
        if pieces:
            if self._move(pieces, bytearray(len(smaps))):
                self._seen.update(start for start, _ in pieces)
                self.moved += sum(length for _, length in pieces)
            else:
                self._tries -= 1
        return bool(pieces) and self._tries > 0

    def _next(self, smaps: bytes) -> list[tuple[int, int]]:
        """Return (address, length in bytes) of what is moved next."""
        pieces: list[tuple[int, int]] = []
        room = _AT_ONCE
        for start, length in _candidates(smaps):
            if room < _LEAST:
                break
            if start not in self._seen:
                pieces.append((start, min(length, room)))
                room -= pieces[-1][1]
        return pieces

    def _move(self, pieces: list[tuple[int, int]], buffer: bytearray) -> bool:
        """Put copies of these pieces in their places; return whether they were still there.

        Raises OSError if there are no huge pages to be had. The buffer is one for /proc/self/maps.
        """
        size = -(-sum(length for _, length in pieces) // HUGE) * HUGE
        room = at = hugepages.take(size)
        steps: list[tuple[object, tuple[int, ...]]] = []
        for start, length in pieces:
            steps.append((_c.memcpy, (at, start, length)))
            steps.append((_c.mremap, (at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, start)))
            at += length
        # What could not be moved goes with what is left over, before anything else can be mapped in between.
        steps.append((_c.munmap, (room, size)))
        done = False
        try:
            # Nor shall the kernel map them whole later on.
            libc.call("madvise", room, size, _MADV_NOHUGEPAGE)
            done = _call_in_a_row(steps, lambda: _mapped(pieces, self._open[2], buffer))
        finally:
            if not done:
                libc.call("munmap", room, size)
        return done


def _is_of_use() -> bool:
    if MACHINE != "x86_64" or not hasattr(_c, "makecontext"):  # the C library is another one
        return False
    try:
        major, minor = os.uname().release.split(".")[:2]
        return (int(major), int(minor)) >= _FIRST_KERNEL and not _has_shadow_stack()
    except ValueError:
        return False


def _has_shadow_stack() -> bool:
    """Whether makecontext(3) would ask for one more of them, and abort(3): here there are none to be had."""
    features = ctypes.c_ulong(0)
    try:
        libc.call("arch_prctl", _ARCH_SHSTK_STATUS, ctypes.addressof(features))
    except OSError:
        return False  # this kernel has none
    return features.value != 0


def _opened(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE_CHANNELS)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    found = b""
    while part := os.read(descriptor, 1 << 16):
        found += part
        if len(found) > _MOST_READ:
            raise ValueError("this is not what was opened")
    return found


def _threads(stat: int) -> int:
    return int(_read(stat).rpartition(b")")[2].split()[_NUM_THREADS])


def _candidates(smaps: bytes) -> Iterator[tuple[int, int]]:
    """Yield (address, length in bytes) of what is worth moving: private data, most of it there, in small pages."""
    start = end = small = 0
    private = False
    for line in smaps.decode().splitlines():
        key, *values = line.split()
        if not key.endswith(":"):
            start, end = (int(address, 16) for address in key.split("-"))
            private = values[0] == "rw-p"
        elif key == "Anonymous:":
            small = int(values[0]) << 10
        elif key == "AnonHugePages:":
            small -= int(values[0]) << 10
        elif key == "VmFlags:" and private and _PLAIN.issuperset(values):
            length = end - start
            if (
                length >= _LEAST and 4 * small >= 3 * length
            ):  # of what was never touched, a copy would have to be
                yield start, length


def _mapped(pieces: list[tuple[int, int]], maps: int, room: bytearray) -> bool:
    """Whether all of these pieces are there, and will be until something of more than 512 bytes is let go of.

    With that, the C library may give back the end of the heap; the interpreter takes what is smaller from arenas, of
    which it keeps the last that it has emptied.
    """
    view, length = memoryview(room), 0
    while more := os.preadv(maps, [view[length:]], length):
        length += more
    found = at = 0
    while (end := room.find(b"\n", at, length)) >= 0:
        addresses, access, *_ = room[at : at + 64].split()  # what follows is a path of any length
        if access == b"rw-p":
            low, high = (int(address, 16) for address in addresses.split(b"-"))
            for start, size in pieces:
                found += low <= start and start + size <= high
        at = end + 1
    return found == len(pieces)


def _call_in_a_row(steps: list[tuple[object, tuple[int, ...]]], may_begin: Callable[[], bool]) -> bool:
    """Call C functions one after the other, each on a stack of its own, without a line of Python in between.

    Parameters
    ----------
    steps : list of (function, arguments)
    may_begin : callable
        Asked when all else is ready.

    Returns
    -------
    bool
        What `may_begin` has returned: whether they were called.
    """
    size = _CONTEXT * (len(steps) + 1)
    back = libc.call("mmap", 0, size, READ | WRITE, hugepages.MAP_PRIVATE_ANONYMOUS, -1, 0)
    try:
        for number, (function, arguments) in enumerate(steps, 1):
            place = back + number * _CONTEXT
            _c.getcontext(ctypes.c_void_p(place))  # with the signals that are blocked now
            context = _Context.from_address(place)
            context.link = place + _CONTEXT if number < len(steps) else back
            context.stack, context.stack_size = place + PAGE, _CONTEXT - PAGE
            address = ctypes.cast(function, ctypes.c_void_p)  # type: ignore[arg-type]
            words = [ctypes.c_ulong(argument) for argument in arguments]
            _c.makecontext(ctypes.c_void_p(place), address, len(words), *words)
        here, first = ctypes.c_void_p(back), ctypes.c_void_p(back + _CONTEXT)
        begins = may_begin()
        if begins:
            _c.swapcontext(here, first)
        return begins
    finally:
        libc.call("munmap", back, size)
