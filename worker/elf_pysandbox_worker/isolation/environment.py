"""Layer `environment`: the variables of the policy and no others, in Python, in libc and in memory."""

from __future__ import annotations

import os

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.wire.messages import Confinement

_ENV_START, _ENV_END = 47, 48  # fields 50 and 51 of proc_pid_stat(5), counted after the name's parenthesis


class Environment:
    """Replaces the environment and wipes the block the kernel laid down at exec.

    Clearing `environ` leaves that block in memory, readable at /proc/PID/environ and by any pointer: a jail's
    own first process has leaked its host's secrets that way.
    """

    name = "environment"
    doors: tuple[Door, ...] = ("keeper",)

    def available(self, spec: Confinement) -> Missing | None:
        return None

    def apply(self, context: Context, door: Door) -> str:
        os.environ.clear()
        wiped = _wipe_initial_block()
        os.environ.update(context.spec.env)
        return f"{len(context.spec.env)} variables" + (f", {wiped} bytes wiped" if wiped else "")


def _wipe_initial_block() -> int:
    """Overwrite the environment block of exec with zeros; return how many bytes held something."""
    try:
        with open("/proc/self/environ", "rb") as file:
            held = len(file.read().strip(b"\0"))
        if not held:
            return 0
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0  # No /proc: nobody can read the block from outside, and the zygote starts with an empty one.
    start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    if start:
        cdata.memset(start, 0, end - start)
    return held


LAYER = Environment()
