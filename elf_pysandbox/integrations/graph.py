"""A document's nodes and edges as a LangGraph `StateGraph`.

Decided here and nowhere else: how the state grows (one dict; each node sets keys; two nodes of one step may not set
one key differently), which edge is taken, and what a join waits for.

- The whole state is LangGraph's one root channel, so documents need not declare their keys.
- Edges of one source: the first whose condition holds and whose cap is not used up is taken; else all those
  without a condition. `on_error: goto` goes before both.
- An edge from several sources waits for all. A source that chooses its way does so through a pass-through
  node of its own, because LangGraph's join counts nodes that ran, not ways that were taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.channels import BinaryOperatorAggregate
from langgraph.graph import END, START, StateGraph

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox.config import check
from elf_pysandbox.config.document import Document, EdgePlan, NodePlan
from elf_pysandbox.integrations.node import PythonNode, with_changes
from elf_pysandbox.integrations.results import ERRORS, PRIVATE, WorkflowError
from elf_pysandbox.integrations.runnable import NodeRunnable


class StateChannel(BinaryOperatorAggregate[dict[str, Any]]):
    """The root channel: updates are merged; two updates of one step may not set one key differently.

    LangGraph's own reducer takes a value such as ``{"__overwrite__": …}`` for an order to replace the state. Here
    no value is an order: it may come from a tool.
    """

    def __init__(self, typ: Any, operator: Any = None) -> None:
        super().__init__(dict, merge_state)

    def update(self, values: Sequence[Any]) -> bool:
        """Merge the updates of one step."""
        _refuse_conflicts(values)
        for changes in values:
            self.value = merge_state(self.value, changes)
        return bool(values)


def _refuse_conflicts(values: Sequence[Mapping[str, Any]]) -> None:
    setters: dict[str, Mapping[str, Any]] = {}
    for changes in values:
        for key in changes.keys() - {PRIVATE, ERRORS}:
            other = setters.setdefault(key, changes)
            if other is not changes and not _same(other[key], changes[key]):
                raise WorkflowError(
                    f"nodes {_node_of(other)!r} and {_node_of(changes)!r} ran at once and both set "
                    f"state key {key!r}; give one of them another 'output'"
                )


def _same(one: Any, two: Any) -> bool:
    try:
        return one is two or bool(one == two)
    except Exception:  # a table's comparison has no truth value
        return False


def _node_of(changes: Mapping[str, Any]) -> str:
    return next(iter(changes.get(PRIVATE, {}).get("visits", ())), "")


def merge_state(state: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state with one node's changes: the channel's reducer."""
    merged = with_changes(state, changes)
    if PRIVATE in changes and PRIVATE in state:
        ours, theirs = state[PRIVATE], changes[PRIVATE]
        merged[PRIVATE] = {
            name: {**ours.get(name, {}), **theirs.get(name, {})} for name in ("visits", "failed")
        }
    return merged


class WorkflowNodeRunnable(NodeRunnable):
    """A node of a document: it also counts its visits and notes whether it failed."""

    def __init__(self, node: PythonNode, max_iterations: int) -> None:
        super().__init__(node)
        self._most = max_iterations

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Run the node; return the keys it sets."""
        visit = self._visit(input)
        return self._noted(self.node.changes(input), visit)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Run the node; cancelling the task ends the call with its process."""
        visit = self._visit(input)
        return self._noted(await self.node.achanges(input), visit)

    def _visit(self, state: Mapping[str, Any]) -> int:
        visit: int = visits_of(state).get(self.node.id, 0) + 1
        if visit > self._most:
            raise WorkflowError(
                f"node {self.node.id!r} ran {self._most} times; the workflow's max_iterations allows no more"
            )
        return visit

    def _noted(self, changes: dict[str, Any], visit: int) -> dict[str, Any]:
        failed = {self.node.id: visit} if self.node.id in changes.get(ERRORS, ()) else {}
        return {**changes, PRIVATE: {"visits": {self.node.id: visit}, "failed": failed}}


def visits_of(state: Mapping[str, Any]) -> Mapping[str, int]:
    """Return how often each node has run."""
    visits: Mapping[str, int] = state.get(PRIVATE, {}).get("visits", {})
    return visits


def state_graph(document: Document, nodes: Mapping[str, PythonNode]) -> StateGraph[Any]:
    """Return the graph of a document, not yet compiled: LangGraph's `compile` takes checkpointers and the like.

    Parameters
    ----------
    document : Document
    nodes : mapping of node id to PythonNode
    """
    graph: StateGraph[Any] = StateGraph(Annotated[dict, StateChannel])  # type: ignore[arg-type]
    for plan in document.nodes:
        graph.add_node(plan.id, WorkflowNodeRunnable(nodes[plan.id], document.max_iterations))
    for entry in check.entries(document):
        graph.add_edge(START, entry)
    joins = [edge for edge in document.edges if len(edge.sources) > 1]
    passes = _passes(document, joins)
    for name in passes.values():
        graph.add_node(name, _pass)
    for number, edge in enumerate(joins):
        sources = [passes.get((source, number), source) for source in edge.sources]
        for target in edge.targets:
            graph.add_edge(sources, _end(target))
    for plan in document.nodes:
        _add_ways(graph, document, plan, [name for (source, _), name in passes.items() if source == plan.id])
    return graph


def _pass(state: Any) -> dict[str, Any]:
    return {}


def _end(target: str) -> str:
    return END if target == check.END else target


def _chooses(document: Document, plan: NodePlan) -> bool:
    rule = plan.config.on_error
    leaving = [edge for edge in document.edges if plan.id in edge.sources]
    return (rule is not None and rule.kind == "goto") or any(edge.conditional for edge in leaving)


def _passes(document: Document, joins: list[EdgePlan]) -> dict[tuple[str, int], str]:
    """Return the pass-through nodes: one for each way of a choosing source into a join."""
    choosing = {plan.id for plan in document.nodes if _chooses(document, plan)}
    return {
        (source, number): f"{source} to {' and '.join(edge.targets)}"
        for number, edge in enumerate(joins)
        for source in edge.sources
        if source in choosing
    }


def _add_ways(graph: StateGraph[Any], document: Document, plan: NodePlan, passes: list[str]) -> None:
    """Add the edges that leave one node, except plain joins."""
    leaving = [edge for edge in document.edges if edge.sources == (plan.id,)]
    if not _chooses(document, plan):
        for edge in leaving:
            for target in edge.targets:
                graph.add_edge(plan.id, _end(target))
        if plan.stop:
            graph.add_edge(plan.id, END)
        return
    router, targets = _router(plan, leaving, passes)
    graph.add_conditional_edges(plan.id, router, targets)


def _router(
    plan: NodePlan, leaving: list[EdgePlan], passes: list[str]
) -> tuple[Callable[[Any], list[str]], list[str]]:
    """Return the function that chooses where to go after a node, and all places it may choose."""
    rule = plan.config.on_error
    jump = _end(rule.target) if rule is not None and rule.kind == "goto" else None
    default = [_end(target) for edge in leaving if not edge.conditional for target in edge.targets] + passes

    def route(state: Mapping[str, Any]) -> list[str]:
        private = state.get(PRIVATE, {})
        if jump is not None and private.get("failed", {}).get(plan.id) == visits_of(state).get(plan.id):
            return [jump]
        for edge in leaving:
            if edge.conditional and _holds(edge, state):
                return [_end(target) for target in edge.targets]
        return default or [END]

    places = [_end(target) for edge in leaving for target in edge.targets] + passes + [END]
    return route, list(dict.fromkeys([*places, jump] if jump else places))


def _holds(edge: EdgePlan, state: Mapping[str, Any]) -> bool:
    if edge.max_iterations is not None:
        visits = visits_of(state)
        if any(visits.get(target, 0) >= edge.max_iterations for target in edge.targets):
            return False
    if edge.condition is None:
        return True
    seen = {key: value for key, value in state.items() if key != PRIVATE}
    try:
        return _true(edge.condition.evaluate({"state": seen}))
    except ConfigurationError as error:
        at = edge.place.get("condition") or edge.place
        raise WorkflowError(str(at.problem(f"condition: {error}"))) from None


def _true(value: Any) -> bool:
    """JMESPath's truth: empty text, lists and mappings, null and false are false; numbers are true."""
    if isinstance(value, (str, list, tuple, Mapping)):
        return bool(value)
    return value is not None and value is not False
