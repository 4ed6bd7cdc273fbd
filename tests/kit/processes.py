"""Processes of a sandbox as the tests of the kit see them."""

from __future__ import annotations

import os
from collections.abc import Iterable


def parents() -> dict[int, int]:
    """Return pid -> parent's pid of every process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stream:
                    found[int(entry)] = int(stream.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


def workers_of(pids: Iterable[int]) -> list[int]:
    """Return the workers among what the zygotes in `pids` started: zygote, keeper, template, worker."""
    table, known = parents(), set(pids)
    level = {pid for pid in known if table.get(pid) not in known}
    for _ in range(3):
        level = {pid for pid, parent in table.items() if parent in level}
    return sorted(level)
