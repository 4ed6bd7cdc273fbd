"""Layer `session`: a session of its own without a terminal (setsid(2)), so no TIOCSTI and no job signals."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
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
            if os.getpid() != os.getsid(0):
                os.setsid()
            else:
                _give_up_terminal()
        else:
            # Its own group: a signal to the template's group never reaches the keeper.
            os.setpgid(0, 0)
        return "own session, no terminal"


def _give_up_terminal() -> None:
    """A leader keeps its session, and may not call setsid(2), but can let go of the terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # It has none.
    # Not at the top: a keeper leads no session yet, and each of these would be five more mappings in every fork.
    import fcntl
    import termios

    # The kernel hangs up on the session's foreground group now, which is this process.
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fcntl.ioctl(terminal, termios.TIOCNOTTY)
    signal.signal(signal.SIGHUP, earlier)
    os.close(terminal)


LAYER = Session()
