"""`Workflow`: a document that can run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ConfigurationError, ToolHandlerError
from elf_pysandbox._tools.static import look_at
from elf_pysandbox.config.document import Document, NodePlan, load_document, parse_document
from elf_pysandbox.config.problems import DocumentError, Problem, listed, nearest
from elf_pysandbox.integrations.node import NodeEvent, PythonNode
from elf_pysandbox.integrations.parameters import mistakes
from elf_pysandbox.integrations.results import PRIVATE

if TYPE_CHECKING:
    from langgraph.graph import StateGraph
    from langgraph.graph.state import CompiledStateGraph

    from elf_pysandbox._pool import SandboxPool
    from elf_pysandbox._tools.tool import Tool


class Workflow:
    """A checked workflow document.

    Parameters
    ----------
    document : Document
        See `load_workflow`.
    """

    def __init__(self, document: Document) -> None:
        self.document = document

    @property
    def name(self) -> str:
        """What the document calls itself; its file's name without a name."""
        return self.document.name

    def nodes(
        self, pool: SandboxPool | None = None, listen: Callable[[NodeEvent], None] | None = None
    ) -> dict[str, PythonNode]:
        """Return the nodes by id, with their sources read and their settings checked; nothing of them is run.

        Raises
        ------
        DocumentError
            A module or function that cannot be found, or a setting that cannot be used, at its line and column.
        """
        problems: list[Problem] = []
        made = {}
        for plan in self.document.nodes:
            node = PythonNode(
                plan.config, pool=pool, python_path=self.document.python_path, plan=plan, listen=listen
            )
            made[plan.id] = node
            try:
                tool = node.check()
            except (ToolHandlerError, ConfigurationError) as error:
                problems.append(_located(plan, error))
            else:
                problems += _by_text(plan, tool)
        if problems:
            raise DocumentError(problems)
        return made

    def validate(self) -> None:
        """Check what needs more than the document: modules, files, requirements. Nothing is run.

        Raises
        ------
        DocumentError
        """
        self.nodes()

    def graph(
        self, pool: SandboxPool | None = None, listen: Callable[[NodeEvent], None] | None = None
    ) -> StateGraph[Any]:
        """Return the workflow as a LangGraph `StateGraph`, not yet compiled.

        Raises
        ------
        ConfigurationError
            LangGraph is not installed.
        DocumentError
            See `nodes`.
        """
        nodes = self.nodes(pool, listen)
        from elf_pysandbox.integrations import runnable as _installed  # noqa: F401 - tells when it is missing
        from elf_pysandbox.integrations.graph import state_graph

        return state_graph(self.document, nodes)

    def compile(
        self,
        pool: SandboxPool | None = None,
        *,
        listen: Callable[[NodeEvent], None] | None = None,
        **options: Any,
    ) -> CompiledStateGraph[Any]:
        """Return the compiled graph; `options` are LangGraph's (`checkpointer`, `interrupt_before`, …).

        The state has the key `_workflow` for the runner's own notes; `public_state` leaves it out.
        """
        compiled = self.graph(pool, listen).compile(name=self.name, **options)
        steps = self.document.max_iterations * (2 * len(self.document.nodes) + 2)
        return compiled.with_config(recursion_limit=steps)

    def run(
        self, state: Mapping[str, Any] | None = None, *, pool: SandboxPool | None = None
    ) -> dict[str, Any]:
        """Run the workflow to its end and return the state.

        Raises
        ------
        CallError
            A node failed whose `on_error` is ``fail``.
        """
        return asyncio.run(self.arun(state, pool=pool))

    async def arun(
        self,
        state: Mapping[str, Any] | None = None,
        *,
        pool: SandboxPool | None = None,
        listen: Callable[[NodeEvent], None] | None = None,
    ) -> dict[str, Any]:
        """`run` for a running event loop; cancelling the task ends the calls with their processes.

        Parameters
        ----------
        state : mapping, optional
            Put over the document's own `state`.
        pool : SandboxPool, optional
            Runs the calls; the process's shared pool when left out.
        listen : callable, optional
            Called with each `NodeEvent`, for showing progress.
        """
        final = await self.compile(pool, listen=listen).ainvoke(self.initial_state(state))
        return public_state(final)

    def initial_state(self, state: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the document's state with `state` over it, as the graph takes it."""
        given = dict(state or {})
        reserved = [key for key in given if key.startswith("_")]
        if reserved:
            raise ConfigurationError(f"state key {reserved[0]!r} is reserved: keys begin with no '_'")
        return {**self.document.state, **given, PRIVATE: {"visits": {}, "failed": {}}}


def public_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a graph's state without the runner's own notes."""
    return {key: value for key, value in state.items() if key != PRIVATE}


def _located(plan: NodePlan, error: Exception) -> Problem:
    origin = plan.origin or plan.place
    places = (origin.get(key) for key in ("module", "file", "source", "function"))
    return next((place for place in places if place is not None), origin).problem(str(error))


def _by_text(plan: NodePlan, tool: Tool) -> Iterator[Problem]:
    """Yield what the text of the module shows to be wrong: no such function, parameters that it does not take."""
    look = look_at(tool.context, tool.path)
    if look is None:
        return
    if look.missing:
        origin = plan.origin or plan.place
        hint = nearest(tool.path, look.names) or (f" There is {listed(look.names)}." if look.names else "")
        message = (
            f"there is no function {tool.path!r} in {plan.config.module or plan.config.file or 'source'!r}."
        )
        yield (origin.get("function") or origin).problem(message + hint)
    elif look.order is not None:
        for name, message in mistakes(plan.config.function, plan.config.parameters, look.order):
            yield plan.mistake(name, message)


def load_workflow(path: str | os.PathLike[str]) -> Workflow:
    """Read and check a workflow document; nothing of it is run.

    Raises
    ------
    DocumentError
        With every problem found, each with file, line and column.
    """
    return Workflow(load_document(path))


def validate_workflow(path: str | os.PathLike[str]) -> Workflow:
    """Read a workflow document and check all that can be checked without running anything of it.

    Raises
    ------
    DocumentError
        With every problem of the document, and of the modules and functions that it names.
    """
    try:
        loaded = load_workflow(path)
    except DocumentError as error:
        more: list[Problem] = []
        if error.partial is not None:
            told = {(problem.file, problem.line) for problem in error.problems}
            try:
                Workflow(_with_one_origin(error.partial)).validate()
            except DocumentError as found:
                more = [problem for problem in found.problems if (problem.file, problem.line) not in told]
        raise DocumentError([*error.problems, *more]) from None
    loaded.validate()
    return loaded


def _with_one_origin(document: Document) -> Document:
    """Return a document without the nodes of which it is told already that their function is nowhere or twice."""
    nodes = [
        plan
        for plan in document.nodes
        if sum(getattr(plan.config, name) is not None for name in ("module", "file", "source")) == 1
    ]
    return replace(document, nodes=tuple(nodes))


def parse_workflow(text: str, file: str | os.PathLike[str] = "<workflow>") -> Workflow:
    """`load_workflow` from text; relative paths count from the folder of `file`."""
    return Workflow(parse_document(text, str(Path(file))))
