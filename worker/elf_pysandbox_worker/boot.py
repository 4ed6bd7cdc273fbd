"""The first line of a zygote: imports what every process after it shares, and nothing that it does not need.

Every module here is paid for twice: by the first call of a program, which waits for it, and by each fork, as its pages
are in the tables that are copied. So `_socket` and `_signal` where others write `socket` and `signal`: those make
enumerations of all their constants.
"""

from __future__ import annotations

import gc
import os

from elf_pysandbox_worker.wire import lean


def main(control_fd: int) -> None:
    """Run the zygote on its channel."""
    # Whatever the host left open for its children is not for this one; nor is its working folder.
    os.closerange(control_fd + 1, 1 << 20)
    os.chdir("/")
    gc.disable()
    import_all()
    from elf_pysandbox_worker import zygote

    # What exists now lives as long as any process forked from this one: no collection need look at it again. The one
    # a template makes before its first worker takes 4 ms less.
    gc.freeze()
    gc.enable()
    zygote.main(control_fd)


def import_all() -> None:
    """Import what a zygote consists of."""
    lean.import_msgspec(lean.LATER, alone=True)
    from elf_pysandbox_worker import zygote  # noqa: F401
