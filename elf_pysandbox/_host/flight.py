"""One call, from admission to its ending: a state machine that never waits.

Phases: queued -> starting -> running -> (dying ->) settled. A driver (see `blocking`, `futures`,
`asynchronous`) waits for what `descriptor`, `wants_write` and `deadline` say, then calls `advance`, until
that returns the ending. The engine wakes a flight that waits for something else (admission, a template's
verdict, how a worker ended) through `notify`.

The bytes come from a hostile peer: whatever they are, `advance` returns an ending or None and raises nothing.
"""

from __future__ import annotations

import _socket as socket
import errno
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from elf_pysandbox._host import endings, processes
from elf_pysandbox._host.endings import Ending, HostLimits, Packed
from elf_pysandbox_worker import state
from elf_pysandbox_worker.wire.decode import decode_from_worker
from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, frame, parse_single
from elf_pysandbox_worker.wire.messages import (
    Failure,
    FromWorker,
    Item,
    Output,
    Ready,
    Result,
    encode,
)

if TYPE_CHECKING:
    from elf_pysandbox._host.engine import Engine
    from elf_pysandbox._host.route import Route
    from elf_pysandbox._host.templates import Template, WorkerChannel

QUEUED, STARTING, RUNNING, DYING, SETTLED = range(5)

_CHUNK = 1 << 16  # of a first read: malloc's heap serves it, 10 times cheaper than a mapping of its own
_SMALL = 1 << 16
_ATTEMPTS = 8  # templates that may die under a call before it begins; of workers, the square of it
_UNREAD = 3  # workers that may die with the call half read
_READS = 64  # of one `advance`: a peer faster than its reader must not keep the clocks unread
_READS_STREAMED = 4  # of one `advance` that feeds a sink, so that a slow reader slows the tool down
_FORK_S = 10.0  # for a template that serves to have the next worker ready: some thousand times what it takes
_STALLS = 2  # templates that may stand still under a call before it begins
_LOOK_S = 1.0
RAISE_LIMIT = " in the host process: raise its limit (ulimit -n)"
_VERDICT_S = 5.0  # for a dead worker's or template's cause of death to be told
_LAST_BREATH_S = (
    0.25  # between the end of a process's channel and its own: the kernel makes one after the other
)
_FRAME_SLACK = 1 << 16
_READY = frame(encode(Ready()))[0]
_WORKER_STATUSES = frozenset(
    {"raised", "denied", "invalid_arguments", "not_found", "bad_result", "memory_limit"}
)

Sink = Callable[[str, Any], None]
"""Takes ("stdout" | "stderr", text) and ("item", Packed) as they come."""


def _nobody() -> None:
    pass


class Flight:
    """One call under way.

    Parameters
    ----------
    engine : Engine
    route : Route
        Which template serves it.
    call_id : int
    pieces : list of bytes-like
        The framed Call message.
    limits : HostLimits
    notify : callable
        Called, from any thread, when the flight should be advanced though its descriptor is silent.
    sink : Sink or None
        Where items and output go as they come; None collects them in the ending.
    """

    __slots__ = (
        "_attempts", "_born", "_ending", "_items", "_items_bytes", "_last_look", "_leased_at", "_limits", "_output",
        "_output_bytes", "_overdue", "_reader", "_reason", "_sent_at", "_stalls", "_unread", "_unsent", "admitted",
        "call_id", "channel", "deadline", "detach", "engine", "lock", "notify", "phase", "pieces", "route", "sink",
        "template",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        route: Route,
        call_id: int,
        pieces: list[Any],
        limits: HostLimits,
        notify: Callable[[], None],
        sink: Sink | None = None,
    ) -> None:
        self.engine, self.route, self.call_id, self.pieces = engine, route, call_id, pieces
        self.notify, self.sink = notify, sink
        # Held by whoever moves the flight: its driver, or a canceller. Taken before the engine's lock, never after it.
        self.lock = threading.RLock()
        # Told of a descriptor before it is closed: its number may be another flight's a moment later.
        self.detach: Callable[[], None] | None = None
        self._limits = limits
        self._born = self._sent_at = time.monotonic()
        self.phase = QUEUED
        self.admitted = False
        self.deadline = self._born + limits.queue_s
        self.template: Template | None = None
        self.channel: WorkerChannel | None = None
        self._reader: FrameReader | None = None
        self._unsent: list[memoryview] = []
        self._items: list[Packed] = []
        self._output: dict[int, list[str]] = {}
        self._items_bytes = self._output_bytes = 0
        self._attempts = self._unread = self._stalls = 0
        self._leased_at = self._born
        self._reason, self._last_look = "", False
        self._overdue: Ending | None = None  # what to tell once all that the killed worker said is taken in
        self._ending: Ending | None = None

    @property
    def descriptor(self) -> int:
        """The worker's channel while it matters, else -1 (wait for `notify`)."""
        channel = self.channel
        if channel is None or self.phase not in (STARTING, RUNNING):
            return -1
        if self.phase == STARTING and channel.pidfd >= 0:
            return -1  # the worker is ready: its template's word is waited for, and comes by `notify`
        return channel.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether part of the call is still to be sent."""
        return bool(self._unsent)

    def advance(self) -> Ending | None:
        """Take in whatever happened; return the ending once there is one (and the same ever after)."""
        if self.engine.forgotten:
            self.lock = threading.RLock()  # as in `cancel`
        with self.lock:
            try:
                if self.engine.forgotten:
                    self._settle(Ending("cancelled", self.engine.why_closed))
                self._move()
            except Exception as error:
                text = f"the sandbox failed at the host: {type(error).__name__}: {error}"
                self._settle(Ending("fault", text))
            if self._ending is not None:
                self._forget_driver()
            return self._ending

    def _forget_driver(self) -> None:
        # They refer to each other: what a call returned must not wait for the garbage collector.
        self.notify, self.detach, self.sink = _nobody, None, None
        self.pieces, self._reader = [], None
        self._unsent = []

    def _move(self) -> None:
        reads = _READS if self.sink is None else _READS_STREAMED
        while self.phase != SETTLED and self._step():
            if self.phase == RUNNING:
                reads -= 1
                if reads <= 0:
                    # There may be more: its descriptor says so again.
                    self._check_clocks()
                    return

    def cancel(self, reason: str = "the call was cancelled") -> bool:
        """End the call now: its worker dies. False when it has ended already."""
        if self.engine.forgotten:
            self.lock = threading.RLock()  # a thread that held it when this child was forked is not here
        with self.lock:
            return self._settle(Ending("cancelled", reason))

    def ends_not_before(self) -> float:
        """Return when the time of the call is over, or would be were it sent now."""
        return (self._sent_at if self.is_running else time.monotonic()) + self._limits.wall_s

    def kill_overdue(self) -> bool:
        """End the process of a call over its time; what it said is still taken in. False: it was sent anew."""
        with self.lock:
            if self.ends_not_before() > time.monotonic():
                return False
            channel = self.channel
            if self.is_running and channel is not None and not processes.has_ended(channel.pidfd):
                self._overdue = endings.over_time(self._limits)
                self._overdue.usage = endings.usage_of(channel.pidfd, self._overdue.usage)
                processes.kill(channel.pidfd)
            return True

    def process_gone(self) -> None:
        """Take note that the worker process ended; what it sent before is still taken in first."""
        with self.lock:
            while self.phase == RUNNING and self._step_running() and time.monotonic() < self.deadline:
                pass
            if self.phase == RUNNING:
                self._die("the worker process ended without an answer")

    @property
    def is_spent(self) -> bool:
        """Whether nothing of this call is left in the worker's channel: neither unsent nor said after its result."""
        try:
            if self._reader is not None:
                self._reader.eof()
        except WireError:
            return False
        return not self._unsent and self._overdue is None

    @property
    def is_running(self) -> bool:
        """Whether the call has been sent."""
        return self.phase in (RUNNING, DYING) and self.channel is not None

    def refuse(self, status: str, reason: str) -> None:
        """End a flight that goes no further: `rejected`, or `fault` if the sandbox itself failed."""
        with self.lock:
            self._settle(Ending(status, reason))

    def _step(self) -> bool:
        """Make one move; return whether another may be possible at once."""
        if self.phase == QUEUED:
            return self._step_queued()
        if self.phase == STARTING:
            return self._step_starting()
        if self.phase == RUNNING:
            return self._step_running()
        return self._step_dying()

    def _step_queued(self) -> bool:
        if not self.admitted:
            if time.monotonic() >= self.deadline:
                text = f"no worker was free within queue_s={self._limits.queue_s:g} s"
                self._settle(Ending("rejected", text, settings=("max_workers", "queue_s")))
            return False
        return self._start()

    def _start(self) -> bool:
        """Lease the next worker of the route's template."""
        before = self.template
        if before is not None and before.stall is not None:
            self._stalls += 1
            if self._stalls >= _STALLS:
                self._settle(endings.copy_of(before.stall))
                return False
        template = self.engine.template_for(self.route, self)
        if template is None:
            return False  # settled by the engine, with the reason
        if template is not before:
            self._attempts += _ATTEMPTS - 1
        self.template = template
        self._attempts += 1
        if self._is_hopeless(before):
            return False
        self.engine.lease(self, self.template)
        self.phase = STARTING
        if self.channel is None:
            return self._await_verdict()
        if self.channel.pidfd >= 0 and self.template.blank:  # it was another call's before
            return self._send() if self.channel.is_silent() else self._lost_before_start()
        self._leased_at = time.monotonic()
        # Of a template that loads yet, the supervisor holds the clock; how that went is looked at now and then.
        wait = min(self._limits.queue_s, _FORK_S) if self.template.loaded else _LOOK_S
        self.deadline = self._leased_at + wait
        return True

    def _is_hopeless(self, last: Template | None) -> bool:
        """Whether to try no more after so many templates and workers; the flight is settled then."""
        if self._attempts <= _ATTEMPTS * _ATTEMPTS:
            return False
        if last is not None and last.blank:
            self.engine.give_up(last)
        self._settle(endings.hopeless(confined=last is None or last.blank))
        return True

    def _step_starting(self) -> bool:
        assert self.channel is not None and self.template is not None
        if self.channel.pidfd < 0:
            try:
                data, self.channel.pidfd = processes.receive_ready(self.channel.sock)
            except BlockingIOError:
                return self._check_start()
            except OSError:
                data = b""
            if not data:
                return self._lost_before_start()
            if data != _READY:
                self.phase = RUNNING  # with its channel used, nobody else may have this worker
                self._settle(Ending("crashed", "the worker broke the protocol before its call"))
                return False
            if self.channel.pidfd < 0:
                return self._without_hold(-self.channel.pidfd)
        if self.template.blank:
            return self._send()
        # News of two channels comes in no order: what its template has said of the layers belongs to the outcome.
        return self._check_start() if self.channel.is_silent() else self._lost_before_start()

    def _without_hold(self, number: int) -> bool:
        """Send no call to a worker that could not be killed: the kernel gave no pidfd, for this reason (errno)."""
        if number not in (errno.EMFILE, errno.ENFILE):
            return self._lost_before_start()  # it is gone
        self.phase = RUNNING  # and nobody else may have it: it ends as its channel closes
        self._settle(Ending("fault", f"the worker could not be taken: {os.strerror(number)}{RAISE_LIMIT}"))
        return False

    def _check_start(self) -> bool:
        """Decide how much longer to wait for a worker, now that none is ready.

        A template says itself when it has loaded, and may lie: its word alone must not leave a call without an end.
        """
        now, template, channel = time.monotonic(), self.template, self.channel
        if now < self.deadline:
            return False
        assert template is not None and channel is not None
        if template.ended:
            return self._lost_before_start()
        if not template.loaded:
            self._leased_at, self.deadline = now, now + _LOOK_S
            return False
        rejected_at = self._leased_at + self._limits.queue_s
        stalled_at = max(template.heard_at, channel.wanted_at) + _FORK_S
        if now >= stalled_at and self.engine.give_up(template):
            return self._lost_before_start()
        if now >= rejected_at:
            self._settle(Ending("rejected", "no worker became ready in time"))
            return False
        self.deadline = min(rejected_at, max(stalled_at, now + _LOOK_S))
        return False

    def _send(self) -> bool:
        assert self.channel is not None and self.template is not None
        self._sent_at = self.template.heard_at = time.monotonic()
        self.phase = RUNNING  # after that: the watchdog looks at both
        self.template.waiting.discard(self)
        self.deadline = self._sent_at + min(self._limits.wall_s, self._limits.cpu_s)
        pieces = self.pieces
        if len(pieces) == 1 and len(pieces[0]) <= _SMALL:
            try:
                sent = self.channel.sock.send(pieces[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                return self._lost_before_start()
            if sent == len(pieces[0]):
                return False
            self._unsent = [memoryview(pieces[0])[sent:]]
            return False
        self.channel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self._unsent = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        return True

    def _step_running(self) -> bool:
        assert self.channel is not None
        if self._unsent and not self._send_more():
            return self._lost_before_start()
        try:
            data = self._receive()
        except BlockingIOError:
            return self._check_clocks()
        except ConnectionResetError:
            # The worker died with the call unread: it never began, so it may begin elsewhere.
            return self._lost_before_start()
        except OSError:
            data = b""
        if data == b"":
            return self._die("the worker process ended without an answer")
        return self._take_in(data)

    def _receive(self) -> bytes | None:
        """Return what is here, b"" at the end; None when it lies in the buffer already that it belongs to."""
        assert self.channel is not None
        sock = self.channel.sock
        if self._reader is not None:
            count = self._reader.fill(lambda room: sock.recv_into(room, 0, socket.MSG_DONTWAIT))
            if count is not None:
                return None if count else b""
        return sock.recv(_CHUNK, socket.MSG_DONTWAIT)

    def _send_more(self) -> bool:
        assert self.channel is not None
        try:
            while self._unsent:
                sent = self.channel.sock.sendmsg(self._unsent[:64], (), socket.MSG_DONTWAIT)
                while self._unsent and sent >= len(self._unsent[0]):
                    sent -= len(self._unsent.pop(0))
                if sent:
                    self._unsent[0] = self._unsent[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _take_in(self, data: bytes | None) -> bool:
        try:
            if self._reader is None:
                assert data is not None
                payload = parse_single(data)
                if payload is not None:
                    return self._hear(decode_from_worker(payload), ())
                cap = self._limits.result_bytes + _FRAME_SLACK
                self._reader = FrameReader(FrameCaps(payload=cap, total=cap))
            reader = self._reader
            if data is not None:
                reader.feed(data)
            while self.phase == RUNNING:
                found = reader.next()
                if found is None:
                    return True
                self._hear(decode_from_worker(found[0]), found[1])
        except WireError as error:
            # Honest workers hold to the limits before they send, so too large is a lie like any other.
            self._settle(Ending("crashed", f"the worker broke the protocol: {error}"))
        return False

    def _hear(self, message: FromWorker, buffers: Any) -> bool:
        kind = type(message)
        if kind is Result and message.id == self.call_id:  # type: ignore[union-attr]
            self._settle_result(message, buffers)  # type: ignore[arg-type]
            return False
        if kind is Output and message.text and not buffers:  # type: ignore[union-attr]
            return self._hear_output(message)  # type: ignore[arg-type]
        if kind is Item:
            return self._hear_item((message.value, buffers))  # type: ignore[union-attr]
        if kind is Failure and message.id == self.call_id and message.status in _WORKER_STATUSES:  # type: ignore[union-attr]
            self._settle(Ending(message.status, error=message.error, usage=message.usage))  # type: ignore[union-attr]
            return False
        state.advance(state.WORKER, state.RUNNING, message)
        # In order, and yet not an answer to this call: a forged id or status.
        raise WireError(f"{kind.__name__} answers no call of this worker")

    def _settle_result(self, result: Result, buffers: Any) -> None:
        generator = result.items >= 0 and self.sink is None
        if generator and result.items != len(self._items):
            raise WireError(f"{result.items} items were announced and {len(self._items)} came")
        value = (result.value, buffers)
        self._settle(Ending("ok", value=value, usage=result.usage, generator=generator))

    def _hear_output(self, message: Output) -> bool:
        text = message.text
        self._output_bytes += len(text.encode())
        if message.stream not in (1, 2):
            raise WireError(f"there is no stream {message.stream}")
        over = self._output_bytes > self._limits.output_bytes
        if over:
            text = text.encode()[: self._limits.output_bytes - self._output_bytes].decode(errors="ignore")
        self._output.setdefault(message.stream, []).append(text)
        if self.sink is not None and text:
            self.sink("stdout" if message.stream == 1 else "stderr", text)
        if over:
            self._stop(
                Ending("output_limit", f"more than output_bytes={self._limits.output_bytes} were written")
            )
        return not over

    def _hear_item(self, packed: Packed) -> bool:
        self._items_bytes += len(packed[0]) + sum(map(len, packed[1]))
        if self.sink is not None:
            self._items_bytes = 0  # each item by itself is held to the limit
            self.sink("item", packed)
            return True
        self._items.append(packed)
        # An item is some 200 bytes of objects here whatever its size on the wire.
        if self._items_bytes + 200 * len(self._items) > max(self._limits.result_bytes, 1 << 20):
            text = f"the items together are larger than result_bytes={self._limits.result_bytes}"
            self._stop(Ending("bad_result", text, settings=("result_bytes",)))
            return False
        return True

    # -- clocks and deaths --------------------------------------------------------------------------------

    def _check_clocks(self) -> bool:
        now = time.monotonic()
        if now < self.deadline:
            return False
        limits, wall_end = self._limits, self._sent_at + self._limits.wall_s
        if now >= wall_end:
            self._stop(endings.over_time(limits))
            return False
        assert self.channel is not None
        used = processes.cpu_seconds(self.channel.pidfd)
        if used is not None and used >= limits.cpu_s:
            self._stop(endings.over_cpu(limits))
            return False
        left = limits.cpu_s - (used or 0.0)
        # Threads can spend it faster than the wall clock runs, hence the half; the kernel's own limit is
        # the backstop.
        self.deadline = min(wall_end, now + max(left / 2, 0.01))
        return False

    def _lost_before_start(self) -> bool:
        """The worker died before its call began: no harm done, take the next one."""
        if self.phase == RUNNING:
            if self._overdue is not None:
                return self._die("")
            self._unread += 1
            if self._unread > _UNREAD:
                # Not an accident: reading this call is what ends a worker.
                return self._die("the worker process ended while it was sent its call")
        self.engine.drop(self)
        self._reader, self._unsent = None, []
        template = self.template
        if template is None or not template.loaded:
            return self._await_verdict()
        if template.process_gone():
            # Noticed here before the supervisor was: its other workers are gone too, none needs to be tried.
            return self._await_verdict()
        return self._start()

    def _await_verdict(self) -> bool:
        self.phase = DYING
        self.deadline = time.monotonic() + _VERDICT_S
        return True

    def _die(self, reason: str) -> bool:
        """The worker is gone and the call had begun: ask its template how it ended, unless it was killed from here."""
        if self._overdue is not None:
            self._settle(self._overdue)
            return False
        self.phase = DYING
        self._reason = reason
        self.deadline = time.monotonic() + _LAST_BREATH_S
        self._last_look = True
        self.engine.inquire(self)
        return self.engine.closed

    def _step_dying(self) -> bool:
        template = self.template
        if self.engine.closed:
            self._settle(Ending("cancelled", "the pool was closed during the call"))
            return False
        if template is None:
            return False
        if self.channel is None:
            if template.verdict is not None and template.verdict.status not in endings.GONE:
                self._settle(endings.copy_of(template.verdict))
                return False
            if template.ended or (template.loaded and not template.deaf and not template.process_gone()):
                return self._start()
        elif template.ended:
            self._settle(endings.with_its_template(template.verdict))
            return False
        elif self._last_look and time.monotonic() >= self.deadline:
            self._look_whether_it_lives(self.channel.pidfd)
        if time.monotonic() >= self.deadline:
            if self.channel is None:
                self.engine.condemn(template)
                return self._start()
            self._settle(self._overdue or Ending("crashed", self._reason))
        return False

    def _look_whether_it_lives(self, pidfd: int) -> None:
        """Wait for a dead worker's cause of death; kill one that only closed its channel, and can say no more."""
        self._last_look = False
        self.deadline += _VERDICT_S
        if not processes.has_ended(pidfd):
            self._reason = endings.MUTE
            processes.kill(pidfd)

    def told_end(self, wait_status: int) -> None:
        """Settle with the worker's wait status, as its template tells it (supervisor only)."""
        with self.lock:
            mute = self._reason == endings.MUTE
            self._settle(self._overdue or endings.ending_of(wait_status, self._limits, mute=mute))

    def _stop(self, ending: Ending) -> None:
        """End a call that runs on; its worker has told nothing of what it used, so the kernel is asked."""
        channel = self.channel
        if self.phase == RUNNING and channel is not None and channel.pidfd >= 0 and self._overdue is None:
            ending.usage = endings.usage_of(channel.pidfd, ending.usage)
        self._settle(self._overdue or ending)

    def _settle(self, ending: Ending) -> bool:
        """End the flight exactly once; False when somebody was faster."""
        begun = self.phase != STARTING
        if not self.engine.claim(self):
            return False
        now = time.monotonic()
        sent = self._sent_at > self._born
        waited_to = self._sent_at if sent else now
        ending.wall_s = now - self._sent_at if sent else 0.0
        ending.queue_s = waited_to - self._born
        if self.template is not None and not 0.0 < self.template.loaded_at < self._born:
            ending.load_s = self.template.loading_between(self._born, waited_to)
            ending.queue_s -= ending.load_s
        ending.items, ending.output = self._items, self._output
        if self.template is not None:
            ending.layers = self.template.layers
        self._ending = ending
        self.engine.release(self, ending, begun=begun)
        return True
