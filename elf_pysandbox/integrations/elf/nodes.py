"""ELF's "tool" nodes in the sandbox, through its public `NodeFactoryRegistry`.

Decided here and nowhere else: what an ELF node does with parameters, results and errors. It is what ELF's own
factory does (the same keys, the same texts), except that async tools are awaited, and that only changed keys are
returned, so that several nodes can run at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ConfigurationError, SandboxError
from elf_pysandbox.config.template import Template
from elf_pysandbox.integrations.elf.tools import ElfTool, ElfToolError, one_line, settings_of
from elf_pysandbox.integrations.pools import shared_pool

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool

ELF_TERMINAL = ("elf0.functions.utils.get_user_input",)
"""Entrypoints of ELF itself that talk to the user: they pass through unless the operator says otherwise."""

PREFIX = "pysandbox."
_log = logging.getLogger(__name__)
_before: list[Any] = []


def register(pool: SandboxPool | None = None, *, pass_through: Collection[str] = ELF_TERMINAL) -> None:
    """Make ELF run its Python tools in the sandbox, for this process.

    Parameters
    ----------
    pool : SandboxPool, optional
        Runs the calls; the process's shared pool when left out.
    pass_through : collection of str
        Entrypoints that ELF runs in its own process, untouched: operators list here what needs the terminal.

    Raises
    ------
    ConfigurationError
        ELF is not installed.
    """
    registry = _registry()
    own = _before[0] if _before else registry.get("tool")
    if not _before:
        _before.append(own)
    allowed = frozenset(pass_through)

    def make_tool_node(spec: Any, node: Any) -> Callable[[Any], Any]:
        function = spec.functions.get(node.ref)
        if function is None or function.type != "python" or function.entrypoint in allowed:
            made: Callable[[Any], Any] = own(spec, node)
            return made
        return _node(function.entrypoint, node, (lambda: pool) if pool is not None else shared_pool)

    registry.register("tool", make_tool_node)


def unregister() -> None:
    """Give ELF its own factory back."""
    if _before:
        _registry().register("tool", _before.pop())


def _registry() -> Any:
    try:
        from elf0.core.compiler import NodeFactoryRegistry  # type: ignore[import-not-found]
    except ImportError as missing:
        raise ConfigurationError(
            "ELF is not installed in this environment: install elf0 (it needs Python 3.13)"
        ) from missing
    return NodeFactoryRegistry


def _node(entrypoint: str, node: Any, pool: Callable[[], Any]) -> Callable[[Any], Any]:
    from elf0.core.compiler import WorkflowState

    config = node.config or {}
    try:
        tool = ElfTool(entrypoint.removeprefix(PREFIX), pool, settings_of(config))
        parameters = {name: _parameter(value) for name, value in config.get("parameters", {}).items()}
    except SandboxError as error:
        run = _broken(entrypoint, one_line(str(error)))
    else:
        run = _running(entrypoint, tool, parameters)
    run.__name__ = f"sandboxed_{node.id}"
    # LangGraph takes what a node reads from this annotation, as it does for ELF's own nodes.
    run.__annotations__ = {"state": WorkflowState, "return": WorkflowState}
    return run


def _broken(entrypoint: str, message: str) -> Callable[[Any], Any]:
    def fail(state: Any) -> Any:
        return {
            "output": f"Failed to load function '{entrypoint}': {message}",
            "error_context": f"Function loading error: {message}",
        }

    return fail


def _running(
    entrypoint: str, tool: ElfTool, parameters: Mapping[str, Callable[[Mapping[str, Any]], Any]]
) -> Callable[[Any], Any]:
    def run(state: Any) -> Any:
        try:
            signature = tool.signature()
        except ElfToolError as error:
            return _broken(entrypoint, str(error))(state)
        try:
            kwargs = _bound(entrypoint, signature.parameters, parameters, state)
            return _changes(state, tool.run(kwargs))
        except SandboxError as error:
            message = one_line(str(error))
            _log.error("Python function error: %s", message)
            return {
                "output": f"Function error: {message}",
                "error_context": f"Python function '{entrypoint}' failed: {message}",
            }

    return run


def _bound(
    entrypoint: str,
    names: Collection[str],
    parameters: Mapping[str, Callable[[Mapping[str, Any]], Any]],
    state: Mapping[str, Any],
) -> dict[str, Any]:
    kwargs: dict[str, Any] = {"state": dict(state)} if "state" in names else {}
    for name, value in parameters.items():
        if name in names:
            kwargs[name] = value(state)
        else:
            _log.warning("Parameter %s not found in the signature of %s", name, entrypoint)
    return kwargs


def _parameter(value: Any) -> Callable[[Mapping[str, Any]], Any]:
    """Return how a parameter is taken from the state.

    ``${state.name}`` is ELF's own form, and null when the key is not set, as there; everything else is a template.
    """
    if (
        isinstance(value, str)
        and value.startswith("${state.")
        and value.endswith("}")
        and value[8:-1].isidentifier()
    ):
        key = value[8:-1]
        return lambda state: state.get(key)
    template = Template(value)
    return lambda state: template.render({"state": state})


def _changes(state: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """Return the keys that ELF would set for a result and that differ from the state."""
    if not isinstance(result, Mapping):
        result = {"output": result if isinstance(result, str) else str(result)}
    return {key: value for key, value in result.items() if key not in state or not _same(state[key], value)}


def _same(one: Any, two: Any) -> bool:
    try:
        return type(one) is type(two) and bool(one == two)
    except Exception:  # a table's comparison has no truth value
        return False
