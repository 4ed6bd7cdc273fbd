"""The host's record of one template: its channels, its stock of worker channels, its verdict.

The host counts; the template forks. Worker channels are made here, sent ahead in batches and taken in the
order sent, so that a flight can wait on "the next worker" whether that exists yet or not. A template is
never waited for: what its channel has no room for is sent when it has (`outbox`), and a template that leaves
too much of it unread is given up.

Who may touch what: fields are guarded by the engine's lock; sockets are closed by `end` only.
"""

from __future__ import annotations

import _socket as socket
import select
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from elf_pysandbox._host import processes, sockets
from elf_pysandbox._host.endings import Ending
from elf_pysandbox._host.outbox import Outbox
from elf_pysandbox_worker import state
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, frame
from elf_pysandbox_worker.wire.messages import (
    Confinement,
    Inquire,
    LayerReport,
    Load,
    Prepare,
    Stock,
    Target,
    encode,
)

if TYPE_CHECKING:
    from elf_pysandbox._host.flight import Flight
    from elf_pysandbox._host.zygotes import Zygote

_BATCH = 16  # channels a Stock message carries: 16 socket pairs are 0.2 ms of work, off the path
_LOW = 8  # restock when so few are left
_SPARE = 2  # workers kept ready beyond those in use
_CONTROL_CAPS = FrameCaps(payload=1 << 20, total=1 << 20, buffers=0)
_UNREAD = 32  # messages that may wait for room in a template's channel


def ask_for(zygote: Zygote, confinement: Confinement) -> Template:
    """Ask a zygote for a blank template; OSError when it is gone, or no channels can be made."""
    template = Template(confinement, "blank")
    template.given_away = True
    try:
        zygote.spawn(confinement, template.keeper_far, template.control_far)
    except OSError:
        template.end()
        raise
    template.zygote = zygote
    return template


class WorkerChannel:
    """The host's end of one worker's channel; `pidfd` is known once the worker is ready."""

    __slots__ = ("calls", "index", "pidfd", "sock", "wanted_at")

    def __init__(self, index: int, sock: socket.socket) -> None:
        self.index = index
        self.sock = sock
        self.pidfd = -1
        self.calls = 0
        self.wanted_at = float("inf")  # when a call first wanted it

    def is_silent(self) -> bool:
        """Whether a worker that rests has said nothing since its last result, and not ended."""
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def end(self) -> None:
        """Kill the worker and let go of it."""
        if self.pidfd >= 0:
            processes.kill(self.pidfd)
        self.let_go()

    def let_go(self) -> None:
        """Close the descriptors; the worker is somebody else's, or knows by that."""
        if self.pidfd >= 0:
            processes.close(self.pidfd)
            self.pidfd = -1
        self.sock.close()


class Template:
    """One template, from the request to its end.

    Parameters
    ----------
    confinement : Confinement
    """

    def __init__(self, confinement: Confinement, name: str) -> None:
        self.confinement = confinement
        self.name = name
        self.keeper, self.keeper_far = sockets.pair()
        try:
            self.control, self.control_far = sockets.pair()
        except OSError:
            self.keeper.close()
            self.keeper_far.close()
            raise
        self.keeper_reader = FrameReader(_CONTROL_CAPS)
        self.control_reader = FrameReader(_CONTROL_CAPS)
        self.descriptors: deque[int] = deque()
        self.python = ""
        self.roots: Sequence[str] = ()
        self.zygote: Zygote | None = None
        self.profile = ""
        self.pid = 0
        self.pidfd = self.keeper_pidfd = -1
        self.layers: tuple[LayerReport, ...] = ()
        self.state, self.keeper_state = state.CONFINING, state.STARTING
        self.blank = self.loaded = False
        self.deaf = self.warmed = False
        self.ended = False
        self.verdict: Ending | None = None
        # Why no more calls come here though it lives: it stands still. Those it serves already go on.
        self.stall: Ending | None = None
        self.load_s = 0.0
        self.load_deadline = float("inf")
        self.load_began = self.loaded_at = 0.0  # loaded, when both are set
        self.heard_at = 0.0  # when it loaded, or a worker of it was last found ready
        self.outbox = Outbox(self.control)
        self.given_away = False  # whether the far ends are somebody else's to close
        self.started = time.monotonic()
        self.in_flight = 0
        self.last_used = self.started
        self.waiting: set[Flight] = set()
        self.inquiries: dict[int, Flight] = {}
        self.unanswered: set[int] = set()
        # Ready workers that have served a call, and the channels of workers that have not, in the order sent.
        self._resting: list[WorkerChannel] = []
        self._stock: deque[WorkerChannel] = deque()
        self._next_index = 0
        self._target = 0

    def dismiss(self) -> list[Flight]:
        """Return the flights that wait for something of this template, and forget them."""
        waiting = [*self.waiting, *self.inquiries.values()]
        self.waiting.clear()
        self.inquiries.clear()
        return waiting

    @property
    def usable(self) -> bool:
        """Whether a call may begin here."""
        return not self.ended and self.verdict is None and self.stall is None

    # -- telling the template -----------------------------------------------------------------------

    def prepare(self, profile: str) -> None:
        """Have a blank template import what loading by this profile needs."""
        self._tell(Prepare(profile))

    def load(self, load: Load, load_s: float) -> None:
        """Send the bundle and a first stock; the template reads them as soon as it is confined."""
        self.load_s, self.load_began = load_s, time.monotonic()
        self._tell(load)
        self.aim()
        self.restock()
        self.start_clock()

    def start_clock(self) -> bool:
        """Count the time of loading from now, if the template can load; what goes before is not the module's doing."""
        if self.blank and self.load_s:
            self.load_deadline = time.monotonic() + self.load_s
        return self.load_deadline != float("inf")

    def wake_waiting(self) -> None:
        """Have the calls that wait for a worker of it look again; not under the engine's lock."""
        for flight in list(self.waiting):
            flight.notify()

    def take_note_of_load(self) -> None:
        """Note that it has loaded its module."""
        self.loaded = True
        self.loaded_at = self.heard_at = time.monotonic()

    def loading_between(self, since: float, until: float) -> float:
        """Return how many seconds of a wait went into the loading of the module."""
        if not self.load_began:
            return 0.0
        return max(min(self.loaded_at or until, until) - max(since, self.load_began), 0.0)

    def _tell(self, message: Any, handed: Sequence[socket.socket] = ()) -> None:
        if len(self.outbox) > _UNREAD:
            for sock in handed:
                sock.close()
            raise BrokenPipeError("the template does not read its channel")
        self.outbox.send(b"".join(frame(encode(message))), handed)

    def restock(self) -> None:
        """Send one more batch of worker channels; raises OSError when the template is gone or stuck."""
        pairs: list[tuple[socket.socket, socket.socket]] = []
        try:
            while len(pairs) < _BATCH:
                pairs.append(processes.worker_channel())
            self._tell(Stock(len(pairs)), [far for _, far in pairs])
        except OSError:
            for near, far in pairs:
                near.close()
                far.close()
            raise
        for near, _ in pairs:
            self._stock.append(WorkerChannel(self._next_index, near))
            self._next_index += 1

    def aim(self) -> None:
        """Tell the template how many workers to keep alive, when that changed enough to matter."""
        # Until its first call has ended, workers to spare would only be forked beside the one that this waits for.
        spare = _SPARE if self.warmed else max(1 - self.in_flight, 0)
        want = min(self.in_flight + spare, self.confinement.workers)
        if want > self._target:
            # Growing demand grows on: half as much again spares most of the messages.
            self._target = min(want + want // 2, self.confinement.workers)
            self._tell(Target(self._target))

    def aim_lower(self) -> None:
        """Tell the template to keep fewer workers alive once demand has fallen to less than half."""
        want = self.in_flight + _SPARE
        # Not while calls wait for workers to be forked: those that rest would count against them.
        if self._target > 2 * want + _BATCH and not self.waiting:
            self._target = want
            try:
                self._tell(Target(want))
            except OSError:
                pass  # it is gone or stuck; the next lease finds out

    def inquire(self, index: int, flight: Flight) -> None:
        """Ask how a worker ended; the answer reaches `flight` through the supervisor."""
        self.inquiries[index] = flight
        self.unanswered.add(index)
        self._tell(Inquire(index))

    # -- leases -------------------------------------------------------------------------------------

    def take(self) -> WorkerChannel:
        """Take a worker that waits for another call, or the channel of the next one, forked or not."""
        if self._resting:
            return self._resting.pop()
        if not self._stock:
            self.restock()
        channel = self._stock.popleft()
        channel.wanted_at = min(channel.wanted_at, time.monotonic())
        return channel

    def give_back(self, channel: WorkerChannel) -> None:
        """Return a worker that will serve another call, or a channel that was not used.

        The template forks in the order sent, so an unused channel goes back to its place: before it stands what may be
        forked already, behind it what is not.
        """
        if channel.pidfd >= 0:
            self._resting.append(channel)
            return
        place = 0
        while place < len(self._stock) and self._stock[place].index < channel.index:
            place += 1
        self._stock.insert(place, channel)

    @property
    def low(self) -> bool:
        """Whether the stock should be refilled soon."""
        return len(self._stock) < _LOW

    def process_gone(self) -> bool:
        """Whether the template process has ended (a pidfd is readable then, pidfd_open(2))."""
        if self.ended:
            return True
        pidfd = self.pidfd
        return pidfd >= 0 and processes.has_ended(pidfd)

    def trim(self) -> None:
        """Let idle workers go that the demand of late does not need; some stay ready for the next call."""
        keep = max(_SPARE, min(self.in_flight, _BATCH))
        surplus = self.idle_workers() - keep
        if surplus <= 0:
            return
        self._target = self.in_flight + keep
        self._tell(Target(self._target))
        for _ in range(surplus):
            # The oldest come first, so these are the ones that are ready: they read the end of file and exit.
            channel = self._resting.pop() if self._resting else self._stock.popleft()
            channel.end()

    def is_full(self) -> bool:
        """Whether it has as many workers as it may; one that wants another waits for one of them to end."""
        begun = self.in_flight - sum(flight.channel is not None for flight in list(self.waiting))
        return begun + len(self._resting) >= self.confinement.workers

    def is_unused(self) -> bool:
        """Whether no call has begun in any of its workers, or may yet."""
        return self.in_flight <= sum(flight.channel is not None for flight in list(self.waiting))

    def idle_workers(self) -> int:
        """Count the workers that have said they are ready and serve no call."""
        if self.ended:
            return 0
        poller = select.poll()
        for channel in self._stock:
            poller.register(channel.sock, select.POLLIN)
        return len(self._resting) + (len(poller.poll(0)) if self._stock else 0)

    # -- the end ------------------------------------------------------------------------------------

    def part(self) -> tuple[socket.socket, list[int]]:
        """End the template and all its workers; return the keeper's channel and the pidfds of both, to wait for."""
        self.ended = True
        pidfds = [pidfd for pidfd in (self.pidfd, self.keeper_pidfd) if pidfd >= 0]
        if self.pidfd >= 0:
            processes.kill(self.pidfd)
        self.pidfd = self.keeper_pidfd = -1
        pidfds += self.descriptors  # one that came alone, for want of room
        self.descriptors.clear()
        for channel in (*self._resting, *self._stock):
            channel.end()
        self._resting.clear()
        self._stock.clear()
        self.outbox.close()
        for sock in (self.control,) if self.given_away else (self.control, self.keeper_far, self.control_far):
            sock.close()
        return self.keeper, pidfds

    def let_go(self) -> None:
        """Close this process's copies of all descriptors, in a forked child."""
        self.ended = True
        self.outbox.close()
        for channel in (*self._resting, *self._stock):
            channel.let_go()
        for sock in (self.keeper, self.control):
            sock.close()
        for pidfd in (self.pidfd, self.keeper_pidfd, *self.descriptors):
            processes.close(pidfd)

    def end(self) -> None:
        """End a template that nobody waits for."""
        if not self.ended:
            keeper, pidfds = self.part()
            keeper.close()
            for pidfd in pidfds:
                processes.close(pidfd)
