"""`PythonExecutor`: a live function, run in the sandbox under two limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox._tools.load import load
from elf_pysandbox._tools.tool import Tool
from elf_pysandbox.integrations.pools import shared_pool

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool

_REMEMBERED = 1024


class PythonExecutor:
    """Runs functions with limits on time and memory, each call in a process of its own.

    Parameters
    ----------
    max_execution_time : float
        Seconds.
    max_memory_mb : int
        MiB.
    pool : SandboxPool, optional
        Runs the calls; the process's shared pool when left out.
    """

    def __init__(
        self,
        max_execution_time: float = 30,
        max_memory_mb: int = 512,
        *,
        pool: SandboxPool | None = None,
    ) -> None:
        self.max_execution_time, self.max_memory_mb = max_execution_time, max_memory_mb
        self._pool = pool
        self._tools: dict[Any, Tool] = {}

    def _view(self) -> SandboxPool:
        pool = self._pool or shared_pool()
        limits = replace(pool.limits, wall_s=self.max_execution_time, memory_mb=self.max_memory_mb)
        return pool.with_options(limits=limits)

    def _lax(self, function: Any) -> Tool:
        """The function as a tool whose parameters are converted: text that reads as a number is one."""
        if isinstance(function, Tool):
            return function
        try:
            found = self._tools.get(function)
        except TypeError:
            return load(function, strict=False)  # a callable without a hash
        if found is None:
            if len(self._tools) >= _REMEMBERED:
                self._tools.clear()
            found = self._tools[function] = load(function, strict=False)
        return found

    async def execute_function(
        self, function: str | Callable[..., Any], parameters: Mapping[str, Any]
    ) -> Any:
        """Call a function with these parameters and return its value.

        Parameters
        ----------
        function : callable or str
            A live function, or ``"module:function"`` or ``"file.py:function"``.
        parameters : mapping
            Keyword arguments, converted to the annotated types.

        Raises
        ------
        CallError
            The call did not return a value; the class says why.
        """
        if not isinstance(parameters, Mapping):
            raise ConfigurationError(f"parameters must be a mapping, not {type(parameters).__name__}")
        return await self._view().acall(self._lax(function), **parameters)

    def run_function(self, function: str | Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
        """`execute_function` for callers without an event loop."""
        return self._view().call(self._lax(function), **parameters)
