"""Making calls: from a tool and arguments to a flight, from its ending to an outcome.

The part of a pool that needs the wire. `_pool` imports it once the zygote is starting, so that both take their time
together.
"""

from __future__ import annotations

import atexit
import itertools
import os
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from elf_pysandbox._errors import CallError, InvalidArgumentsError, PoolClosedError
from elf_pysandbox._hints import Hint
from elf_pysandbox._host.abandon import leave
from elf_pysandbox._host.blocking import BlockingWait
from elf_pysandbox._host.endings import Ending, Packed
from elf_pysandbox._host.engine import Engine, engines
from elf_pysandbox._host.flight import Flight, Sink
from elf_pysandbox._host.processes import allow_descriptors
from elf_pysandbox._host.route import Route
from elf_pysandbox._host.submitted import Deadlines, Submitted
from elf_pysandbox._host.templates import Template
from elf_pysandbox._host.watchdog import Watchdog
from elf_pysandbox._host.zygotes import Zygote
from elf_pysandbox._outcome import Event, ItemEvent, Outcome, OutputEvent
from elf_pysandbox._remembered import Remembered
from elf_pysandbox._results import outcome_of, unpack_item
from elf_pysandbox._tools.tool import Tool
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import Call, encode
from elf_pysandbox_worker.wire.values import UnsupportedValue, ValueTooLarge, pack

if TYPE_CHECKING:
    from elf_pysandbox._host.futures import CallFuture

_call_ids = itertools.count(1)
_all: weakref.WeakSet[Calls] = weakref.WeakSet()  # of this process


def _forget_in_child() -> None:
    # A forked child shares the parent's sockets: using them would mix up two processes' calls.
    for engine in list(engines):
        # Once: in a child that forks in turn, the numbers let go of are other files' by now.
        if not engine.forgotten:
            engine.forget()


def _close_at_exit() -> None:
    """Let submitted calls come to their end, as `concurrent.futures.Executor` promises; Ctrl-C ends the waiting."""
    try:
        for calls in list(_all):
            while not calls.engine.forgotten and (pending := list(calls.pending)):
                _wait(pending)
    finally:
        for engine in list(engines):
            engine.close()


os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(_close_at_exit)


class Request(msgspec.Struct, frozen=True):
    """One call as its caller asked for it.

    Attributes
    ----------
    route : Route or CallError
        Where it goes, or why there is no such tool.
    tool : Tool or None
    op : str
        "call", or another operation on the tool.
    args, kwargs
        Arguments of the tool.
    options : dict of str to str
        Options of the operation.
    """

    route: Route | CallError
    tool: Tool | None
    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: dict[str, str]


class _Prepared(msgspec.Struct, frozen=True):
    """A call ready to fly."""

    make: Callable[[Callable[[], None]], Flight]
    call_id: int


class Calls:
    """What a pool and its views share: the engine, the calls under way, the tools met so far.

    Parameters
    ----------
    max_workers, max_queued, max_templates : int
    zygote : Zygote, optional
        One that is starting.
    template : Template, optional
        One that it was asked for.
    """

    def __init__(
        self,
        max_workers: int,
        max_queued: int,
        max_templates: int,
        zygote: Zygote | None,
        template: Template | None,
    ) -> None:
        self.engine = Engine(max_workers, max_queued, max_templates)
        if zygote is not None:
            self.engine.adopt(zygote, template)
        self.tools = Remembered()
        # The face does not import what these need; it finds them here.
        self.tool_type, self.request_type = Tool, Request
        self.closing = False
        self.pending: set[CallFuture] = set()
        self._deadlines = Deadlines(self.engine.supervisor)
        self._watchdog = Watchdog(self.engine.supervisor)
        _all.add(self)
        # A channel and a pidfd for each worker, and as many again while they are replaced.
        allow_descriptors(4 * max_workers + 256)

    def run(self, request: Request) -> Outcome:
        """Make a call and wait for its outcome in this thread."""
        prepared = self._prepare(request)
        if isinstance(prepared, Outcome):
            return prepared
        return outcome_of(BlockingWait(self.engine, prepared.make).run(), prepared.call_id)

    def submit(self, request: Request, *, whole: bool) -> CallFuture:
        """Start a call; its future gives the value, or the outcome when `whole`."""
        if self.closing:
            raise PoolClosedError(self.engine.why_closed)
        from elf_pysandbox._host.futures import CallFuture

        future = CallFuture()
        prepared = self._prepare(request)
        if isinstance(prepared, Outcome):
            _fulfil(future, prepared, whole)
            return future

        def finish(ending: Ending) -> None:
            self.pending.discard(future)
            future._flight = None  # it holds the result as it came
            _fulfil(future, outcome_of(ending, prepared.call_id), whole)

        self.pending.add(future)
        submitted = Submitted(self.engine, self._deadlines, prepared.make, finish)
        future._flight = submitted.flight
        submitted.begin()
        return future

    def stream(self, request: Request) -> Iterator[Event]:
        """Make a call and yield its events, the outcome last."""
        events: deque[Event] = deque()
        prepared = self._prepare(request, _sink_into(events))
        if isinstance(prepared, Outcome):
            yield prepared
            return
        wait = BlockingWait(self.engine, prepared.make)
        try:
            with self._watchdog.over(wait.flight):
                wait.begin()
                while wait.ending is None:
                    while events:
                        yield events.popleft()
                    wait.step()
            yield from events
        finally:
            if wait.ending is None:
                leave(wait.flight)
        yield outcome_of(wait.ending, prepared.call_id)

    async def arun(self, request: Request) -> Outcome:
        """Make a call and await its outcome in the running loop."""
        from elf_pysandbox._host.asynchronous import AsyncWait

        prepared = self._prepare(request)
        if isinstance(prepared, Outcome):
            return prepared
        wait = AsyncWait(self.engine, prepared.make)
        with self._watchdog.over(wait.flight):
            return outcome_of(await wait.run(), prepared.call_id)

    async def astream(self, request: Request) -> AsyncIterator[Event]:
        """Make a call and yield its events in the running loop, the outcome last."""
        from elf_pysandbox._host.asynchronous import AsyncWait

        events: deque[Event] = deque()
        prepared = self._prepare(request, _sink_into(events))
        if isinstance(prepared, Outcome):
            yield prepared
            return
        wait = AsyncWait(self.engine, prepared.make)
        try:
            with self._watchdog.over(wait.flight):
                wait.begin()
                while wait.ending is None:
                    while events:
                        yield events.popleft()
                    await wait.step()
            while events:
                yield events.popleft()
        finally:
            if wait.ending is None:
                leave(wait.flight)
        yield outcome_of(wait.ending, prepared.call_id)

    def end(self, pending: list[CallFuture]) -> None:
        """Wait for these calls, then end everything."""
        if self.engine.owner == os.getpid():  # a forked child would wait for calls that end elsewhere
            if pending:
                self.engine.supervisor.hand_over()
            _wait(pending)
            self.engine.close()

    def _prepare(self, request: Request, sink: Sink | None = None) -> _Prepared | Outcome:
        """Write the call out; arguments that cannot be sent are an outcome already."""
        route, tool, options = request.route, request.tool, request.options
        engine, call_id = self.engine, next(_call_ids)
        if not isinstance(route, Route):
            route.outcome = Outcome(route.status, error=route, call_id=str(call_id))
            return route.outcome
        assert tool is not None
        limits = route.limits
        if tool.call_options:
            options = {**tool.call_options, **options}
        try:
            packed = pack((request.args, request.kwargs), max_bytes=limits.result_bytes, root="")
        except (UnsupportedValue, ValueTooLarge) as error:
            return _unsendable(error, call_id)
        message = Call(
            call_id, request.op, tool.path, msgspec.Raw(packed.data), sink is not None, limits.output_bytes,
            limits.result_bytes, options,
        )  # fmt: skip
        pieces = frame(encode(message), packed.buffers)

        def make(notify: Callable[[], None]) -> Flight:
            return Flight(engine, route, call_id, pieces, limits, notify, sink)

        return _Prepared(make, call_id)


def _wait(pending: list[CallFuture]) -> None:
    if pending:
        from concurrent.futures import wait

        wait(pending)


def _sink_into(events: deque[Event]) -> Sink:
    def sink(kind: str, what: str | Packed) -> None:
        if kind == "item":
            events.append(ItemEvent(unpack_item(what)))  # type: ignore[arg-type]
        else:
            events.append(OutputEvent(kind, what))  # type: ignore[arg-type]

    return sink


def _fulfil(future: CallFuture, outcome: Outcome, whole: bool) -> None:
    if not future.set_running_or_notify_cancel():
        return  # cancelled: its waiters know already
    if whole or outcome.error is None:
        future.set_result(outcome if whole else outcome.value)
    else:
        future.set_exception(outcome.error)


def _unsendable(error: UnsupportedValue | ValueTooLarge, call_id: int) -> Outcome:
    too_large = isinstance(error, ValueTooLarge)
    why = f"{error}: result_bytes bounds arguments as well" if too_large else str(error)
    refusal = InvalidArgumentsError(f"the arguments cannot be sent: {why}")
    refusal.problems = ((getattr(error, "path", ""), why),)
    if too_large:
        refusal.with_hints(Hint("result_bytes"))
    outcome = Outcome("invalid_arguments", error=refusal, call_id=str(call_id))
    refusal.outcome = outcome
    return outcome
