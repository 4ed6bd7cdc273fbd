"""The first line of a zygote: imports what every process after it shares, and nothing that it does not need.

Every module here is paid for by each fork: its pages are in the tables that are copied.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any


def main(control_fd: int) -> None:
    """Run the zygote on its channel."""
    # Whatever the host left open for its children is not for this one; nor is its working folder.
    os.closerange(control_fd + 1, 1 << 20)
    os.chdir("/")
    # msgspec takes two names from typing_extensions where it is installed, which brings inspect, ast, dis and tokenize
    # along: 8 ms, 2 MB. The standard library's own do as well; tools find the package as usual afterwards.
    modules: dict[str, Any] = sys.modules
    modules["typing_extensions"] = None
    gc.disable()
    from elf_pysandbox_worker import zygote

    del modules["typing_extensions"]
    # What exists now lives as long as any process forked from this one: no collection need look at it again. The one
    # a template makes before its first worker takes 4 ms less.
    gc.freeze()
    gc.enable()
    zygote.main(control_fd)
