"""The keeper: a template's trusted parent. Enters the namespaces, forks the template, waits, kills.

It runs no tool code and lives exactly as long as its template. Whoever dies first takes the template along:
the host (end of file on the keeper's channel), the keeper itself (PR_SET_PDEATHSIG of the template), never
the zygote.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import os
import select
import time
from _socket import socket

from elf_pysandbox_worker import isolation, template
from elf_pysandbox_worker.channel import Channel
from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.wire.messages import Confinement, Ended, LayerReport, Refused, Started

_ROUNDS, _PAUSE_S = 500, 0.01  # of stopping and killing; a process that forks meanwhile needs another one


def run(confinement: Confinement, keeper_fd: int, template_fd: int) -> int:
    """Run one template from birth to end; returns the exit status of the keeper."""
    # waitpid(2) needs the default disposition; the zygote ignores SIGCHLD.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    channel = Channel(socket(fileno=keeper_fd), None)
    # The template learns from the end of this pipe that its keeper died before PR_SET_PDEATHSIG was set.
    alive_read, alive_write = os.pipe()
    try:
        layers = isolation.enter_namespaces(confinement, {keeper_fd, template_fd, alive_read, alive_write})
    except isolation.LayerMissing as missing:
        channel.send(Refused(missing.layer, missing.reason, missing.remedy))
        return 1
    processes = _adopt()
    pid = os.fork()
    if pid == 0:
        channel.sock.close()
        os.close(alive_write)
        if processes >= 0:
            os.close(processes)
        template.main(confinement, template_fd, alive_read, layers)
    os.close(template_fd)
    os.close(alive_read)
    try:
        return _keep(channel, pid, layers, alive_write)
    finally:
        _end_adopted(processes)
        isolation.release_cgroup()


def _adopt() -> int:
    """Become the parent of what the template leaves behind, where no PID namespace ends it; return /proc, or -1.

    Opened now: from a private root there is no way to it.
    """
    context = isolation.current()
    if context is None or context.holds("pid_namespace"):
        return -1
    try:
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        return os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1


def _end_adopted(processes: int) -> None:
    """End what the template started and left behind: stop all of it first, since what is stopped cannot fork."""
    for _ in range(_ROUNDS if processes >= 0 else 0):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        left = _descendants(processes)
        moving = [pid for pid, (_, state) in left.items() if state not in "TZ"]
        for pid in moving or left:
            _send(processes, pid, left[pid][0], signal.SIGSTOP if moving else signal.SIGKILL)
        if not moving:
            time.sleep(_PAUSE_S)


def _descendants(processes: int) -> dict[int, tuple[int, str]]:
    """Return pid -> (parent, state) of this process's children, theirs, and so on."""
    alive = {int(name): _status(processes, name) for name in os.listdir(processes) if name.isdigit()}
    found: dict[int, tuple[int, str]] = {}
    parents = {os.getpid()}
    while parents:
        born = {pid: status for pid, status in alive.items() if status[0] in parents and pid not in found}
        found |= born
        parents = set(born)
    return found


def _send(processes: int, pid: int, parent: int, number: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # Its parent may have reaped it since it was seen, and the pid be another's: this one is held now.
        if _status(processes, str(pid))[0] == parent:
            signal.pidfd_send_signal(pidfd, number)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def _status(processes: int, name: str) -> tuple[int, str]:
    """Return parent and state of a process (proc_pid_stat(5), fields 4 and 3), -1 if it is gone."""
    try:
        descriptor = os.open(f"{name}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=processes)
        with os.fdopen(descriptor, "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return -1, "Z"
    return int(parent), state.decode()


def _keep(channel: Channel, pid: int, layers: list[LayerReport], alive: int) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        channel.send(Started(pid, layers), [pidfd, os.pidfd_open(os.getpid())])
        isolation.admit(pid, alive)
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
