"""Runs each call of a Python tool function in a fresh, kernel-confined CPython process.

    from elf_pysandbox import SandboxPool

    with SandboxPool() as pool:
        pool.call("tools/text.py:word_count", text="to be or not to be")

Rooms: `_pool`, `_policy`, `_limits`, `_outcome`, `_errors` are the face; `_host` holds processes, `_tools`
source as text, `config` YAML, `integrations` other people's engines, `_cli` the command line. The confined
side is the package `elf_pysandbox_worker`. Everything public is imported from here, and only when it is
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elf_pysandbox._errors import BadResultError as BadResultError
    from elf_pysandbox._errors import CallCancelledError as CallCancelledError
    from elf_pysandbox._errors import CallDeniedError as CallDeniedError
    from elf_pysandbox._errors import CallError as CallError
    from elf_pysandbox._errors import CallRejectedError as CallRejectedError
    from elf_pysandbox._errors import CallTimeoutError as CallTimeoutError
    from elf_pysandbox._errors import ConfigurationError as ConfigurationError
    from elf_pysandbox._errors import CpuLimitError as CpuLimitError
    from elf_pysandbox._errors import ErrorInfo as ErrorInfo
    from elf_pysandbox._errors import InvalidArgumentsError as InvalidArgumentsError
    from elf_pysandbox._errors import LayerUnavailableError as LayerUnavailableError
    from elf_pysandbox._errors import MemoryLimitError as MemoryLimitError
    from elf_pysandbox._errors import ModuleLoadError as ModuleLoadError
    from elf_pysandbox._errors import OutputLimitError as OutputLimitError
    from elf_pysandbox._errors import PoolClosedError as PoolClosedError
    from elf_pysandbox._errors import SandboxError as SandboxError
    from elf_pysandbox._errors import SandboxFaultError as SandboxFaultError
    from elf_pysandbox._errors import ToolHandlerError as ToolHandlerError
    from elf_pysandbox._errors import ToolNotFoundError as ToolNotFoundError
    from elf_pysandbox._errors import ToolRaised as ToolRaised
    from elf_pysandbox._errors import WorkerCrashedError as WorkerCrashedError
    from elf_pysandbox._errors import WorkerKilledError as WorkerKilledError
    from elf_pysandbox._limits import Limits as Limits
    from elf_pysandbox._outcome import Event as Event
    from elf_pysandbox._outcome import ItemEvent as ItemEvent
    from elf_pysandbox._outcome import LayerState as LayerState
    from elf_pysandbox._outcome import Outcome as Outcome
    from elf_pysandbox._outcome import OutputEvent as OutputEvent
    from elf_pysandbox._outcome import Usage as Usage
    from elf_pysandbox._policy import Files as Files
    from elf_pysandbox._policy import Policy as Policy
    from elf_pysandbox._pool import SandboxPool as SandboxPool
    from elf_pysandbox._security import Diagnostic as Diagnostic
    from elf_pysandbox._security import PythonSecurityValidator as PythonSecurityValidator
    from elf_pysandbox._settings import Setting as Setting
    from elf_pysandbox._settings import Settings as Settings
    from elf_pysandbox._statistics import PoolStatistics as PoolStatistics

_ERRORS = """BadResultError CallCancelledError CallDeniedError CallError CallRejectedError CallTimeoutError
ConfigurationError CpuLimitError ErrorInfo InvalidArgumentsError LayerUnavailableError MemoryLimitError
ModuleLoadError OutputLimitError PoolClosedError SandboxError SandboxFaultError ToolHandlerError
ToolNotFoundError ToolRaised
WorkerCrashedError WorkerKilledError"""
_HOMES = {
    "_errors": _ERRORS,
    "_limits": "Limits",
    "_outcome": "Event ItemEvent LayerState Outcome OutputEvent Usage",
    "_policy": "Files Policy",
    "_pool": "SandboxPool",
    "_security": "Diagnostic PythonSecurityValidator",
    "_settings": "Setting Settings",
    "_statistics": "PoolStatistics",
}
_home_of = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_home_of)  # noqa: PLE0605 - the table above is the one list of public names


def __getattr__(name: str) -> Any:
    home = _home_of.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
