"""A workflow document, read and checked: what a runner needs, with the place of each thing for its errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from elf_pysandbox.config.explain import salvaged
from elf_pysandbox.config.merge import read_tree, tree_of
from elf_pysandbox.config.models import DocumentModel, PythonFunction, PythonNodeConfig, WorkflowNode
from elf_pysandbox.config.problems import DocumentError, Problem
from elf_pysandbox.config.template import Expression
from elf_pysandbox.config.text import Place

_OVER = frozenset(WorkflowNode.model_fields) - {"id", "kind", "ref", "stop", "parameters", "description"}


@dataclass(frozen=True, slots=True, eq=False)
class NodePlan:
    """One node: its whole configuration, and where it stands.

    Attributes
    ----------
    id : str
    config : PythonNodeConfig
        The function with the node's overrides.
    place : Place
        The node, or the function where the document has no graph.
    parameters : Place or None
        Where each parameter is written.
    stop : bool
    origin : Place or None
        Where the function is written that it runs.
    """

    id: str
    config: PythonNodeConfig
    place: Place
    parameters: Place | None = None
    stop: bool = False
    origin: Place | None = None

    def parameter_problem(self, path: tuple[Any, ...], message: str) -> Problem:
        """Return a problem at one of the node's parameters."""
        return (self.parameters or self.place).at(path).problem(message)

    def mistake(self, name: str, message: str) -> Problem:
        """Return a problem at the name of a parameter; at all of them for ""."""
        message = f"node {self.id!r}: {message}"
        if name and self.parameters is not None:
            return self.parameters.key_problem(name, message)
        return (self.parameters or self.place).problem(message)


@dataclass(frozen=True, slots=True, eq=False)
class EdgePlan:
    """One edge: several sources are waited for, several targets run at once."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    place: Place
    condition: Expression | None = None
    max_iterations: int | None = None

    @property
    def conditional(self) -> bool:
        """Whether the edge is not always taken."""
        return self.condition is not None or self.max_iterations is not None


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A workflow document that holds together."""

    path: str
    name: str
    description: str
    nodes: tuple[NodePlan, ...]
    edges: tuple[EdgePlan, ...]
    python_path: tuple[str, ...]
    state: Mapping[str, Any] = field(default_factory=dict)
    max_iterations: int = 25
    files: tuple[Path, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all nodes, in the order written."""
        return tuple(node.id for node in self.nodes)


def load_document(path: str | os.PathLike[str]) -> Document:
    """Read and check a workflow document; nothing of it is run.

    Raises
    ------
    DocumentError
        With every problem found, each with file, line and column.
    """
    file = Path(path)
    tree, files = read_tree(file)
    return _document(tree, str(file), file.absolute().parent, files)


def parse_document(text: str, file: str = "<workflow>") -> Document:
    """Read and check a workflow document from text; relative paths count from the folder of `file`."""
    return _document(tree_of(text, file), file, Path(file).absolute().parent, ())


def _document(tree: Place, path: str, folder: Path, files: tuple[Path, ...]) -> Document:
    from elf_pysandbox.config import check

    read = salvaged(DocumentModel, tree)
    if read.model is None:
        raise DocumentError(read.problems)
    model, written, problems = read.model, tree, list(read.problems)
    tree = read.tree
    known = check.known(written)
    problems += check.functions(model, tree, known)
    problems += check.emptiness(tree, known) if not problems else ()
    nodes = _nodes(model, tree)
    edges, structure = check.edges(model, tree, nodes, known)
    document = Document(
        path,
        model.name or Path(path).stem,
        model.description,
        nodes,
        edges,
        (str(folder), *model.python_path),
        model.state,
        model.workflow.max_iterations if model.workflow else 25,
        files,
    )
    structure += check.jumps(document, known)
    if not structure and not problems:
        structure += check.ways(document)
    if problems or structure:
        raise DocumentError([*problems, *structure], partial=document)
    return document


def _nodes(model: DocumentModel, tree: Place) -> tuple[NodePlan, ...]:
    functions = {function.name: function for function in model.functions.python_functions}
    places: dict[str, Place] = {}
    for at, function in enumerate(model.functions.python_functions):
        places[function.name] = tree.at(("functions", "python_functions", at))
    if model.workflow is None:
        return tuple(
            NodePlan(
                name,
                _config(function, None),
                places[name],
                places[name].get("parameters"),
                origin=places[name],
            )
            for name, function in functions.items()
        )
    plans = []
    for position, node in enumerate(model.workflow.nodes):
        name = node.ref or node.id
        if name not in functions:
            continue  # told already
        place = tree.at(("workflow", "nodes", position))
        parameters = _over(places[name].get("parameters"), place.get("parameters"))
        plans.append(
            NodePlan(node.id, _config(functions[name], node), place, parameters, node.stop, places[name])
        )
    return tuple(plans)


def _config(function: PythonFunction, node: WorkflowNode | None) -> PythonNodeConfig:
    values = {name: getattr(function, name) for name in function.model_fields_set}
    if node is not None:
        values |= {name: getattr(node, name) for name in node.model_fields_set & _OVER}
        values["parameters"] = {**function.parameters, **node.parameters}
    # Every value was validated as part of the document.
    return PythonNodeConfig.model_construct(_fields_set=set(values), **values)


def _over(below: Place | None, above: Place | None) -> Place | None:
    if below is None or above is None:
        return above or below
    return replace(above, value={**below.value, **above.value}, keys={**below.keys, **above.keys})
