"""Layer `no_new_privs`: no program or file bit can ever raise privileges again
(PR_SET_NO_NEW_PRIVS(2const))."""

from __future__ import annotations

from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing, Unavailable
from elf_pysandbox_worker.wire.messages import Confinement


class NoNewPrivs:
    """Sets the bit that is inherited and cannot be cleared."""

    name = "no_new_privs"
    doors: tuple[Door, ...] = ("template",)

    def available(self, spec: Confinement) -> Missing | None:
        return None

    def apply(self, context: Context, door: Door) -> str:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        return "set for good"


LAYER = NoNewPrivs()


def demand() -> None:
    """Raise Unavailable unless the bit is set: an unprivileged process may not restrict itself without it."""
    if libc.prctl(libc.PR_GET_NO_NEW_PRIVS) == 0:
        raise Unavailable(
            "it needs the layer no_new_privs, which does not hold", "Set no_new_privs to 'require'"
        )
