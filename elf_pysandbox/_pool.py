"""`SandboxPool`: the one object a host program holds."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from elf_pysandbox._errors import ConfigurationError, InvalidArgumentsError, PoolClosedError
from elf_pysandbox._host.blocking import BlockingWait
from elf_pysandbox._host.endings import Ending, Packed
from elf_pysandbox._host.engine import Engine, Route
from elf_pysandbox._host.flight import Flight, Sink
from elf_pysandbox._host.futures import CallFuture, Deadlines, Submitted
from elf_pysandbox._host.processes import allow_descriptors
from elf_pysandbox._interpreter import Interpreter, interpreter_at, own_interpreter
from elf_pysandbox._limits import Limits
from elf_pysandbox._outcome import Event, ItemEvent, Outcome, OutputEvent
from elf_pysandbox._policy import Policy
from elf_pysandbox._results import outcome_of, unpack_item
from elf_pysandbox._route import route_of
from elf_pysandbox._tools.tool import Tool
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import Call, encode
from elf_pysandbox_worker.wire.values import UnsupportedValue, ValueTooLarge, pack

if TYPE_CHECKING:
    from elf_pysandbox._statistics import PoolStatistics

_call_ids = itertools.count(1)
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forget_in_child() -> None:
    # A forked child shares the parent's sockets: using them would mix up two processes' calls.
    for engine in list(_engines):
        engine.closed = True


os.register_at_fork(after_in_child=_forget_in_child)


class _Prepared(NamedTuple):
    """A call ready to fly, or the outcome of one whose arguments cannot be sent."""

    make: Callable[[Callable[[], None]], Flight]
    call_id: int


class SandboxPool(concurrent.futures.Executor):
    """Runs each call of a Python tool in a fresh, kernel-confined process.

    A `concurrent.futures.Executor`: `submit`, `map` and `shutdown` behave as documented there.

    Parameters
    ----------
    max_workers : int, optional
        Calls in flight at once; 16 for each core by default, as most tools wait more than they compute.
    policy : Policy, optional
        What tools may reach.
    limits : Limits, optional
        What a call may use.
    max_queued : int, optional
        Calls that may wait for admission; one more is `rejected`. 10,000: some seconds of work.
    max_templates : int, optional
        Tools kept loaded at once; 64.
    python : str, optional
        The interpreter that runs tools; this one by default.

    Raises
    ------
    ConfigurationError
        An option that cannot be used.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        policy: Policy | None = None,
        limits: Limits | None = None,
        max_queued: int = 10_000,
        max_templates: int = 64,
        python: str | None = None,
    ) -> None:
        workers = 16 * (os.cpu_count() or 1) if max_workers is None else max_workers
        for name, value in (
            ("max_workers", workers),
            ("max_queued", max_queued),
            ("max_templates", max_templates),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < (name != "max_queued"):
                raise ConfigurationError(f"{name} must be a whole number of 1 or more, not {value!r}")
        interpreter = interpreter_at(python) if python else own_interpreter()
        self._configure(policy or Policy(), limits or Limits(), interpreter)
        self._engine = Engine(workers, max_queued, max_templates)
        self._shared = _Shared(Deadlines(self._engine.supervisor))
        _engines.add(self._engine)
        # A channel and a pidfd for each worker, and as many again while they are replaced.
        allow_descriptors(4 * workers + 256)
        self._finalizer = weakref.finalize(self, self._engine.close)

    def _configure(self, policy: Policy, limits: Limits, interpreter: Interpreter) -> None:
        if not isinstance(policy, Policy):
            raise ConfigurationError(f"policy must be a Policy value, not {policy!r}")
        if not isinstance(limits, Limits):
            raise ConfigurationError(f"limits must be a Limits value, not {limits!r}")
        self._policy, self._limits, self._interpreter = policy, limits, interpreter
        self._routes: dict[int, tuple[Tool, Route]] = {}

    def with_options(
        self, *, limits: Limits | None = None, policy: Policy | None = None, python: str | None = None
    ) -> SandboxPool:
        """Return a view on this pool with other options; it shares workers, queue and life with it."""
        view = SandboxPool.__new__(type(self))
        interpreter = interpreter_at(python) if python else self._interpreter
        view._configure(policy or self._policy, limits or self._limits, interpreter)
        view._engine, view._shared = self._engine, self._shared
        view._finalizer = self._finalizer
        return view

    @property
    def policy(self) -> Policy:
        """The policy of calls made through this pool or view."""
        return self._policy

    @property
    def limits(self) -> Limits:
        """The limits of calls made through this pool or view."""
        return self._limits

    @property
    def max_workers(self) -> int:
        """Calls in flight at once, of all views on this pool together."""
        return self._engine.max_workers

    # -- tools ----------------------------------------------------------------------------------------

    def load(self, target: str | Callable[..., Any], **options: Any) -> Tool:
        """Read a tool: ``"package.module:function"``, ``"path/to/file.py:function"`` or a live function.

        Nothing of it is run or imported here.

        Raises
        ------
        ModuleLoadError, ToolNotFoundError
            There is no such file, module or function.
        """
        from elf_pysandbox._tools.load import load

        return load(target, **options)

    def load_source(self, source: str | bytes, path: str, *, name: str = "tool") -> Tool:
        """Make a tool of source text: `path` names the function in it, `name` the module it becomes."""
        from elf_pysandbox._tools.load import load_source

        return load_source(source, path, name=name)

    def _tool_of(self, target: Any) -> Tool:
        if isinstance(target, Tool):
            return target
        try:
            found = self._shared.tools.get(target)
        except TypeError:
            raise ConfigurationError(f"a tool, a target or a function is needed, not {target!r}") from None
        if found is None:
            found = self._shared.tools[target] = self.load(target)
        return found

    def _route(self, tool: Tool) -> Route:
        found = self._routes.get(id(tool))
        if found is None:
            if self._engine.closed:
                raise PoolClosedError("this pool was shut down")
            policy, limits = tool.policy or self._policy, tool.limits or self._limits
            route = route_of(tool, policy, limits, self._engine.max_workers, self._interpreter)
            # The tool is kept along, so that its id is not given to another.
            found = self._routes[id(tool)] = (tool, route)
        return found[1]

    # -- calls ----------------------------------------------------------------------------------------

    def call(self, tool: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a tool and return its value.

        Raises
        ------
        CallError
            The call ended otherwise; the class says how, `.outcome` has everything.
        """
        return self.outcome(tool, *args, **kwargs).unwrap()

    def outcome(self, tool: Any, /, *args: Any, **kwargs: Any) -> Outcome:
        """Call a tool and return how that ended; never raises for what the tool does."""
        return self._run(tool, "call", args, kwargs, {})

    def operation(
        self,
        name: str,
        tool: Any,
        /,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        **options: str,
    ) -> Outcome:
        """Do something with a tool besides calling it, where it is confined; as `outcome` otherwise.

        Parameters
        ----------
        name : str
            What to do: ``"profile"`` measures one call.
        args, kwargs
            Arguments of the call that the operation makes, where it makes one.
        **options : str
            The operation's own options.
        """
        return self._run(tool, name, tuple(args), kwargs or {}, options)

    def _run(
        self, tool: Any, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, str]
    ) -> Outcome:
        prepared = self._prepare(tool, op, args, kwargs, options)
        if isinstance(prepared, Outcome):
            return prepared
        return outcome_of(BlockingWait(self._engine, prepared.make).run(), prepared.call_id)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Start a call; the future's `cancel` ends it with its process."""
        return self._submit(fn, args, kwargs, whole=False)

    def submit_outcome(self, fn: Any, /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Outcome]:
        """Start a call; the future's result is its `Outcome`."""
        return self._submit(fn, args, kwargs, whole=True)

    def _submit(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], whole: bool) -> CallFuture:
        if self._shared.closing:
            raise PoolClosedError("cannot schedule new futures after shutdown")
        future = CallFuture()
        prepared = self._prepare(fn, "call", args, kwargs, {})
        if isinstance(prepared, Outcome):
            _fulfil(future, prepared, whole)
            return future

        def finish(ending: Ending) -> None:
            self._shared.pending.discard(future)
            _fulfil(future, outcome_of(ending, prepared.call_id), whole)

        self._shared.pending.add(future)
        submitted = Submitted(self._engine, self._shared.deadlines, prepared.make, finish)
        future._flight = submitted.flight
        submitted.begin()
        return future

    def map(
        self, fn: Any, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:
        """As `Executor.map`, with at most `max_workers` calls in flight or waiting for their turn to be read.

        `chunksize` is accepted and means nothing here: each call has a process of its own.
        """
        import time

        tool = self._tool_of(fn)
        arguments = zip(*iterables, strict=False)
        end = None if timeout is None else time.monotonic() + timeout
        window = deque(
            self.submit(tool, *args) for args in itertools.islice(arguments, self._engine.max_workers)
        )

        def results() -> Iterator[Any]:
            try:
                while window:
                    value = window[0].result(None if end is None else end - time.monotonic())
                    window.popleft()
                    for args in itertools.islice(arguments, 1):
                        window.append(self.submit(tool, *args))
                    yield value
            finally:
                for future in window:
                    future.cancel()

        return results()

    def as_completed(
        self, futures: Iterable[concurrent.futures.Future[Any]], timeout: float | None = None
    ) -> Iterator[concurrent.futures.Future[Any]]:
        """Yield futures as they are done; as `concurrent.futures.as_completed`."""
        return concurrent.futures.as_completed(futures, timeout)

    def stream(self, tool: Any, /, *args: Any, **kwargs: Any) -> Iterator[Event]:
        """Call a tool and yield what happens as it happens; the outcome comes last.

        Yields
        ------
        OutputEvent, ItemEvent, Outcome
            A reader that is slow slows the tool down; one that stops early ends the call.
        """
        events: deque[Event] = deque()
        prepared = self._prepare(tool, "call", args, kwargs, {}, _sink_into(events))
        if isinstance(prepared, Outcome):
            yield prepared
            return
        wait = BlockingWait(self._engine, prepared.make)
        try:
            wait.begin()
            while wait.ending is None:
                while events:
                    yield events.popleft()
                wait.step()
            yield from events
        finally:
            wait.flight.cancel()
        yield outcome_of(wait.ending, prepared.call_id)

    # -- the asynchronous door ------------------------------------------------------------------------

    async def acall(self, tool: Any, /, *args: Any, **kwargs: Any) -> Any:
        """`call` for a running event loop; cancelling the task ends the call with its process."""
        return (await self.aoutcome(tool, *args, **kwargs)).unwrap()

    async def aoutcome(self, tool: Any, /, *args: Any, **kwargs: Any) -> Outcome:
        """`outcome` for a running event loop."""
        from elf_pysandbox._host.asynchronous import AsyncWait

        prepared = self._prepare(tool, "call", args, kwargs, {})
        if isinstance(prepared, Outcome):
            return prepared
        return outcome_of(await AsyncWait(self._engine, prepared.make).run(), prepared.call_id)

    async def astream(self, tool: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Event]:
        """`stream` for a running event loop."""
        from elf_pysandbox._host.asynchronous import AsyncWait

        events: deque[Event] = deque()
        prepared = self._prepare(tool, "call", args, kwargs, {}, _sink_into(events))
        if isinstance(prepared, Outcome):
            yield prepared
            return
        wait = AsyncWait(self._engine, prepared.make)
        try:
            wait.begin()
            while wait.ending is None:
                while events:
                    yield events.popleft()
                await wait.step()
            while events:
                yield events.popleft()
        finally:
            wait.flight.cancel()
        yield outcome_of(wait.ending, prepared.call_id)

    # -- inside -----------------------------------------------------------------------------------------

    def _prepare(
        self,
        target: Any,
        op: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: dict[str, str],
        sink: Sink | None = None,
    ) -> _Prepared | Outcome:
        if self._engine.closed:
            raise PoolClosedError("this pool was shut down; make a new one")
        tool = self._tool_of(target)
        route = self._route(tool)
        call_id = next(_call_ids)
        limits = route.limits
        if tool.call_options:
            options = {**tool.call_options, **options}
        try:
            packed = pack((args, kwargs), max_bytes=limits.result_bytes, root="")
        except (UnsupportedValue, ValueTooLarge) as error:
            return _unsendable(error, call_id)
        message = Call(
            call_id, op, tool.path, msgspec.Raw(packed.data), sink is not None, limits.output_bytes,
            limits.result_bytes, options,
        )  # fmt: skip
        pieces = frame(encode(message), packed.buffers)
        engine = self._engine

        def make(notify: Callable[[], None]) -> Flight:
            return Flight(engine, route, call_id, pieces, limits, notify, sink)

        return _Prepared(make, call_id)

    # -- about the pool ---------------------------------------------------------------------------------

    def statistics(self) -> PoolStatistics:
        """Return what the pool is doing and has done."""
        from elf_pysandbox._statistics import PoolStatistics, latencies_of

        counts = self._engine.statistics()
        return PoolStatistics(
            calls=dict(self._engine.calls), latencies=latencies_of(list(self._engine.latencies)), **counts
        )

    def process_ids(self) -> list[int]:
        """Return the pids of this pool's zygotes and templates."""
        return self._engine.process_ids()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the pool: no new calls; no process, descriptor or file is left once it is done.

        Parameters
        ----------
        wait : bool
            Wait for submitted calls; otherwise the pool ends when the last of them has.
        cancel_futures : bool
            Cancel the submitted calls that wait for admission.
        """
        shared = self._shared
        shared.closing = True
        pending = list(shared.pending)
        if cancel_futures:
            for future in pending:
                if not future.running():
                    future.cancel()
        if not wait and pending:
            threading.Thread(target=self._end, args=(pending,), name="pysandbox-shutdown").start()
            return
        self._end(pending)

    def _end(self, pending: list[CallFuture]) -> None:
        concurrent.futures.wait(pending)
        self._finalizer()


class _Shared:
    """What a pool and its views have in common, beside the engine."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self.pending: set[CallFuture] = set()
        self.tools: dict[Any, Tool] = {}
        self.closing = False


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
    refusal = InvalidArgumentsError(f"the arguments cannot be sent: {error}")
    refusal.problems = ((getattr(error, "path", ""), str(error)),)
    outcome = Outcome("invalid_arguments", error=refusal, call_id=str(call_id))
    refusal.outcome = outcome
    return outcome
