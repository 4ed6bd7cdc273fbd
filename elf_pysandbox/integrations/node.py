"""`PythonNode`: workflow state in, one sandboxed call, changed state out."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import (
    BadResultError,
    ConfigurationError,
    InvalidArgumentsError,
    LayerUnavailableError,
)
from elf_pysandbox._outcome import Outcome
from elf_pysandbox._tools import dependencies
from elf_pysandbox.config.models import OnError, PythonNodeConfig
from elf_pysandbox.config.problems import DocumentError
from elf_pysandbox.config.template import Template
from elf_pysandbox.integrations.attempts import aattempt, attempt
from elf_pysandbox.integrations.parameters import mistakes
from elf_pysandbox.integrations.pools import shared_pool
from elf_pysandbox.integrations.results import ERRORS, PRIVATE, NodeError, OutputRule, error_of, type_check
from elf_pysandbox.integrations.settings import view_of

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool
    from elf_pysandbox._tools.tool import Tool
    from elf_pysandbox.config.document import NodePlan

_FAIL = OnError()
_log = logging.getLogger(__name__)

# What a worker prints for the option `watch`; its own file is not imported here.
MARK = "elf_pysandbox: changed in place, and lost: "


def _watch(kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Ask for changes in place to be told, where an argument is such that they can be."""
    return {"watch": "1"} if any(isinstance(value, (dict, list)) for value in kwargs.values()) else {}


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """What a running node tells its runner.

    Attributes
    ----------
    node : str
    phase : {"start", "retry", "end"}
    seconds : float
        Since the node started.
    attempt : int
    status : str
        How the call ended, "" at the start.
    error : NodeError or None
    lost : tuple of str
        Parameters that the tool changed in place: such changes are lost.
    """

    node: str
    phase: str
    seconds: float = 0.0
    attempt: int = 1
    status: str = ""
    error: NodeError | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a node computes once."""

    tool: Tool
    view: SandboxPool
    parameters: Template
    output: OutputRule
    check: Callable[[Any], Any] | None


class PythonNode:
    """Runs one Python function of a workflow, each time in a fresh sandboxed process.

    Parameters
    ----------
    config : PythonNodeConfig
    pool : SandboxPool, optional
        Runs the calls; the process's shared pool when left out.
    python_path : sequence of str
        Folders to look for modules in, after the configuration's own.
    plan : NodePlan, optional
        Where the node stands in a document, for its errors.
    listen : callable, optional
        Called with each `NodeEvent`, in the thread that runs the node.
    """

    def __init__(
        self,
        config: PythonNodeConfig,
        *,
        pool: SandboxPool | None = None,
        python_path: tuple[str, ...] = (),
        plan: NodePlan | None = None,
        listen: Callable[[NodeEvent], None] | None = None,
    ) -> None:
        if not isinstance(config, PythonNodeConfig):
            raise ConfigurationError(f"a PythonNodeConfig is needed, not {config!r}")
        self.config = config
        self.id = plan.id if plan is not None else config.name
        self._pool, self._python_path, self._plan, self._listen = pool, python_path, plan, listen
        self._rule = config.on_error or _FAIL
        self._made: _Ready | None = None
        self._live: Callable[..., Any] | None = None

    def use(self, function: Callable[..., Any]) -> None:
        """Run a live function instead of the one the configuration names."""
        self._live, self._made = function, None

    # -- getting ready --------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Read the function's source, check configuration and requirements, and warm its template.

        The module is loaded on the confined side; the function is not called.

        Raises
        ------
        ModuleLoadError, ToolNotFoundError
            There is no such module, file or function, or the module does not load.
        ConfigurationError
            A setting that cannot be used, a requirement that is not met, or parameters that do not fit the signature.
        """
        ready = self._ready()
        limits = ready.view.limits
        # Looking at a function is not a call: the node's time limit does not count for it.
        patient = ready.view.with_options(limits=replace(limits, wall_s=max(limits.wall_s, limits.load_s)))
        described = await asyncio.to_thread(patient.operation, "describe", ready.tool)
        self._check_parameters(described.unwrap()["order"])

    def _check_parameters(self, order: list[dict[str, Any]]) -> None:
        """Hold the configured parameters against the function's signature."""
        found = list(mistakes(self.config.function, self.config.parameters, order))
        if found and self._plan is not None:
            raise DocumentError(self._plan.mistake(*one) for one in found)
        if found:
            raise ConfigurationError(f"node {self.id!r}: {'; '.join(message for _, message in found)}")

    def load_now(self) -> None:
        """Do what of `initialize` starts no process."""
        self._ready()

    def _ready(self) -> _Ready:
        if self._made is None:
            config = self.config
            tool = self.check()
            self._made = _Ready(
                tool,
                view_of(self._pool or shared_pool(), config),
                Template(config.parameters),
                OutputRule(config.output, self.id),
                type_check(config),
            )
        return self._made

    def check(self) -> Tool:
        """Do all of `initialize` that needs no pool; return the tool."""
        tool = self.load()
        python = self._pool.python if self._pool is not None else None
        dependencies.check(tool.requirements, tool.context.requires_python, python=python)
        return tool

    def load(self) -> Tool:
        """Read the function's module, again if it was read before; nothing of it is run."""
        # What a state holds came from models, files and command lines: lax, unless the document says otherwise.
        config = self.config
        tool = replace(self._load(), strict=bool(config.strict))
        return tool.needing(config.requirements or (), config.requires_python or "")

    def _load(self) -> Tool:
        from elf_pysandbox._tools.load import load, load_source

        config = self.config
        if self._live is not None:
            return load(self._live)
        given = [name for name in ("module", "file", "source") if getattr(config, name) is not None]
        if len(given) != 1:
            raise ConfigurationError(f"node {self.id!r}: one of module, file or source is needed")
        if config.source is not None:
            return load_source(config.source, config.function, name=config.name.replace("-", "_"))
        place = config.module if config.file is None else os.path.abspath(config.file)
        path = (*(config.python_path or ()), *self._python_path)
        return load(f"{place}:{config.function}", python_path=path)

    # -- running --------------------------------------------------------------------------------------

    async def execute(self, state: Any, *, only_changes: bool = False) -> dict[str, Any]:
        """Call the function with parameters from `state`; return the state with its result.

        Parameters
        ----------
        state : mapping, pydantic model or dataclass
            Not changed: what the function does to it is lost with its process.
        only_changes : bool
            Return only the keys that the node sets.

        Raises
        ------
        CallError
            The call failed, after all its attempts, and `on_error` is ``fail``; the error's `node_error`
            says which node and how often.
        """
        values = state_values(state)
        changes = await self.achanges(values)
        return changes if only_changes else with_changes(values, changes)

    def run(self, state: Any, *, only_changes: bool = False) -> dict[str, Any]:
        """`execute` for callers without an event loop."""
        values = state_values(state)
        changes = self.changes(values)
        return changes if only_changes else with_changes(values, changes)

    def changes(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys the node sets, blocking until the call has ended."""
        ready, begun = self._ready(), time.monotonic()
        self._tell(NodeEvent(self.id, "start"))
        kwargs = self._bind(ready, state)
        if isinstance(kwargs, Outcome):
            return self._settle(ready, kwargs, 0, begun)
        outcome, attempts = attempt(
            lambda: ready.view.operation("call", ready.tool, (), kwargs, **_watch(kwargs)),
            self.config.retry,
            self._retried(begun),
        )
        return self._settle(ready, outcome, attempts, begun)

    async def achanges(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys the node sets."""
        ready, begun = self._ready(), time.monotonic()
        self._tell(NodeEvent(self.id, "start"))
        kwargs = self._bind(ready, state)
        if isinstance(kwargs, Outcome):
            return self._settle(ready, kwargs, 0, begun)
        outcome, attempts = await aattempt(
            lambda: ready.view.aoperation("call", ready.tool, (), kwargs, **_watch(kwargs)),
            self.config.retry,
            self._retried(begun),
        )
        return self._settle(ready, outcome, attempts, begun)

    def _bind(self, ready: _Ready, state: Mapping[str, Any]) -> dict[str, Any] | Outcome:
        seen = {key: value for key, value in state.items() if key != PRIVATE} if PRIVATE in state else state
        try:
            bound: dict[str, Any] = ready.parameters.render({"state": seen})
        except ConfigurationError as error:
            where = getattr(error, "place", ())
            message = f"node {self.id!r}: {error}"
            if self._plan is not None:
                message = str(self._plan.parameter_problem(where, message))
            problem = InvalidArgumentsError(message)
            problem.problems = ((".".join(map(str, where)), str(error)),)
            problem.outcome = Outcome("invalid_arguments", error=problem)
            return problem.outcome
        return bound

    def _retried(self, begun: float) -> Callable[[int, Outcome], None] | None:
        if self._listen is None:
            return None

        def tell(number: int, outcome: Outcome) -> None:
            error = error_of(self.id, outcome, number)
            seconds = time.monotonic() - begun
            self._tell(NodeEvent(self.id, "retry", seconds, number, outcome.status, error))

        return tell

    def _tell(self, event: NodeEvent) -> None:
        if self._listen is not None:
            self._listen(event)

    # -- the result -----------------------------------------------------------------------------------

    def _settle(self, ready: _Ready, outcome: Outcome, attempts: int, begun: float) -> dict[str, Any]:
        if outcome.ok:
            try:
                value = outcome.value if ready.check is None else ready.check(outcome.value)
                changes = ready.output.changes(value)
            except BadResultError as problem:
                outcome = Outcome("bad_result", error=problem, stdout=outcome.stdout, stderr=outcome.stderr)
                problem.outcome = outcome
            else:
                self._end(begun, attempts, "ok", None, self._lost(outcome.stderr))
                return changes
        failed = error_of(self.id, outcome, attempts)
        self._end(begun, attempts, outcome.status, failed)
        # A layer that is missing is the operator's to know: no rule of a document may pass over it.
        if self._rule.kind == "fail" or isinstance(outcome.error, LayerUnavailableError):
            assert outcome.error is not None
            raise self._named(outcome.error, failed)
        changes = {ERRORS: {self.id: failed.as_dict()}}
        if self._rule.kind == "default":
            changes |= ready.output.default(self._rule.value)
        return changes

    def _end(
        self, begun: float, attempts: int, status: str, error: NodeError | None, lost: tuple[str, ...] = ()
    ) -> None:
        if self._listen is not None:
            self._listen(NodeEvent(self.id, "end", time.monotonic() - begun, attempts, status, error, lost))

    def _lost(self, stderr: str) -> tuple[str, ...]:
        """Return the parameters that the tool changed in place, as its worker told, and log them."""
        if MARK not in stderr:
            return ()
        names = tuple(stderr.rpartition(MARK)[2].splitlines()[0].split(", "))
        _log.warning(
            "node %r: %s changed %s in place; that is lost with its process, return it instead",
            self.id,
            self.config.function,
            ", ".join(names),
        )
        return names

    def _named(self, error: BaseException, failed: NodeError) -> BaseException:
        error.node_error = failed  # type: ignore[attr-defined]
        times = f" after {failed.attempts} attempts" if failed.attempts > 1 else ""
        place = f", {self._plan.place.file} line {self._plan.place.line}" if self._plan is not None else ""
        error.add_note(f"in node {self.id!r}{place}{times}")
        return error


def state_values(state: Any) -> Mapping[str, Any]:
    """Return a state as a mapping: a mapping itself, a pydantic model's or dataclass's fields.

    Raises
    ------
    ConfigurationError
        It is none of these.
    """
    if isinstance(state, Mapping):
        return state
    fields = getattr(type(state), "model_fields", None)
    if fields is not None:
        return {name: getattr(state, name) for name in fields} | (getattr(state, "model_extra", None) or {})
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return {spec.name: getattr(state, spec.name) for spec in dataclasses.fields(state)}
    raise ConfigurationError(
        f"the state must be a mapping, a pydantic model or a dataclass, not {type(state).__name__}"
    )


def with_changes(state: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `state` with `changes` over it; errors of several nodes stand side by side."""
    merged = {**state, **changes}
    if ERRORS in changes and isinstance(state.get(ERRORS), Mapping):
        merged[ERRORS] = {**state[ERRORS], **changes[ERRORS]}
    return merged
