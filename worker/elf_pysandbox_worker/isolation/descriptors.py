"""Layer `descriptors`: nothing open but what was handed down on purpose (close_range(2))."""

from __future__ import annotations

import os

from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.wire.messages import Confinement


class Descriptors:
    """Closes everything but the descriptors to keep; 0, 1 and 2 become /dev/null."""

    name = "descriptors"
    doors: tuple[Door, ...] = ("keeper",)

    def available(self, spec: Confinement) -> Missing | None:
        return None

    def apply(self, context: Context, door: Door) -> str:
        self._empty_standard_streams(context.keep)
        start = 3
        for descriptor in sorted(fd for fd in context.keep if fd >= 3):
            os.closerange(start, descriptor)
            start = descriptor + 1
        # os.closerange uses close_range(2) where the kernel has it: one call for any number of descriptors.
        os.closerange(start, 1 << 20)
        return f"all closed but {len(context.keep)} of the sandbox's own"

    @staticmethod
    def _empty_standard_streams(keep: frozenset[int]) -> None:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for stream in range(3):
            if stream not in keep and stream != null:
                os.dup2(null, stream, inheritable=True)
        if null > 2:
            os.close(null)


LAYER = Descriptors()
