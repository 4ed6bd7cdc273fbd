"""The template: confined first, then loads one bundle, then forks workers of it for as long as it is wanted.

From `Load` on this process has run tool code and is as hostile as the tool: the host believes nothing it
says. No argument of any call passes through it, but a hostile module can take them out of the channels that do.

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

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import gc
import operator
import os
import select
import sys
import time
from _socket import socket, socketpair
from collections import deque
from typing import TYPE_CHECKING

from elf_pysandbox_worker import isolation, life, loading, ownfiles, serving, state
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

if TYPE_CHECKING:
    from elf_pysandbox_worker import forking, hugedata

# Found now: a tool's module may put others in their places.
_HANDLER = operator.is_  # a builtin that takes any two arguments: the least handler of a signal
_ORIGINALS = os.fork, os.register_at_fork, _HANDLER
_SETTLES_AFTER = 32
"""So many workers' forks cost what moving the data costs: a template that forks fewer need not begin with it."""

_REMEMBERED = 512  # wait statuses kept for `Inquire`; the host asks right after a worker's end


def main(confinement: Confinement, template_fd: int, alive_fd: int, layers: list[LayerReport]) -> None:
    """Run the template's life; never returns."""
    status = 1
    try:
        channel = Channel(socket(fileno=template_fd), ToTemplate)
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
    files = ownfiles.opened()
    try:
        reports = layers + isolation.confine(confinement, alive_fd)
    except isolation.LayerMissing as missing:
        channel.send(Refused(missing.layer, missing.reason, missing.remedy))
        return 1
    reserved = _reserve(channel)  # before any descriptor can come
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
    forker = _Forker(channel, reserved, confinement, tool, files)
    channel.send(Loaded(time.monotonic() - started))
    forker.serve()
    return 0


class _NoProcess(Exception):  # noqa: N818 - an event of this process, told by its exit code
    """Not one worker can be forked."""


class _Forker:
    """Keeps the wanted number of workers alive.

    `serve` is one flat piece of code for the reason given in `life`: after each fork this process pays again for every
    page that it writes to.
    """

    def __init__(
        self,
        channel: Channel,
        reserved: int,
        confinement: Confinement,
        tool: loading.LoadedTool,
        files: list[ownfiles.OwnFile],
    ) -> None:
        self._channel = channel
        self._reserved = _reclaimed(reserved)
        self._files = files
        self._data: hugedata.Data | None = None
        self._forking: forking.Fork = os.fork, ()
        self._target = 0
        self._alive: dict[int, int] = {}  # pid -> index
        self._ended: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)  # (index, wait status)
        self._asked: set[int] = set()
        self._slots = list(range(confinement.scratch_slots)) if confinement.scratch_mb else None
        self._slot_of: dict[int, int] = {}
        self._left_behind = confinement.processes > 0
        self._wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, _HANDLER)  # only a signal that Python handles wakes the poll
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._life = life.prepare(tool, isolation.prepare_worker(confinement, serving.CHANNEL + 1))
        # What exists now is shared by every worker: a collection in one of them must not touch (copy) it.
        gc.collect()
        gc.freeze()

    def serve(self) -> None:
        """Fork, reap and listen until the host closes the channel."""
        poll, fork, wait, close, place = self._poller().poll, os.fork, os.waitpid, os.close, os.dup2
        alive, ended, asked, slots = self._alive, self._ended, self._asked, self._slots
        birth, live, kit = self._life
        stock, wake, left_behind = self._channel.descriptors, self._wake_read, self._left_behind
        reserved, slot, index, settled, scattered = self._reserved, -1, 0, False, True
        self._hear()  # what came along with the bundle
        while True:
            while len(alive) < self._target and stock and (slots is None or slots):
                if slots is not None:
                    birth[0] = slot = slots.pop()
                channel = stock.popleft()
                # Where its worker will look for it. Held here no longer than the fork takes: the host must see the
                # end of a worker's channel when the worker ends.
                place(channel, serving.CHANNEL)
                close(channel)
                try:
                    if (pid := fork()) < 0:
                        raise OSError("the kernel lets this process have no more processes")
                except OSError as error:
                    self._refused(error, slot)
                    place(reserved, serving.CHANNEL)
                    break
                if pid == 0:
                    live(*kit)
                place(reserved, serving.CHANNEL)
                alive[pid] = index
                index += 1
                if slots is not None:
                    self._slot_of[pid] = slot
            if scattered and index >= _SETTLES_AFTER:
                scattered = self._settle_some()  # all workers that are wanted are there
                fork, birth[2] = self._forking
            for fd, _ in poll():
                if fd != wake:
                    if not self._channel.read():
                        return
                    self._hear()
                    continue
                try:
                    os.read(wake, 64)  # so few that they come from the interpreter's own allocator
                except BlockingIOError:
                    pass
                if not settled:
                    settled = True
                    make_what_can_wait()  # the first call was in a hurry
                while alive:
                    pid, status = wait(-1, os.WNOHANG)
                    if pid == 0:
                        break
                    which = alive.pop(pid, None)
                    if which is None:
                        continue  # an orphan of a worker: PID 1 reaps those too
                    if left_behind:
                        isolation.end_call(pid)
                    if slots is not None:
                        self._release_slot(pid)
                    ended.append((which, status))
                    if which in asked:
                        self._answer(which)

    def _poller(self) -> select.poll:
        poller = select.poll()
        poller.register(self._channel.sock, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        return poller

    def _settle_some(self) -> bool:
        """Move some of this process's data; return whether there is more to move."""
        if self._data is None:
            try:
                # Only now: few templates come this far, and the first call of a program would wait for it.
                from elf_pysandbox_worker import forking, hugedata

                # What cleans up after a worker does so by functions that a tool's module may have replaced.
                if self._slots is None and not self._left_behind:
                    self._forking = forking.prepare(self._files, _ORIGINALS)
                self._data = hugedata.Data(self._files)
            except BaseException:  # the tool's module has left an interpreter that cannot
                return False
        return self._data.settle_some()

    def _hear(self) -> None:
        while (message := self._channel.take()) is not None:
            state.advance(state.TEMPLATE_HEARS, state.SERVING, message)
            if isinstance(message, Target):
                self._target = message.workers
            elif isinstance(message, Inquire):
                self._answer(message.index)

    def _refused(self, error: OSError, slot: int) -> None:
        """Make do with what is alive: the kernel lets this process have no more (EAGAIN, fork(2)).

        The next worker that ends makes room. With none alive, nothing would.
        """
        self._channel.descriptors.appendleft(os.dup(serving.CHANNEL))
        if self._slots is not None:
            self._slots.append(slot)
        if not self._alive:
            raise _NoProcess from error
        self._target = len(self._alive)

    def _release_slot(self, pid: int) -> None:
        slot = self._slot_of.pop(pid, None)
        if slot is not None and self._slots is not None:
            isolation.wipe_scratch(slot)
            self._slots.append(slot)

    def _answer(self, index: int) -> None:
        for ended, status in self._ended:
            if ended == index:
                self._asked.discard(index)
                self._channel.send(WorkerEnded(index, status))
                return
        if len(self._asked) < _REMEMBERED:
            self._asked.add(index)


def make_what_can_wait() -> None:
    """Make for the workers to come what the first call of a program did not wait for; a zygote does so, too."""
    try:
        from elf_pysandbox_worker import hugetext
        from elf_pysandbox_worker.wire import reader

        reader.shapes()
        hugetext.settle()
    except BaseException:  # the tool's module has left an interpreter that cannot
        pass


def _reserve(channel: Channel) -> int:
    """Keep the number that every worker's channel will have from the tool's module; return what holds it.

    A module may leave files open: one with this number would be a worker's channel to it. What holds the number between
    two forks is a socket without a peer: to write there is an error.
    """
    if channel.sock.fileno() == serving.CHANNEL:
        moved = socket(fileno=os.dup(serving.CHANNEL))
        channel.sock.close()
        channel.sock = moved
    held = _without_peer()
    if held == serving.CHANNEL:
        return os.dup(held)
    os.dup2(held, serving.CHANNEL)
    return held


def _reclaimed(held: int) -> int:
    """Take the number back from a module that has closed all descriptors, as daemons do, or its own by mistake.

    A file that it has opened there would be closed in the workers, as all of its files are.
    """
    try:
        if os.path.sameopenfile(held, serving.CHANNEL):
            return held
    except OSError:
        held = _without_peer()  # one of the two is closed: the other tells nothing
    os.dup2(held, serving.CHANNEL)
    return held


def _without_peer() -> int:
    first, second = socketpair()
    second.close()
    return first.detach()
