"""Python nodes for anybody's LangGraph: `python_node(…)` goes straight into `StateGraph.add_node`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox.config.models import PythonNodeConfig
from elf_pysandbox.integrations.node import PythonNode

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool
    from elf_pysandbox.integrations.runnable import NodeRunnable


def python_node(
    target: str | PythonNodeConfig | Callable[..., Any],
    *,
    pool: SandboxPool | None = None,
    python_path: tuple[str, ...] = (),
    **settings: Any,
) -> NodeRunnable:
    """Make a LangGraph node that runs a Python function in the sandbox.

    Parameters
    ----------
    target : str, callable or PythonNodeConfig
        ``"package.module:function"``, ``"folder/file.py:function"``, a live function, or a configuration.
    pool : SandboxPool, optional
        Runs the calls; the process's shared pool when left out.
    python_path : tuple of str
        Folders to look for modules in.
    **settings
        The fields of `PythonNodeConfig`: `parameters`, `output`, `timeout`, `retry`, `on_error`, …

    Returns
    -------
    Runnable
        For ``StateGraph.add_node(name, python_node(…))``; it returns only the keys it sets.

    Raises
    ------
    ConfigurationError, ModuleLoadError, ToolNotFoundError
        A setting that cannot be used, LangGraph is not installed, or no such module or function.

    Examples
    --------
    >>> graph.add_node("count", python_node("tools.py:word_count", parameters={"text": "${state.text}"},
    ...                                     output="words", timeout=2))
    """
    from elf_pysandbox.integrations.runnable import NodeRunnable

    node = PythonNode(_config(target, settings), pool=pool, python_path=python_path)
    if callable(target):
        node.use(target)
    node.load_now()
    return NodeRunnable(node)


def _config(target: Any, settings: dict[str, Any]) -> PythonNodeConfig:
    from pydantic import ValidationError

    if isinstance(target, PythonNodeConfig):
        return target.model_copy(update=settings) if settings else target
    if isinstance(target, str):
        place, colon, function = target.rpartition(":")
        if not colon or not place:
            raise ConfigurationError(
                f"{target!r} names no function: write 'module:function' or 'file.py:function'"
            )
        key = "file" if place.endswith(".py") or "/" in place else "module"
        settings = {key: place, "function": function, **settings}
    elif callable(target):
        name = getattr(target, "__name__", type(target).__name__)
        name = name if name.isidentifier() else "function"
        settings = {"module": getattr(target, "__module__", None) or "live", "function": name, **settings}
    else:
        raise ConfigurationError(f"a target, a function or a PythonNodeConfig is needed, not {target!r}")
    try:
        return PythonNodeConfig(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"python_node: {path}: {first['msg']}") from None
