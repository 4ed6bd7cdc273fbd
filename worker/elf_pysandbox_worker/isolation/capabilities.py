"""Layer `capabilities`: none left, none to be had, not dumpable (capabilities(7), prctl(2))."""

from __future__ import annotations

import errno
import struct

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.wire.messages import Confinement

_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT_CLEAR_ALL = 4
# NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each with its lock, and KEEP_CAPS locked in the off
# position: a later uid 0 or program gains nothing.
_SECUREBITS = 0b11_10_11_11
_CAP_SETPCAP = 8


class Capabilities:
    """Empties every capability set and locks the ways back."""

    name = "capabilities"
    doors: tuple[Door, ...] = ("template",)

    def available(self, spec: Confinement) -> Missing | None:
        return None

    def apply(self, context: Context, door: Door) -> str:
        _, permitted = current()
        if permitted >> _CAP_SETPCAP & 1:
            # KEEPCAPS kept the permitted set only; emptying the bounding set needs one effective.
            _set(1 << _CAP_SETPCAP, permitted)
            _empty_bounding_set()
            libc.prctl(libc.PR_SET_SECUREBITS, _SECUREBITS)
        libc.prctl(libc.PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        _set(0, 0)
        # Not dumpable: no core file, and /proc/PID of this process belongs to root.
        libc.prctl(libc.PR_SET_DUMPABLE, 0)
        return "all dropped, not dumpable"


def current() -> tuple[int, int]:
    """Return the effective and permitted sets of this process as bit masks."""
    header = cdata.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8)
    data = cdata.create_string_buffer(24)
    libc.call("capget", header, data)
    words = struct.unpack("=6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32


def _set(effective: int, permitted: int) -> None:
    low, high = 0xFFFFFFFF, 32
    header = cdata.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8)
    words = (effective & low, permitted & low, 0, effective >> high, permitted >> high, 0)
    libc.call("capset", header, cdata.create_string_buffer(struct.pack("=6I", *words), 24))


def _empty_bounding_set() -> None:
    for capability in range(64):
        try:
            libc.prctl(libc.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # Past the last capability this kernel knows.
            raise


LAYER = Capabilities()
