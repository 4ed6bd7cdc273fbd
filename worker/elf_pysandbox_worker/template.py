"""The template: confined first, then loads one bundle, then forks workers of it for as long as it is wanted.

From `Load` on this process has run tool code and is as hostile as the tool: the host believes nothing it
says, and no argument of any call ever passes through it.

Rules of the fork loop
----------------------
- Worker channels come in batches (`Stock`) and are used in the order sent; the host knows a worker by that
  order.
- `Target` workers are kept alive. A worker that ended is replaced at once, without being asked: the refill
  is then
  off the path of the call, which has its answer by that time.
- A worker inherits the whole stock and closes it before anything else happens in it (`life`).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from collections import OrderedDict

from elf_pysandbox_worker import isolation, life, loading, state
from elf_pysandbox_worker.channel import Channel
from elf_pysandbox_worker.report import failure, stream
from elf_pysandbox_worker.wire.messages import (
    EXIT_NO_PROCESS,
    Blank,
    Confinement,
    Inquire,
    LayerReport,
    Load,
    Loaded,
    LoadFailed,
    Prepare,
    Refused,
    Target,
    ToTemplate,
    WorkerEnded,
)

_REMEMBERED = 512  # wait statuses kept for `Inquire`; the host asks right after a worker's end


def main(confinement: Confinement, template_fd: int, alive_fd: int, layers: list[LayerReport]) -> None:
    """Run the template's life; never returns."""
    status = 1
    try:
        channel = Channel(socket.socket(fileno=template_fd), ToTemplate)
        status = _live(channel, confinement, alive_fd, layers)
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # the host is gone
    except _NoProcess:
        status = EXIT_NO_PROCESS
    except BaseException as error:
        sys.__stderr__ and sys.__stderr__.write(f"template: {error!r}\n")
    finally:
        os._exit(status)


def _live(channel: Channel, confinement: Confinement, alive_fd: int, layers: list[LayerReport]) -> int:
    try:
        reports = layers + isolation.confine(confinement, alive_fd)
    except isolation.LayerMissing as missing:
        channel.send(Refused(missing.layer, missing.reason, missing.remedy))
        return 1
    channel.send(Blank(reports))
    load = channel.receive()
    while isinstance(load, Prepare):
        loading.prepare(load.profile)
        load = channel.receive()
    if not isinstance(load, Load):
        return 0
    started = time.monotonic()
    stream.install()
    try:
        tool = loading.load(load)
    except BaseException as error:
        channel.send(LoadFailed(*failure.describe_load(error, load.bundle)))
        return 0
    forker = _Forker(channel, confinement, tool)
    channel.send(Loaded(time.monotonic() - started))
    forker.serve()
    return 0


class _NoProcess(Exception):  # noqa: N818 - an event of this process, told by its exit code
    """Not one worker can be forked."""


class _Forker:
    """Keeps the wanted number of workers alive."""

    def __init__(self, channel: Channel, confinement: Confinement, tool: loading.LoadedTool) -> None:
        self._channel = channel
        self._tool = tool
        self._target = 0
        self._next_index = 0
        self._alive: dict[int, int] = {}
        self._ended: OrderedDict[int, int] = OrderedDict()
        self._asked: set[int] = set()
        self._slots = list(range(confinement.scratch_slots)) if confinement.scratch_mb else None
        self._slot_of: dict[int, int] = {}
        self._confine_worker = isolation.prepare_worker(confinement)
        self._wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        life.warm_up(tool)
        # What exists now is shared by every worker: a collection in one of them must not touch (copy) it.
        gc.collect()
        gc.freeze()

    def serve(self) -> None:
        """Fork, reap and listen until the host closes the channel."""
        poller = select.poll()
        poller.register(self._channel.sock, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            self._drain_inbox()
            self._fill()
            for fd, _ in poller.poll():
                if fd == self._wake_read:
                    self._reap()
                elif not self._channel.read():
                    return

    def _drain_inbox(self) -> None:
        while (message := self._channel.take()) is not None:
            state.advance(state.TEMPLATE_HEARS, state.SERVING, message)
            if isinstance(message, Target):
                self._target = message.workers
            elif isinstance(message, Inquire):
                self._answer(message.index)

    def _fill(self) -> None:
        while len(self._alive) < self._target and self._channel.descriptors:
            if self._slots is not None and not self._slots:
                return
            self._fork(self._channel.descriptors.popleft())

    def _fork(self, worker_fd: int) -> None:
        slot = self._slots.pop() if self._slots else -1
        try:
            pid = os.fork()
        except OSError as error:
            # Out of processes (EAGAIN): the next worker that ends makes room. With none alive, nothing would.
            self._channel.descriptors.appendleft(worker_fd)
            if not self._alive:
                raise _NoProcess from error
            self._target = len(self._alive)
            return
        if pid == 0:
            life.main(worker_fd, self._tool, self._confine_worker, slot)
        os.close(worker_fd)
        self._alive[pid] = self._next_index
        self._next_index += 1
        if self._slots is not None:
            self._slot_of[pid] = slot

    def _reap(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        while self._alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            index = self._alive.pop(pid, None)
            if index is None:
                continue  # an orphan of a worker: PID 1 reaps those too
            isolation.end_call(pid)
            self._release_slot(pid)
            self._ended[index] = status
            if index in self._asked:
                self._answer(index)
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def _release_slot(self, pid: int) -> None:
        slot = self._slot_of.pop(pid, None)
        if slot is not None and self._slots is not None:
            isolation.wipe_scratch(slot)
            self._slots.append(slot)

    def _answer(self, index: int) -> None:
        if index in self._ended:
            self._asked.discard(index)
            self._channel.send(WorkerEnded(index, self._ended[index]))
        elif len(self._asked) < _REMEMBERED:
            self._asked.add(index)
