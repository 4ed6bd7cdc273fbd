"""The keeper: a template's trusted parent. Enters the namespaces, forks the template, waits, kills.

It runs no tool code and lives exactly as long as its template. Whoever dies first takes the template along:
the host (end of file on the keeper's channel), the keeper itself (PR_SET_PDEATHSIG of the template), never
the zygote.
"""

from __future__ import annotations

import os
import select
import signal
import socket

from elf_pysandbox_worker import isolation, template
from elf_pysandbox_worker.channel import Channel
from elf_pysandbox_worker.wire.messages import Confinement, Ended, LayerReport, Refused, Started


def run(confinement: Confinement, keeper_fd: int, template_fd: int) -> int:
    """Run one template from birth to end; returns the exit status of the keeper."""
    # waitpid(2) needs the default disposition; the zygote ignores SIGCHLD.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    channel = Channel(socket.socket(fileno=keeper_fd), None)
    # The template learns from the end of this pipe that its keeper died before PR_SET_PDEATHSIG was set.
    alive_read, alive_write = os.pipe()
    try:
        layers = isolation.enter_namespaces(confinement, {keeper_fd, template_fd, alive_read, alive_write})
    except isolation.LayerMissing as missing:
        channel.send(Refused(missing.layer, missing.reason, missing.remedy))
        return 1
    pid = os.fork()
    if pid == 0:
        channel.sock.close()
        os.close(alive_write)
        template.main(confinement, template_fd, alive_read, layers)
    os.close(template_fd)
    os.close(alive_read)
    try:
        return _keep(channel, pid, layers)
    finally:
        isolation.release_cgroup()


def _keep(channel: Channel, pid: int, layers: list[LayerReport]) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        channel.send(Started(pid, layers), [pidfd, os.pidfd_open(os.getpid())])
    except OSError:
        os.kill(pid, signal.SIGKILL)
    poller = select.poll()
    poller.register(channel.sock, select.POLLIN)
    poller.register(pidfd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if channel.sock.fileno() in ready:
            # The host says nothing on this channel: readable means it is gone or wants this template gone.
            os.kill(pid, signal.SIGKILL)
            poller.unregister(channel.sock)
        if pidfd in ready:
            break
    _, status = os.waitpid(pid, 0)
    try:
        channel.send(Ended(status))
    except OSError:
        pass  # the host is gone, nobody wants to know
    return 0
