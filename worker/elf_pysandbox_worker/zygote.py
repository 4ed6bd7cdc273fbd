"""The zygote: forks keepers, imports what their templates share, and nothing else.

One per interpreter. Started with ``python -I -S``: no site, no environment, no descriptors but its channel.
It never sees a byte of tool code, so every process forked from it starts clean. It keeps no record of what
it forked: each keeper has its own channel to the host.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import gc
import os
import sys
from _socket import socket
from contextlib import suppress

from elf_pysandbox_worker import keeper, loading, template
from elf_pysandbox_worker.channel import Channel
from elf_pysandbox_worker.isolation import seccomp
from elf_pysandbox_worker.wire.messages import Prepare, ToZygote


def main(control_fd: int) -> None:
    """Serve `Spawn` and `Prepare` requests until the host closes the channel."""
    # Children are waited for by nobody here; SIG_IGN makes the kernel reap them (wait(2), NOTES).
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket(fileno=control_fd), ToZygote)
    in_a_hurry = True
    while True:
        request = channel.receive()
        if request is None:
            return
        if isinstance(request, Prepare):
            if not in_a_hurry:
                _make_what_can_wait()
            _prepare(request.profile)
            continue
        in_a_hurry = False
        keeper_fd, template_fd = channel.descriptors.popleft(), channel.descriptors.popleft()
        if os.fork() == 0:
            channel.sock.close()
            _run_keeper(request.confinement, keeper_fd, template_fd)
        os.close(keeper_fd)
        os.close(template_fd)


def _prepare(profile: str) -> None:
    """Import once what each template of this profile would import for itself: time, and memory that they now share.

    Before the first is forked it takes as long as it would there, but only here can byte code be left for the next
    program.
    """
    gc.disable()
    try:
        loading.prepare(profile)
    except Exception:
        pass  # A template finds more packages than this process; what fails there too is told there.
    gc.freeze()
    gc.enable()


def _make_what_can_wait() -> None:
    """Make for the templates to come what the first, which a program waits for, does without."""
    template.make_what_can_wait()
    seccomp.assemble()
    with suppress(Exception):  # the package is being replaced by another version
        from elf_pysandbox_worker import forking, hugedata  # noqa: F401 - for templates that fork many workers


def _run_keeper(confinement: object, keeper_fd: int, template_fd: int) -> None:
    status = 1
    try:
        status = keeper.run(confinement, keeper_fd, template_fd)  # type: ignore[arg-type]
    except BaseException as error:
        sys.stderr.write(f"keeper: {error!r}\n")
    finally:
        os._exit(status)
