"""Admission, leases and templates: what the flights of one pool share.

One lock guards all counts and the fields of templates; nothing under it waits. Sockets are written under
it, which is safe because no write here can block: what has no room waits in an `outbox`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from elf_pysandbox._host import processes
from elf_pysandbox._host.endings import Ending
from elf_pysandbox._host.farewells import Farewells
from elf_pysandbox._host.flight import RAISE_LIMIT, SETTLED, Flight
from elf_pysandbox._host.launch import launch
from elf_pysandbox._host.outbox import Outbox
from elf_pysandbox._host.route import Route
from elf_pysandbox._host.supervisor import CONFINE_S, Supervisor
from elf_pysandbox._host.templates import Template, WorkerChannel, ask_for
from elf_pysandbox._host.zygotes import Starts, Zygote
from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.messages import Confinement, LayerReport, encode

if TYPE_CHECKING:
    from collections.abc import Hashable

_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS})
_FAREWELL_S = 10.0  # for the kernel to end all namespaces on a busy machine
_WARM_AFTER_S = 0.1  # from when a template loaded, if its first call lasts as long
_RESERVED = 4  # confinements of late for which a blank template waits

engines: weakref.WeakSet[Engine] = weakref.WeakSet()  # all of this process


class Engine:
    """The shared state of a pool.

    Parameters
    ----------
    max_workers : int
        Calls in flight at once.
    max_queued : int
        Calls that may wait for admission; one more is rejected.
    max_templates : int
        Loaded templates kept; the least recently used idle ones are retired.
    """

    def __init__(self, max_workers: int, max_queued: int, max_templates: int) -> None:
        self.max_workers, self.max_queued, self.max_templates = max_workers, max_queued, max_templates
        self._lock = threading.RLock()
        self._in_flight = 0
        self._queue: deque[Flight] = deque()
        self._zygotes: dict[str, Zygote] = {}
        self._starts = Starts()
        self._templates: OrderedDict[Hashable, Template] = OrderedDict()
        self._reserve: dict[tuple[str, str, bytes], list[Template]] = {}
        self._live: set[Template] = set()
        self._ahead: Template | None = None
        # Channels in use. Held here, too: a reader that is collected as garbage must not take an open socket along.
        self._leased: set[WorkerChannel] = set()
        self._farewells = Farewells()
        # Held by whoever closes the pool, to the end: the second to come waits for the first.
        self._closing = threading.RLock()
        self._closes = self._over = False
        self.owner = os.getpid()
        self.closed = False
        self.forgotten = False  # in a forked child: everything here is another process's
        self.why_closed = "this pool was shut down; make a new one"
        self.calls: Counter[str] = Counter()
        self.restarts = 0
        self.latencies: deque[float] = deque(maxlen=4096)
        self.supervisor = Supervisor(self)
        engines.add(self)

    def adopt(self, zygote: Zygote, blank: Template | None) -> None:
        """Take over what was started before the engine was there: a zygote, and a template that it was asked for."""
        with self._lock:
            self._zygotes[zygote.python] = zygote
            self._starts.count()
            self.supervisor.watch_zygote(zygote)
            if blank is not None:
                self._live.add(blank)
                self._ahead = blank

    # -- admission ----------------------------------------------------------------------------------

    def begin(self, flight: Flight) -> Ending | None:
        """Admit or queue a new flight and move it as far as it goes without waiting."""
        with self._lock:
            if self._in_flight < self.max_workers and not self._queue:
                self._in_flight += 1
                flight.admitted = True
            elif len(self._queue) < self.max_queued:
                self._queue.append(flight)
            else:
                flight.refuse("rejected", f"max_queued={self.max_queued} calls are waiting already")
        return flight.advance()

    def claim(self, flight: Flight) -> bool:
        """Take the right to end a flight; exactly one caller gets it."""
        with self._lock:
            if flight.phase == SETTLED:
                return False
            flight.phase = SETTLED
            return True

    def release(self, flight: Flight, ending: Ending, *, begun: bool) -> None:
        """Let go of all that an ended flight held, and admit the next one.

        A worker whose call has not `begun` is as good as new, and may not even be forked yet: it goes back. Else the
        template would be sent channels faster than it can use them up.
        """
        channel, template = flight.channel, flight.template
        if self.forgotten:
            return
        keep = channel is not None and (
            not begun or (ending.status in ("ok", "raised") and self._can_serve_on(flight, channel))
        )
        admitted = None
        with self._lock:
            self.calls[ending.status] += 1
            if ending.status == "ok":
                self.latencies.append(ending.wall_s)
            self._unlink(flight)
            if channel is not None:
                self._leased.discard(channel)
            if keep and flight.detach is not None:
                flight.detach()
            if keep and template is not None and not template.ended and template.stall is None:
                assert channel is not None
                channel.calls += begun
                template.give_back(channel)
                channel = None
            if template is not None and not template.ended:
                template.aim_lower()
                self._end_if_stalled(template)
            if flight.admitted:
                admitted = self._pass_on_slot()
            elif flight in self._queue:
                self._queue.remove(flight)
        flight.channel = None
        if flight.detach is not None:
            flight.detach()
        if channel is not None:
            channel.end()
        if template is not None and not template.ended:
            if begun:
                self.warm(template)
            if template.low:
                self.supervisor.refill(template)
        if admitted is not None:
            admitted.notify()

    def _can_serve_on(self, flight: Flight, channel: WorkerChannel) -> bool:
        return channel.calls + 1 < flight.route.load.calls_per_worker and flight.is_spent

    def _unlink(self, flight: Flight) -> None:
        template, channel = flight.template, flight.channel
        if template is None:
            return
        template.waiting.discard(flight)
        if channel is not None:
            template.inquiries.pop(channel.index, None)
            template.in_flight -= 1
            template.last_used = time.monotonic()

    def _pass_on_slot(self) -> Flight | None:
        while self._queue:
            flight = self._queue.popleft()
            if flight.phase != SETTLED:
                flight.admitted = True
                return flight
        self._in_flight -= 1
        return None

    # -- templates ----------------------------------------------------------------------------------

    def template_for(self, route: Route, flight: Flight) -> Template | None:
        """Return the route's template, started if need be; None when it cannot be (the flight is settled)."""
        with self._lock:
            if self.closed:
                flight.cancel("the pool was closed before the call began")
                return None
            template = route.template
            if template is None or not template.usable:
                template = self._templates.get(route.key)
            if template is None or not template.usable:
                try:
                    template = self._start_template(route)
                except OSError as error:
                    advice = RAISE_LIMIT if error.errno in _OUT_OF_DESCRIPTORS else ""
                    flight.refuse("fault", f"no template could be started: {error}{advice}")
                    return None
            route.template = template
            template.waiting.add(flight)
            return template

    def _start_template(self, route: Route) -> Template:
        self._take_ahead()
        template = self._loaded_from_reserve(route)
        if template is None:
            template = self._spawn(route.python, route.roots, route.confinement)
            assert template.zygote is not None
            template.zygote.prepare(route.load.profile)
            try:
                template.load(route.load, route.limits.load_s)
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._end_template(template)
                    raise
                # It ended already: its keeper has said why, or the zygote's end will be noticed.
                template.deaf = True
        template.name, template.profile = route.load.bundle.entry, route.load.profile
        self._templates[route.key] = template
        if template.start_clock():
            self.supervisor.watch_load(template)
        self._retire_unused(template)
        return template

    def _take_ahead(self) -> None:
        """Put the template that was asked for ahead in reserve; at the first call, as watching it starts the thread."""
        blank, self._ahead = self._ahead, None
        if blank is None:
            return
        blank.started = time.monotonic()
        try:
            self.supervisor.watch(blank)
        except BaseException:  # no thread can be started: nobody would hear what becomes of it
            self._end_template(blank)
            raise
        self._reserve[blank.python, blank.profile, encode(blank.confinement)] = [blank]

    def _loaded_from_reserve(self, route: Route) -> Template | None:
        """Take a blank template that waits; one that died while it waited is passed over."""
        reserve = self._reserve.get((route.python, route.load.profile, encode(route.confinement)), [])
        while reserve:
            template = reserve.pop()
            try:
                if template.usable:
                    template.load(route.load, route.limits.load_s)
                    return template
            except OSError:
                self._end_template(template)
        return None

    def _spawn(self, python: str, roots: Sequence[str], confinement: Confinement) -> Template:
        try:
            template = ask_for(self._zygote(python, roots), confinement)
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                raise
            # It died since it was last used; its templates live on, it alone is replaced.
            self.zygote_gone(python)
            template = ask_for(self._zygote(python, roots), confinement)
        template.python, template.roots = python, roots
        self._live.add(template)
        self.supervisor.watch(template)
        return template

    def _zygote(self, python: str, roots: Sequence[str]) -> Zygote:
        zygote = self._zygotes.get(python)
        if zygote is None:
            self._starts.count()
            zygote = self._zygotes[python] = Zygote(launch(python, roots))
            self.supervisor.watch_zygote(zygote)
        return zygote

    def zygote_gone(self, python: str) -> None:
        """Forget a zygote that ended, or must."""
        with self._lock:
            zygote = self._zygotes.pop(python, None)
            if zygote is not None:
                self.restarts += 1
                self.supervisor.forget_zygote(zygote)
                self._starts.hear(zygote.last_words())
                zygote.close()

    def warm(self, like: Template) -> None:
        """Have a template keep workers to spare, and a blank one wait in reserve; once, when its first call ended."""
        if like.warmed:
            return
        like.warmed = True
        with self._lock:
            with contextlib.suppress(OSError):  # it is gone: the next lease finds out
                like.aim()
            if self.max_templates == 1:
                return  # the next tool is in no hurry: this one has to go for it
            recipe = (like.python, like.profile, encode(like.confinement))
            waiting = [template for template in self._reserve.pop(recipe, ()) if not template.ended]
            self._reserve[recipe] = waiting  # the latest last
            while len(self._reserve) > _RESERVED:
                for unused in self._reserve.pop(next(iter(self._reserve))):
                    self._end_template(unused)
            if self.closed or waiting or not like.usable:
                return
            try:
                self._zygote(like.python, like.roots).prepare(like.profile)
                template = self._spawn(like.python, like.roots, like.confinement)
                waiting.append(template)
                template.prepare(like.profile)
            except OSError:
                pass  # the next call that needs one meets the same error and tells it

    def _retire_unused(self, wanted: Template) -> None:
        surplus = len(self._templates) - self.max_templates
        for key, template in sorted(self._templates.items(), key=lambda item: item[1].last_used):
            if surplus <= 0:
                return
            if template is wanted:
                continue  # its first call is about to wait for it
            if template.ended or (not template.in_flight and not template.waiting):
                self._end_template(template)
                del self._templates[key]
                surplus -= 1

    def descriptors_came(self, template: Template, descriptors: list[int]) -> None:
        """Keep what came with a keeper's message, unless the template was ended a moment before."""
        with self._lock:
            if not template.ended:
                template.descriptors.extend(descriptors)
                return
        for descriptor in descriptors:
            processes.close(descriptor)

    def template_started(self, template: Template, pid: int) -> None:
        """Take note of a template's pid and its pidfd, and of its keeper's."""
        with self._lock:
            template.pid = pid
            if len(template.descriptors) >= 2:
                template.pidfd = template.descriptors.popleft()
                template.keeper_pidfd = template.descriptors.popleft()

    def template_confined(self, template: Template, layers: tuple[LayerReport, ...]) -> None:
        """Take note that a template can load now; its first workers may have been found ready before."""
        with self._lock:
            template.layers, template.blank = layers, True
            if not template.ended and template.start_clock():
                self.supervisor.watch_load(template)
        template.wake_waiting()

    def confinement_late(self, template: Template) -> None:
        """Give up a template that is not confined by now, and its zygote if that has not begun (supervisor only)."""
        with self._lock:
            if template.blank or template.ended:
                return
            if template.pid:
                text = "a template's confinement did not come to an end"
            else:
                text = "the zygote started no process"
                if self._zygotes.get(template.python) is template.zygote:
                    self.zygote_gone(template.python)
            template.stall = Ending("fault", f"{text} within {CONFINE_S:g} s")
            self.template_gone(template)

    def give_up(self, template: Template) -> bool:
        """Send no more calls to a template that forks no workers; False when it has as many as it may.

        Those that have begun there go on, and the template ends with the last of them.
        """
        with self._lock:
            if template.stall is None and not template.ended:
                if template.is_full():
                    return False
                self.restarts += 1
                template.stall = Ending(
                    "rejected", "templates loaded the tool's module, and then no worker of them became ready"
                )
            self._end_if_stalled(template)
            return True

    def _end_if_stalled(self, template: Template) -> None:
        if template.stall is not None and template.verdict is None and template.is_unused():
            self.condemn(template)

    def condemn(self, template: Template) -> None:
        """Give up a template that does not behave; its calls in flight end as their channels close."""
        with self._lock:
            if template.verdict is None:
                template.verdict = Ending("killed", "the template was killed")
            self._end_template(template)

    def kill(self, template: Template) -> None:
        """Kill a template that closed its channel, or does not read it; its keeper tells how it ended."""
        with self._lock:
            template.deaf = True
            if template.pid and template.pidfd < 0:
                self.condemn(template)  # there was no room for its pidfd
            elif not template.ended:
                processes.kill(template.pidfd)

    def template_loaded(self, template: Template) -> None:
        """Take note that a template serves; the next blank one is started when its first call ended, or lasts."""
        with self._lock:
            template.take_note_of_load()
        template.wake_waiting()
        self.supervisor.at(time.monotonic() + _WARM_AFTER_S, lambda: self.warm(template))

    def template_gone(self, template: Template) -> None:
        """Take note that a template ended; calls that had not begun start anew, the others learn of it."""
        with self._lock:
            if template.verdict is None:
                template.verdict = Ending("killed", "the template was killed")
                self.restarts += 1
            self._end_template(template)

    def worker_ended(self, template: Template, index: int, status: int) -> None:
        """Take note of how a worker ended that a flight asked about.

        Raises
        ------
        WireError
            Nobody asked: each question has one answer, or a hostile module could keep the supervisor busy with them.
        """
        with self._lock:
            if index not in template.unanswered:
                raise WireError("an answer to no question")
            template.unanswered.discard(index)
            flight = template.inquiries.pop(index, None)
        if flight is not None:
            flight.told_end(status)
            flight.notify()

    def _end_template(self, template: Template) -> None:
        if not template.ended:
            self.supervisor.forget(template)
            self._farewells.add(*template.part())
        self._live.discard(template)
        for flight in template.dismiss():
            self.supervisor.wake(flight)

    # -- leases -------------------------------------------------------------------------------------

    def lease(self, flight: Flight, template: Template) -> None:
        """Give a flight the next worker's channel; none when the template is gone."""
        with self._lock:
            if template.ended or template.deaf:
                return
            try:
                template.in_flight += 1
                template.aim()
                # Not by way of a return: a `KeyboardInterrupt` on the way would lose it.
                flight.channel = template.take()
                self._leased.add(flight.channel)
            except OSError as error:
                template.in_flight -= 1
                if error.errno in _OUT_OF_DESCRIPTORS:
                    raise OSError(error.errno, f"{error.strerror}{RAISE_LIMIT}") from None
                self.kill(template)

    def drop(self, flight: Flight) -> None:
        """Let go of a worker that died before its call began."""
        with self._lock:
            channel, flight.channel = flight.channel, None
            if channel is not None and flight.template is not None:
                flight.template.in_flight -= 1
                self._leased.discard(channel)
        if channel is not None:
            if flight.detach is not None:
                flight.detach()
            channel.end()

    def inquire(self, flight: Flight) -> None:
        """Ask the template how this flight's worker ended."""
        template, channel = flight.template, flight.channel
        assert template is not None and channel is not None
        with self._lock:
            if template.ended:
                self.supervisor.wake(flight)
                return
            try:
                template.inquire(channel.index, flight)
            except OSError:
                self.kill(template)

    def refill(self, template: Template) -> None:
        """Restock a template whose channels run low (supervisor only)."""
        with self._lock:
            if template.ended or not template.low:
                return
            try:
                template.aim()
                template.restock()
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:  # those are the host's trouble, not the template's
                    self.kill(template)

    def flush(self, outbox: Outbox) -> None:
        """Send on what waited for room; raises OSError when the peer is gone (supervisor only)."""
        with self._lock:
            outbox.flush()

    def trim(self) -> None:
        """Shrink every template to what it has needed of late (supervisor only, from time to time)."""
        with self._lock:
            self._farewells.prune()
            for template in [item for item in self._live if item.loaded and not item.ended]:
                try:
                    template.trim()
                except OSError:
                    self.kill(template)

    # -- the end ------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, int]:
        """Return counts of this moment."""
        with self._lock:
            templates = [template for template in self._live if not template.ended]
            return {
                "busy": self._in_flight,
                "queued": len(self._queue),
                "idle": sum(template.idle_workers() for template in templates if template.loaded),
                "templates": sum(template.loaded for template in templates),
                "reserve": sum(not one.ended for blank in self._reserve.values() for one in blank),
                "restarts": self.restarts,
            }

    def process_ids(self) -> list[int]:
        """Return the pids of zygotes and templates, for tests and operators."""
        with self._lock:
            templates = [template.pid for template in self._live if template.pid]
            return [zygote.pid for zygote in self._zygotes.values()] + templates

    def forget(self) -> None:
        """Let go of the parent's pool in a forked child: its processes must neither live nor die by what this one does.

        No lock is taken: a thread that the child does not have may hold it.
        """
        self.closed = self._over = self.forgotten = True
        self.why_closed = (
            f"this pool belongs to process {self.owner}, from which this one was forked; make a new one here"
        )
        self._lock, self._closing = threading.RLock(), threading.RLock()
        for zygote in self._zygotes.values():
            zygote.let_go()
        for template in list(self._live):
            template.let_go()
        for channel in list(self._leased):
            channel.let_go()
        self._farewells.let_go()
        self.supervisor.let_go()

    def is_held(self) -> bool:
        """Whether the calling thread holds the lock, as one that collects garbage may."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]

    def close_soon(self) -> None:
        """Close the pool, now that nobody has it any more; for a finalizer, which may run under any lock."""
        if not self.supervisor.run_if_running(self.close):
            self.close()

    def close(self) -> None:
        """End everything: every flight is cancelled, every process gone when this returns.

        A second thread waits for the first; what a `KeyboardInterrupt` broke off is taken up by the next call.
        """
        # The supervisor must not wait for a thread that waits for its end.
        if not self._closing.acquire(blocking=not self.supervisor.is_current()):
            return
        try:
            if self._over or self._closes:  # by this very thread, which comes again from a callback
                return
            self._closes = True
            try:
                self._close()
            finally:
                self._closes = False
            self._over = True
        finally:
            self._closing.release()

    def _close(self) -> None:
        with self._lock:
            self.closed = True
            queued = list(self._queue)
        for flight in queued:
            flight.cancel()
            flight.notify()
        with self._lock:
            for template in list(self._live):
                self._end_template(template)
            for zygote in self._zygotes.values():
                self.supervisor.forget_zygote(zygote)
        while self._zygotes:
            zygote = next(iter(self._zygotes.values()))
            zygote.close()
            del self._zygotes[zygote.python]
        self.supervisor.stop()
        # A keeper is gone when its template is, and with that the whole namespace.
        self._farewells.wait(_FAREWELL_S)
