"""Layer `session`: a session of its own without a terminal (setsid(2)), so no TIOCSTI and no job signals."""

from __future__ import annotations

import os

from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.wire.messages import Confinement


class Session:
    """The keeper leads a new session; the template, a member that does not lead, can never take a
    terminal."""

    name = "session"
    doors: tuple[Door, ...] = ("keeper", "template")

    def available(self, spec: Confinement) -> Missing | None:
        return None

    def apply(self, context: Context, door: Door) -> str:
        if door == "keeper":
            # A leader of its process group may not call setsid(2), but then it has its own session already
            # or gets one here by leading nothing: the keeper was forked, so it never leads a group.
            if os.getpid() != os.getsid(0):
                os.setsid()
        else:
            # Its own group: a signal to the template's group never reaches the keeper.
            os.setpgid(0, 0)
        return "own session, no terminal"


LAYER = Session()
