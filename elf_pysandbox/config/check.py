"""What only the whole document can tell: names that exist, templates that compile, graphs that end."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elf_pysandbox.config.problems import Problem, listed, nearest
from elf_pysandbox.config.template import Expression, Template, TemplateError, compile_expression
from elf_pysandbox.config.text import Place

if TYPE_CHECKING:
    from elf_pysandbox.config.document import Document, EdgePlan, NodePlan
    from elf_pysandbox.config.models import DocumentModel, WorkflowEdge

START, END = "START", "END"


@dataclass(frozen=True, slots=True)
class Known:
    """Names that a document has, also those of parts with mistakes, which are in no model of it.

    Attributes
    ----------
    functions, ids : list of str or None
        Names of functions, ids of nodes; None when some cannot be read, and any name may be among them.
    edges : int
        How many edges are written.
    """

    functions: list[str] | None
    ids: list[str] | None
    edges: int


def known(tree: Place) -> Known:
    """Collect the names in a tree as it was written."""
    names = _names(tree, ("functions", "python_functions"), "name")
    ids = names if tree.get("workflow") is None else _names(tree, ("workflow", "nodes"), "id")
    written = tree.at(("workflow", "edges")).value if tree.get("workflow") is not None else ()
    return Known(names, ids, len(written) if isinstance(written, list) else 0)


def _names(tree: Place, path: tuple[str, str], key: str) -> list[str] | None:
    holder = tree.get(path[0])
    listing = holder.get(path[1]) if holder is not None else None
    if listing is None:
        return [] if holder is None or isinstance(holder.value, dict) else None
    found = [item.get(key) for item in listing.value] if isinstance(listing.value, list) else [None]
    names = [place.value for place in found if place is not None and isinstance(place.value, str)]
    return names if len(names) == len(found) else None


def functions(model: DocumentModel, tree: Place, names: Known) -> list[Problem]:
    """Return what is wrong with what functions and nodes say about themselves, each by itself and of each other."""
    problems = list(_function_problems(model, tree))
    if model.workflow is not None:
        problems += _node_problems(model, tree, names)
    return problems


def emptiness(tree: Place, names: Known) -> list[Problem]:
    """Return the problem of a document without functions."""
    empty = names.functions == []
    return [tree.problem("there are no functions: write functions.python_functions")] if empty else []


def _function_problems(model: DocumentModel, tree: Place) -> Iterator[Problem]:
    seen: dict[str, Place] = {}
    for position, function in enumerate(model.functions.python_functions):
        place = tree.at(("functions", "python_functions", position))
        yield from _repeated("function", function.name, place, "name", seen)
        yield from _origin_problems(function, place)
        yield from settings_problems(place)


def _repeated(kind: str, name: str, place: Place, key: str, seen: dict[str, Place]) -> Iterator[Problem]:
    if name in seen:
        first = seen[name]
        at = place.get(key) or place
        yield at.problem(
            f"there are two {kind}s called {name!r}; the first is in {first.file}, line {first.line}"
        )
    seen.setdefault(name, place)


def _origin_problems(function: Any, place: Place) -> Iterator[Problem]:
    given = [key for key in ("module", "file", "source") if getattr(function, key) is not None]
    if len(given) != 1:
        told = f"has {' and '.join(given)}" if given else "says nowhere where it is"
        yield place.problem(f"function {function.name!r} {told}; write one of module, file or source")
    elif given == ["file"] and not os.path.isfile(function.file):
        at = place.get("file") or place
        yield at.problem(f"there is no file {function.file!r}")


def settings_problems(place: Place) -> Iterator[Problem]:
    """Yield the problems in the templates, outputs and grants of a function or node."""
    yield from _template_problems(place.get("parameters"))
    yield from _output_problems(place.get("output"))
    files = place.get("files")
    for kind in ("read", "write"):
        granted = files.get(kind) if files is not None and isinstance(files.value, dict) else None
        if files is not None and isinstance(files.value, list) and kind == "read":
            granted = files
        for item in granted.value if granted is not None else ():
            if not os.path.exists(item.value):
                yield item.problem(
                    f"there is no file or folder {item.value!r}; only what exists can be granted"
                )


def _template_problems(parameters: Place | None) -> Iterator[Problem]:
    if parameters is None:
        return
    for key in parameters.value:
        if not key.isidentifier():
            yield parameters.key_problem(key, f"{key!r} cannot be the name of a parameter")
    for place in _leaves(parameters):
        if isinstance(place.value, str):
            try:
                Template(place.value)
            except TemplateError as error:
                yield place.problem(str(error))


def _leaves(place: Place) -> Iterator[Place]:
    if isinstance(place.value, dict):
        for item in place.value.values():
            yield from _leaves(item)
    elif isinstance(place.value, list):
        for item in place.value:
            yield from _leaves(item)
    else:
        yield place


def _output_problems(output: Place | None) -> Iterator[Problem]:
    if output is None:
        return
    keys = list(output.value) if isinstance(output.value, dict) else [output.value]
    for key in keys:
        if key.startswith("_") or key == "errors":
            yield output.key_problem(
                key, f"state key {key!r} is reserved: 'errors', and what begins with '_'"
            )
    for place in output.value.values() if isinstance(output.value, dict) else ():
        try:
            compile_expression(place.value, roots=())
        except TemplateError as error:
            yield place.problem(str(error))


def _node_problems(model: DocumentModel, tree: Place, written: Known) -> Iterator[Problem]:
    assert model.workflow is not None
    names = written.functions
    seen: dict[str, Place] = {}
    if written.ids == []:
        yield tree.at(("workflow", "nodes")).problem("the workflow has no nodes")
    for position, node in enumerate(model.workflow.nodes):
        place = tree.at(("workflow", "nodes", position))
        yield from _repeated("node", node.id, place, "id", seen)
        yield from settings_problems(place)
        name = node.ref or node.id
        if names is not None and name not in names:
            at = place.get("ref") or place.get("id") or place
            known = f" There is {listed(names)}." if names else " The document has no functions."
            yield at.problem(f"node {node.id!r} runs {name!r}, and there is no such function."
                             f"{nearest(name, names) or known}")  # fmt: skip


def edges(
    model: DocumentModel, tree: Place, nodes: tuple[NodePlan, ...], names: Known
) -> tuple[tuple[EdgePlan, ...], list[Problem]]:
    """Return the edges of a document, and what is wrong with them; without any, the nodes follow each other."""
    from elf_pysandbox.config.document import EdgePlan

    workflow = model.workflow
    written = workflow.edges if workflow is not None else ()
    problems: list[Problem] = []
    if not names.edges:
        if workflow is not None and workflow.type == "custom_graph" and len(nodes) > 1:
            problems.append(tree.at(("workflow",)).problem("a custom_graph needs 'edges'"))
        pairs = itertools.pairwise(nodes)
        return tuple(
            EdgePlan((one.id,), (two.id,), two.place) for one, two in pairs if not one.stop
        ), problems
    if workflow is not None and workflow.type == "sequential":
        problems.append(tree.at(("workflow", "edges")).problem(
            "a sequential workflow has no edges; leave 'type' out, or the edges"))  # fmt: skip
        return (), problems
    stops = {node.id for node in nodes if node.stop}
    plans = []
    for position, edge in enumerate(written):
        place = tree.at(("workflow", "edges", position))
        problems += _edge_problems(edge, place, names.ids, stops)
        plans.append(
            EdgePlan(edge.source, edge.target, place, _condition(edge, place, problems), edge.max_iterations)
        )
    return tuple(plans), problems


def _condition(edge: WorkflowEdge, place: Place, problems: list[Problem]) -> Expression | None:
    if edge.condition is None:
        return None
    text = edge.condition.strip()
    if text.startswith("${") and text.endswith("}"):
        text = text[2:-1]
    try:
        return compile_expression(text, lenient=True)
    except TemplateError as error:
        problems.append((place.get("condition") or place).problem(str(error)))
        return None


def _edge_problems(
    edge: WorkflowEdge, place: Place, ids: list[str] | None, stops: set[str]
) -> Iterator[Problem]:
    for key, names, also in (("source", edge.source, START), ("target", edge.target, END)):
        at = place.get(key) or place
        if not names:
            yield at.problem(f"the edge's {key} is an empty list")
        for position, name in enumerate(names):
            where = at.at((position,))
            if ids is not None and name not in ids and name != also:
                hint = nearest(name, [*ids, also]) or f" There is {listed([*ids, also])}."
                yield where.problem(f"the edge's {key} {name!r} is no node.{hint}")
            elif key == "source" and name in stops:
                yield where.problem(f"node {name!r} has 'stop: true', so no edge can leave it")
        if len(set(names)) != len(names):
            yield at.problem(f"the edge's {key} names a node twice")
    if len(edge.source) > 1 and (edge.condition is not None or edge.max_iterations is not None):
        yield place.problem(
            "an edge that waits for several sources cannot have a condition; put it on the next edge"
        )
    if len(edge.source) > 1 and START in edge.source:
        yield place.problem("START cannot be waited for together with other nodes")
    if END in edge.target and len(edge.target) > 1:
        yield place.problem("END cannot be a target beside others")


def ways(found: Document) -> list[Problem]:
    """Return what is wrong with a graph as a whole: nodes nobody reaches, loops without an end."""
    return [*_unreached(found), *_endless(found)]


def jumps(found: Document, names: Known) -> Iterator[Problem]:
    """Yield the jumps on errors that lead nowhere."""
    ids = names.ids
    for node in found.nodes:
        rule = node.config.on_error
        if ids is not None and rule is not None and rule.kind == "goto" and rule.target not in (*ids, END):
            at = node.place.get("on_error") or node.place
            hint = nearest(rule.target, ids) or f" There is {listed([*ids, END])}."
            yield at.problem(f"on_error of {node.id!r} goes to {rule.target!r}, which is no node.{hint}")


def entries(found: Document) -> tuple[str, ...]:
    """Return the nodes that run first: what START leads to, else the first node."""
    named = [target for edge in found.edges if START in edge.sources for target in edge.targets]
    return tuple(dict.fromkeys(named)) or found.ids[:1]


def _unreached(found: Document) -> Iterator[Problem]:
    ways: dict[str, set[str]] = {}
    for edge in found.edges:
        for source in edge.sources:
            ways.setdefault(source, set()).update(edge.targets)
    for node in found.nodes:
        if node.config.on_error is not None and node.config.on_error.kind == "goto":
            ways.setdefault(node.id, set()).add(node.config.on_error.target)
    reached, waiting = set(entries(found)), list(entries(found))
    while waiting:
        for target in ways.get(waiting.pop(), ()):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    for node in found.nodes:
        if node.id not in reached:
            yield node.place.problem(f"node {node.id!r} is never reached: no edge leads to it")


def _endless(found: Document) -> Iterator[Problem]:
    """Yield the cycles that are always taken again."""
    chosen = {source for edge in found.edges if edge.conditional for source in edge.sources}
    always: dict[str, list[tuple[str, Place]]] = {}
    for edge in found.edges:
        for source in edge.sources:
            if source not in chosen:
                always.setdefault(source, []).extend((target, edge.place) for target in edge.targets)
    done: set[str] = set()
    for start in found.ids:
        path: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, at = stack.pop()
            if at == 0 and name in done:
                continue
            if at == 0:
                path.append(name)
            ways = always.get(name, [])
            if at == len(ways):
                done.add(path.pop())
                continue
            stack.append((name, at + 1))
            target, place = ways[at]
            if target in path:
                cycle = " -> ".join([*path[path.index(target) :], target])
                yield place.problem(
                    f"{cycle} runs for ever: give one of these edges a condition or max_iterations"
                )
                return
            if target not in done:
                stack.append((target, 0))
