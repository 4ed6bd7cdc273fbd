"""Layer `identity`: an unprivileged user without groups (credentials(7))."""

from __future__ import annotations

import os
import sys

from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing, Unavailable
from elf_pysandbox_worker.wire.messages import Confinement


class Identity:
    """Becomes the tool's user: 1000 inside a user namespace, 65534 on a root host without one."""

    name = "identity"
    doors: tuple[Door, ...] = ("template",)

    def available(self, spec: Confinement) -> Missing | None:
        return None

    def apply(self, context: Context, door: Door) -> str:
        if not context.privileged or (context.holds("user_namespace") and not context.mapped):
            # One id is mapped, or none can be changed to: supplementary groups stay, only privilege drops
            # them.
            groups = len(os.getgroups())
            kept = f"; {groups} supplementary groups of the host's user are kept" if groups else ""
            return f"uid {os.geteuid()}, an ordinary user{kept}"
        user = context.tool_user()
        # Without this the kernel clears every capability at the change of uid, and the next layer could no
        # longer empty the bounding set. That layer drops them all.
        libc.prctl(libc.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        _check_interpreter_readable()
        return f"uid {user}, no groups"


def _check_interpreter_readable() -> None:
    """Fail now, with a text, rather than at the tool's first import."""
    standard_library = os.path.dirname(os.__file__)
    if not os.access(os.path.join(standard_library, "os.py"), os.R_OK):
        raise Unavailable(
            f"uid {os.getuid()} cannot read the Python installation at {sys.base_prefix}",
            "Install Python where every user can read it, run as an ordinary user, or allow user and mount "
            "namespaces, which make it readable inside",
        )


LAYER = Identity()
