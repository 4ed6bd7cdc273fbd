"""`SandboxPool`: the one object a host program holds."""

from __future__ import annotations

import itertools
import os
import sys

from elf_pysandbox._errors import (
    ConfigurationError,
    ModuleLoadError,
    PoolClosedError,
    ToolNotFoundError,
)
from elf_pysandbox._host.launch import Launched, launch
from elf_pysandbox._interpreter import Interpreter, interpreter_at, own_interpreter, spec_of
from elf_pysandbox._limits import Limits
from elf_pysandbox._policy import Policy
from elf_pysandbox._remembered import Remembered

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future
    from typing import Any

    from elf_pysandbox._calls import Request
    from elf_pysandbox._host.route import Route
    from elf_pysandbox._host.templates import Template
    from elf_pysandbox._host.zygotes import Zygote
    from elf_pysandbox._outcome import Event, Outcome
    from elf_pysandbox._statistics import PoolStatistics
    from elf_pysandbox._tools.tool import Tool
else:

    class Executor:
        """Stands in for `concurrent.futures.Executor` until that is imported, see `_OnceImported`."""

        def __enter__(self) -> SandboxPool:
            return self

        def __exit__(self, *_: object) -> None:
            self.shutdown()


_MOST_WORKERS = 1 << 20


class SandboxPool(Executor):
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
        Tools kept loaded at once; 64. Beside them a blank template or two wait for the next tool, but not where only
        one tool is kept.
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
                least = int(name != "max_queued")
                raise ConfigurationError(f"{name} must be a whole number of {least} or more, not {value!r}")
        if workers > _MOST_WORKERS:
            raise ConfigurationError(f"max_workers can be {_MOST_WORKERS} at most, not {workers}")
        interpreter = own_interpreter() if python is None else interpreter_at(python)
        self._configure(
            Policy() if policy is None else policy, Limits() if limits is None else limits, interpreter
        )
        launched = _launch_early(interpreter)
        zygote: Zygote | None = None
        template: Template | None = None
        try:
            # Imported while the zygote starts: each takes about as long as the other. First what asks for a template:
            # the request is there when the zygote is ready.
            from elf_pysandbox_worker.wire.lean import LATER, import_msgspec

            import_msgspec(LATER)
            from elf_pysandbox._ahead import ask
            from elf_pysandbox._host.zygotes import Zygote

            if launched is not None:
                zygote = Zygote(launched)
                template = ask(zygote, self._policy, self._limits, workers, interpreter)
            import weakref

            from elf_pysandbox._calls import Calls

            if "concurrent.futures" in sys.modules:
                _become_executor()  # it has been, by now
            self._calls = Calls(workers, max_queued, max_templates, zygote, template)
            # Views, streams and submitted calls share it: the engine lives as long as any of them.
            self._finalizer = weakref.finalize(self._calls, self._calls.engine.close_soon)
            self._finalizer.atexit = False  # `_calls` closes what is left then, and waits for it
        except BaseException:  # a signal handler's, say: nobody else knows of the processes yet
            if template is not None:
                template.end()
            if zygote is not None:
                zygote.close()
            elif launched is not None:
                launched.end()
            raise

    def _configure(self, policy: Policy, limits: Limits, interpreter: Interpreter) -> None:
        if not isinstance(policy, Policy):
            raise ConfigurationError(f"policy must be a Policy value, not {policy!r}")
        if not isinstance(limits, Limits):
            raise ConfigurationError(f"limits must be a Limits value, not {limits!r}")
        self._policy, self._limits, self._interpreter = policy, limits, interpreter
        self._routes = Remembered()

    def with_options(
        self, *, limits: Limits | None = None, policy: Policy | None = None, python: str | None = None
    ) -> SandboxPool:
        """Return a view on this pool with other options; it shares workers, queue and life with it."""
        view = SandboxPool.__new__(type(self))
        view._configure(
            self._policy if policy is None else policy,
            self._limits if limits is None else limits,
            self._interpreter if python is None else interpreter_at(python),
        )
        view._calls = self._calls
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
    def python(self) -> str:
        """The interpreter that runs the tools of this pool or view."""
        return self._interpreter.python

    @property
    def max_workers(self) -> int:
        """Calls in flight at once, of all views on this pool together."""
        return self._calls.engine.max_workers

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
        if isinstance(target, self._calls.tool_type):
            return target
        if not isinstance(target, str) and not callable(target):
            raise ConfigurationError(f"a tool, a target or a function is needed, not {target!r}")
        tools, key = self._calls.tools, _key_of(target)
        found = tools.get(key)
        if found is not None and found[1].is_current:
            tool: Tool = found[1]
            return tool
        # A target is read once, as a module is imported once. A live function is what it is now.
        tool = self.load(target)
        if tool.is_current:
            tools.put(key, (target, tool), tool.context.size)
        return tool

    def _request(
        self, target: Any, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, str]
    ) -> Request:
        if self._calls.engine.closed:
            raise PoolClosedError(self._calls.engine.why_closed)
        make = self._calls.request_type
        try:
            tool = self._tool_of(target)
            route: Route = self._routes.get(tool) or self._new_route(tool)
        except (ModuleLoadError, ToolNotFoundError) as error:
            # Told as the call's outcome; what led there inside the sandbox is not what its caller has to read.
            return make(error.with_traceback(None), None, op, args, kwargs, options)
        return make(route, tool, op, args, kwargs, options)

    def _new_route(self, tool: Tool) -> Route:
        from elf_pysandbox._route import route_of

        policy, limits = tool.policy or self._policy, tool.limits or self._limits
        route = route_of(tool, policy, limits, self._calls.engine.max_workers, self._interpreter_of(tool))
        self._routes.put(tool, route, tool.context.size)
        return route

    def _interpreter_of(self, tool: Tool) -> Interpreter:
        """The interpreter with what the tool requires: the pool's, or one with an environment of the tool's own."""
        context = tool.context
        if tool.environment == "host" and not context.requirements and not context.requires_python:
            return self._interpreter
        from elf_pysandbox._tools import dependencies

        if tool.environment == "managed":
            return interpreter_at(
                dependencies.managed_environment(context.requirements, context.requires_python)
            )
        dependencies.check(context.requirements, context.requires_python, python=self._interpreter.python)
        return self._interpreter

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
        return self._calls.run(self._request(tool, "call", args, kwargs, {}))

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
        return self._calls.run(self._request(tool, name, tuple(args), kwargs or {}, options))

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a call; the future's `cancel` ends it with its process."""
        return self._calls.submit(self._request(fn, "call", args, kwargs, {}), whole=False)

    def submit_outcome(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Outcome]:
        """Start a call; the future's result is its `Outcome`."""
        return self._calls.submit(self._request(fn, "call", args, kwargs, {}), whole=True)

    def map(
        self, fn: Any, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:
        """As `Executor.map`, with at most `max_workers` calls in flight or waiting for their turn to be read.

        `chunksize` is accepted and means nothing here: each call has a process of its own.
        """
        import time
        from collections import deque

        tool = self._tool_of(fn)
        arguments = zip(*iterables, strict=False)
        end = None if timeout is None else time.monotonic() + timeout
        window = deque(
            self.submit(tool, *args) for args in itertools.islice(arguments, self._calls.engine.max_workers)
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
        self, futures: Iterable[Future[Any]], timeout: float | None = None
    ) -> Iterator[Future[Any]]:
        """Yield futures as they are done; as `concurrent.futures.as_completed`."""
        import concurrent.futures

        return concurrent.futures.as_completed(futures, timeout)

    def stream(self, tool: Any, /, *args: Any, **kwargs: Any) -> Iterator[Event]:
        """Call a tool and yield what happens as it happens; the outcome comes last.

        Yields
        ------
        OutputEvent, ItemEvent, Outcome
            A reader that is slow slows the tool down; one that stops early ends the call.
        """
        return self._calls.stream(self._request(tool, "call", args, kwargs, {}))

    # -- the asynchronous door ------------------------------------------------------------------------

    async def acall(self, tool: Any, /, *args: Any, **kwargs: Any) -> Any:
        """`call` for a running event loop; cancelling the task ends the call with its process."""
        return (await self.aoutcome(tool, *args, **kwargs)).unwrap()

    async def aoutcome(self, tool: Any, /, *args: Any, **kwargs: Any) -> Outcome:
        """`outcome` for a running event loop."""
        return await self._calls.arun(self._request(tool, "call", args, kwargs, {}))

    async def aoperation(
        self,
        name: str,
        tool: Any,
        /,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        **options: str,
    ) -> Outcome:
        """`operation` for a running event loop."""
        return await self._calls.arun(self._request(tool, name, tuple(args), kwargs or {}, options))

    def astream(self, tool: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Event]:
        """`stream` for a running event loop."""
        return self._calls.astream(self._request(tool, "call", args, kwargs, {}))

    # -- about the pool ---------------------------------------------------------------------------------

    def statistics(self) -> PoolStatistics:
        """Return what the pool is doing and has done."""
        from elf_pysandbox._statistics import PoolStatistics, latencies_of

        counts = self._calls.engine.statistics()
        return PoolStatistics(
            calls=dict(self._calls.engine.calls),
            latencies=latencies_of(list(self._calls.engine.latencies)),
            **counts,
        )

    @property
    def closed(self) -> bool:
        """Whether the pool was shut down."""
        return self._calls.engine.closed

    def process_ids(self) -> list[int]:
        """Return the pids of this pool's zygotes and templates."""
        return self._calls.engine.process_ids()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the pool: no new calls; no process, descriptor or file is left once it is done.

        Parameters
        ----------
        wait : bool
            Wait for submitted calls; otherwise the pool ends when the last of them has.
        cancel_futures : bool
            Cancel the submitted calls that wait for admission.
        """
        calls = self._calls
        calls.closing = True
        pending = list(calls.pending)
        if cancel_futures:
            for future in pending:
                if not future.running():
                    future.cancel()
        if wait or not pending:
            calls.end(pending)
        else:
            import threading

            threading.Thread(target=calls.end, args=(pending,), name="pysandbox-shutdown").start()


def _key_of(target: Any) -> object:
    """Return what a target is remembered by: live ones may be equal and do different things.

    Whoever remembers one by this holds it, too, so that no other gets its identity.
    """
    if isinstance(target, str):
        return target
    from types import MethodType

    if type(target) is MethodType:  # made anew each time it is asked for
        return id(target.__self__), id(target.__func__)
    return id(target)


def _launch_early(interpreter: Interpreter) -> Launched | None:
    try:
        return launch(interpreter.python, interpreter.roots)
    except OSError:
        return None  # the first call tries again and tells why not


def _become_executor() -> None:
    """Derive pools from `concurrent.futures.Executor`, which has been imported.

    Raises
    ------
    ConfigurationError
        A class that stands between the two leaves no order for it.
    """
    from concurrent.futures import Executor as Real

    if Real not in SandboxPool.__bases__:
        try:
            SandboxPool.__bases__ = (Real,)
        except TypeError as error:  # a class that derives from both, the other first
            raise ConfigurationError(f"SandboxPool cannot become an Executor: {error}") from None


class _OnceImported:
    """Lets pools be executors from the moment on in which anybody could ask: as `concurrent.futures` is imported.

    That brings `logging` along and all that it formats with, half as much as an interpreter takes to start; a program
    that only calls tools needs none of it. A finder of `sys.meta_path`, and the loader of that one module as it loads.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find that module as the others do, to be loaded by this; to ask where it is does not import it."""
        if name != "concurrent.futures":
            return None
        spec = spec_of(name, path, without=self)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: Any) -> Any:
        """Let its own loader do it."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Let its own loader do it, whose it is from now on."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        _become_executor()


if "concurrent.futures" in sys.modules:
    _become_executor()  # it costs nothing more
else:
    sys.meta_path.insert(0, _OnceImported())
