"""The pool's one thread: listens to templates, keeps stocks filled, drives submitted flights, watches the
clocks.

What a message means is decided by `verdict_of` and its like, which are pure; the loop below carries it out.
A warm synchronous call never comes here.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import _socket as socket
import contextlib
import heapq
import itertools
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from elf_pysandbox._host import processes
from elf_pysandbox._host.endings import Ending
from elf_pysandbox_worker import state
from elf_pysandbox_worker.wire.decode import decode_from_keeper, decode_from_template
from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.messages import (
    EXIT_NO_PROCESS,
    Blank,
    Ended,
    FromTemplate,
    Loaded,
    Refused,
    Started,
    WorkerEnded,
)

if TYPE_CHECKING:
    from elf_pysandbox._host.engine import Engine
    from elf_pysandbox._host.flight import Flight
    from elf_pysandbox._host.templates import Template
    from elf_pysandbox._host.zygotes import Zygote

_CHUNK = 1 << 16
_LONGEST_WAIT_S = 3600.0  # epoll_wait(2) counts milliseconds in an int
_TRIM_EVERY_S = 5.0  # idle workers beyond need live about so long: a burst is often followed by another
CONFINE_S = 30.0  # for a template to be started and confined: ours alone, no byte of the tool is in it yet
_LAST_WORDS = 64  # reads; more than a channel holds
_LOAD_STATUSES = frozenset({"load_failed", "denied", "memory_limit"})


def verdict_of_end(wait_status: int, loaded: bool) -> Ending:
    """Decide what it means for waiting calls that a template ended with this wait status."""
    if loaded:
        return _verdict_of_loaded(wait_status)
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        if number == signal.SIGKILL:
            return Ending("killed", "the template was killed while it loaded the module")
        if number == signal.SIGXCPU:
            return Ending("load_failed", "importing the module used up its CPU budget", settings=("load_s",))
        return Ending("load_failed", f"importing the module ended its process with signal {number}")
    code = os.WEXITSTATUS(wait_status)
    return Ending("load_failed", f"importing the module ended its process with exit code {code}")


def _verdict_of_loaded(wait_status: int) -> Ending:
    """Decide that of a process in which code of the tool has run: it may say what it likes, even by how it ends."""
    if os.WIFEXITED(wait_status):
        code = os.WEXITSTATUS(wait_status)
        if code == EXIT_NO_PROCESS:
            text = "the machine or its container is out of processes or memory, or the tool's module keeps it from it"
            return Ending("rejected", f"no worker could be forked: {text}")
        return Ending("crashed", f"the template of this tool exited by itself with code {code}")
    number = os.WTERMSIG(wait_status)
    if number in (signal.SIGKILL, signal.SIGTERM):
        return Ending("killed", "the template of this tool was killed")
    return Ending("crashed", f"the template of this tool died of signal {number}")


def verdict_of_refusal(refused: Refused) -> Ending:
    """Decide what it means that a required layer could not be applied: nothing runs."""
    ending = Ending("fault", f"layer {refused.layer!r} is required but not available: {refused.reason}")
    ending.refused = refused
    return ending


def _survive(job: Callable[[], object]) -> bool:
    """Run a job; report and return False if it fails: the thread serves all calls, so it outlives any one."""
    try:
        job()
    except Exception:
        import logging  # it takes longer to import than a zygote waits for

        logging.getLogger("elf_pysandbox").exception("the sandbox failed at the host")
        return False
    return True


class Supervisor:
    """The thread and what it watches; created with its engine, started with the first template."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._handlers: dict[int, Callable[[], None]] = {}
        self._jobs: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._sleeps_until = 0.0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopping = self._stopped = False
        self._refilling: set[Template] = set()
        self.at_stop: Callable[[], None] | None = None

    # -- asked for by other threads -----------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._start()
                    self.at(time.monotonic() + _TRIM_EVERY_S, self._trim)

    def _start(self) -> None:
        before, self._thread = (
            self._thread,
            threading.Thread(target=self._run, name="pysandbox-supervisor", daemon=True),
        )
        try:
            self._thread.start()
        except BaseException:
            self._thread = before
            raise

    def is_current(self) -> bool:
        """Whether the calling thread is the supervisor's."""
        return threading.current_thread() is self._thread

    def hand_over(self) -> None:
        """Let a new thread go on with the loop, if this one has it: it is about to wait, maybe for what the loop does.

        It runs what a user asked to be told by (`Future.add_done_callback`), and that may make calls of its own.
        """
        if self.is_current():
            with self._starting:
                if not self._stopping:
                    self._start()

    def run_soon(self, job: Callable[[], object]) -> None:
        """Run `job` in the supervisor's thread."""
        self._jobs.append(job)
        self._poke()

    def run_if_running(self, job: Callable[[], object]) -> bool:
        """Run `job` in the supervisor's thread; False when there is none. Takes no lock: it may be called anywhere."""
        thread = self._thread
        if thread is None or self._stopping or not thread.is_alive():
            return False
        self.run_soon(job)
        return True

    def at(self, when: float, job: Callable[[], None]) -> None:
        """Run `job` at monotonic time `when`."""
        heapq.heappush(self._timers, (when, next(self._numbers), job))
        if when < self._sleeps_until:
            self._poke()

    def register(self, descriptor: int, events: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever the descriptor has one of the events (epoll(7)), until `unregister`."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, events)

    def modify(self, descriptor: int, events: int) -> None:
        """Wait for other events of a registered descriptor."""
        self._epoll.modify(descriptor, events)

    def unregister(self, descriptor: int) -> None:
        """Stop watching a descriptor; one not watched is no error."""
        if self._handlers.pop(descriptor, None) is not None:
            try:
                self._epoll.unregister(descriptor)
            except OSError:
                pass  # closed already: the kernel has forgotten it
            except ValueError:
                pass  # the supervisor was stopped

    def refill(self, template: Template) -> None:
        """Restock a template soon."""
        if template not in self._refilling:
            self._refilling.add(template)
            self.run_soon(lambda: self._refill(template))

    def wake(self, flight: Flight) -> None:
        """Have a flight advanced by its driver."""
        if self._stopping or threading.current_thread() is self._thread:
            flight.notify()
        else:
            self.run_soon(flight.notify)

    def watch(self, template: Template) -> None:
        """Listen to a new template and its keeper."""
        self.start()
        self._at_of(template, template.started + CONFINE_S, self._engine.confinement_late)
        template.outbox.watch = lambda writes: self._watch_writes(template.control.fileno(), writes)
        self.register(template.keeper.fileno(), select.EPOLLIN, lambda: self._on_keeper(template))
        self.register(template.control.fileno(), select.EPOLLIN, lambda: self._on_template(template))

    def forget(self, template: Template) -> None:
        """Stop listening to a template."""
        template.outbox.watch = None  # it refers back to the template
        self.unregister(template.keeper.fileno())
        self.unregister(template.control.fileno())

    def watch_load(self, template: Template) -> None:
        """End a template that has not loaded its module in time."""
        self._at_of(template, template.load_deadline, self._on_load_deadline)

    def _at_of(self, template: Template, when: float, job: Callable[[Template], None]) -> None:
        # Weakly: most templates load in a moment, many end long before this is due.
        this = weakref.ref(template)

        def run() -> None:
            found = this()
            if found is not None:
                job(found)

        self.at(when, run)

    def watch_zygote(self, zygote: Zygote) -> None:
        """Notice the end of a zygote."""
        zygote.outbox.watch = lambda writes: self._watch_writes(zygote.sock.fileno(), writes)
        self.register(zygote.sock.fileno(), select.EPOLLIN, lambda: self._on_zygote(zygote))

    def _watch_writes(self, descriptor: int, writes: bool) -> None:
        if descriptor in self._handlers:
            self.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if writes else 0))

    def forget_zygote(self, zygote: Zygote) -> None:
        """Stop listening to a zygote."""
        zygote.outbox.watch = None
        self.unregister(zygote.sock.fileno())

    def let_go(self) -> None:
        """Close this process's copies of the descriptors, in a forked child; there is no thread in it."""
        if not self._stopped:
            self._stopping = self._stopped = True
            self._handlers.clear()
            self._epoll.close()
            os.close(self._wake_fd)

    def stop(self) -> None:
        """End the thread; what is still registered is not watched any more."""
        self._stopping = True
        self._poke()
        with self._starting:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._run_jobs()
        if self.at_stop is not None:
            self.at_stop()
        self._run_jobs()
        if not self._stopped:
            self._stopped = True
            self._epoll.close()
            os.close(self._wake_fd)

    # -- the loop -------------------------------------------------------------------------------------

    def _poke(self) -> None:
        if not self._stopped:
            try:
                os.eventfd_write(self._wake_fd, 1)
            except OSError:
                pass  # just now

    def _run(self) -> None:
        while self._goes_on():
            for descriptor, _ in self._epoll.poll(self._timeout(), 256):
                if not self._goes_on():
                    return  # by a handler, when nobody else held the pool or it had to wait
                self._handle(descriptor)
            self._sleeps_until = 0.0
            self._run_jobs(self._goes_on)
            now = time.monotonic()
            while self._goes_on() and self._timers and self._timers[0][0] <= now:
                _survive(heapq.heappop(self._timers)[2])

    def _handle(self, descriptor: int) -> None:
        if descriptor == self._wake_fd:
            os.eventfd_read(self._wake_fd)
            return
        handler = self._handlers.get(descriptor)
        if handler is not None and not _survive(handler):
            self.unregister(descriptor)  # or it would fail again at once, for ever

    def _goes_on(self) -> bool:
        return not self._stopping and self.is_current()

    def _run_jobs(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        for _ in range(len(self._jobs)):
            if not goes_on() or not self._jobs:
                return
            _survive(self._jobs.popleft())

    def _timeout(self) -> float:
        if self._jobs:
            return 0.0
        until = self._timers[0][0] if self._timers else float("inf")
        self._sleeps_until = until
        # A timer set between these two lines and the wait found the line above and pokes.
        if self._timers and self._timers[0][0] < until:
            return 0.0
        if until == float("inf"):
            return -1.0
        return min(max(until - time.monotonic(), 0.0) + 0.001, _LONGEST_WAIT_S)

    def _trim(self) -> None:
        self.at(time.monotonic() + _TRIM_EVERY_S, self._trim)
        self._engine.trim()

    # -- what came in -----------------------------------------------------------------------------------

    def _refill(self, template: Template) -> None:
        self._refilling.discard(template)
        self._engine.refill(template)

    def _on_keeper(self, template: Template) -> None:
        try:
            data, descriptors = processes.receive_with_descriptors(template.keeper, _CHUNK, 4)
            self._engine.descriptors_came(template, descriptors)
            template.keeper_reader.feed(data)
            while (found := template.keeper_reader.next()) is not None:
                message = decode_from_keeper(found[0])
                template.keeper_state = state.advance(state.KEEPER, template.keeper_state, message)
                if isinstance(message, Started):
                    self._engine.template_started(template, message.pid)
                elif isinstance(message, Refused):
                    template.verdict = verdict_of_refusal(message)
                elif isinstance(message, Ended):
                    self._hear_out(template)
                    if template.verdict is None:
                        template.verdict = verdict_of_end(message.status, template.loaded)
        except (OSError, WireError):
            data = b""
        if not data:
            self._engine.template_gone(template)

    def _hear_out(self, template: Template) -> None:
        """Take in what a template said before it ended: news of its two channels comes in no order."""
        with contextlib.suppress(OSError, WireError):
            for _ in range(_LAST_WORDS):
                if template.ended or not self._take_in(template):
                    return

    def _take_in(self, template: Template) -> int:
        """Take in once what a template says; return how many bytes that were, 0 at the end of its channel."""
        data = template.control.recv(_CHUNK, socket.MSG_DONTWAIT)
        template.control_reader.feed(data)
        while (found := template.control_reader.next()) is not None:
            self._hear(template, decode_from_template(found[0]))
        return len(data)

    def _on_template(self, template: Template) -> None:
        try:
            self._engine.flush(template.outbox)
            count = self._take_in(template)
        except BlockingIOError:
            return
        except (OSError, WireError):
            count = 0
        if not count:
            # The keeper tells how it ended; from here nothing more will come.
            if not template.ended:
                self.unregister(template.control.fileno())
            self._engine.kill(template)

    def _hear(self, template: Template, message: FromTemplate) -> None:
        template.state = state.advance(state.TEMPLATE_SAYS, template.state, message)
        if isinstance(message, WorkerEnded):
            self._engine.worker_ended(template, message.index, message.status)
        elif isinstance(message, Blank):
            self._engine.template_confined(template, tuple(message.layers))
        elif isinstance(message, Loaded):
            self._engine.template_loaded(template)
        elif isinstance(message, Refused):
            template.verdict = verdict_of_refusal(message)
        else:
            status = message.status if message.status in _LOAD_STATUSES else "load_failed"
            template.verdict = Ending(status, error=message.error)

    def _on_load_deadline(self, template: Template) -> None:
        if not template.loaded and not template.ended:
            template.verdict = Ending(
                "load_failed",
                f"importing the module took longer than load_s={template.load_s:.3g} s",
                settings=("load_s",),
            )
            self._engine.template_gone(template)

    def _on_zygote(self, zygote: Zygote) -> None:
        try:
            self._engine.flush(zygote.outbox)
            if not zygote.has_ended():
                return
        except OSError:
            pass
        self._engine.zygote_gone(zygote.python)
