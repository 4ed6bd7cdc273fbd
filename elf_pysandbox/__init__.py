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

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from typing import Any

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
    from elf_pysandbox._hints import Hint as Hint
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
    from elf_pysandbox._tools.context import ModuleContext as ModuleContext
    from elf_pysandbox._tools.context import Sibling as Sibling
    from elf_pysandbox._tools.handler import Exchange as Exchange
    from elf_pysandbox._tools.handler import ToolHandler as ToolHandler
    from elf_pysandbox._tools.jsonable import strict_json as strict_json
    from elf_pysandbox._tools.jsonable import to_json as to_json
    from elf_pysandbox._tools.loader import LoadedFunction as LoadedFunction
    from elf_pysandbox._tools.loader import PythonFunctionLoader as PythonFunctionLoader
    from elf_pysandbox._tools.retry import Retry as Retry
    from elf_pysandbox._tools.schema import Description as Description
    from elf_pysandbox._tools.tool import Tool as Tool
    from elf_pysandbox._tools.tracing import CallTrace as CallTrace
    from elf_pysandbox._tools.tracing import Hooks as Hooks
    from elf_pysandbox.config.models import PythonNodeConfig as PythonNodeConfig
    from elf_pysandbox.config.problems import DocumentError as DocumentError
    from elf_pysandbox.config.problems import Problem as Problem
    from elf_pysandbox.config.schema import workflow_schema as workflow_schema
    from elf_pysandbox.integrations.elf import ELF_TERMINAL as ELF_TERMINAL
    from elf_pysandbox.integrations.elf import register_elf as register_elf
    from elf_pysandbox.integrations.executor import PythonExecutor as PythonExecutor
    from elf_pysandbox.integrations.langgraph import python_node as python_node
    from elf_pysandbox.integrations.node import NodeEvent as NodeEvent
    from elf_pysandbox.integrations.node import PythonNode as PythonNode
    from elf_pysandbox.integrations.picture import workflow_mermaid as workflow_mermaid
    from elf_pysandbox.integrations.picture import workflow_svg as workflow_svg
    from elf_pysandbox.integrations.results import NodeError as NodeError
    from elf_pysandbox.integrations.results import WorkflowError as WorkflowError
    from elf_pysandbox.integrations.workflow import Workflow as Workflow
    from elf_pysandbox.integrations.workflow import load_workflow as load_workflow
    from elf_pysandbox.integrations.workflow import parse_workflow as parse_workflow
    from elf_pysandbox.integrations.workflow import public_state as public_state
    from elf_pysandbox.integrations.workflow import validate_workflow as validate_workflow
    from elf_pysandbox_worker.wire.record import Record as Record

_ERRORS = """BadResultError CallCancelledError CallDeniedError CallError CallRejectedError CallTimeoutError
ConfigurationError CpuLimitError ErrorInfo InvalidArgumentsError LayerUnavailableError MemoryLimitError
ModuleLoadError OutputLimitError PoolClosedError SandboxError SandboxFaultError ToolHandlerError
ToolNotFoundError ToolRaised
WorkerCrashedError WorkerKilledError"""
_HOMES = {
    "_errors": _ERRORS,
    "_hints": "Hint",
    "_limits": "Limits",
    "_outcome": "Event ItemEvent LayerState Outcome OutputEvent Usage",
    "_policy": "Files Policy",
    "_pool": "SandboxPool",
    "_security": "Diagnostic PythonSecurityValidator",
    "_settings": "Setting Settings",
    "_statistics": "PoolStatistics",
    "_tools.context": "ModuleContext Sibling",
    "_tools.handler": "Exchange ToolHandler",
    "_tools.jsonable": "Record strict_json to_json",
    "_tools.loader": "LoadedFunction PythonFunctionLoader",
    "_tools.retry": "Retry",
    "_tools.schema": "Description",
    "_tools.tool": "Tool",
    "_tools.tracing": "CallTrace Hooks",
    "config.models": "PythonNodeConfig",
    "config.problems": "DocumentError Problem",
    "config.schema": "workflow_schema",
    "integrations.elf": "ELF_TERMINAL register_elf",
    "integrations.executor": "PythonExecutor",
    "integrations.langgraph": "python_node",
    "integrations.node": "NodeEvent PythonNode",
    "integrations.picture": "workflow_mermaid workflow_svg",
    "integrations.results": "NodeError WorkflowError",
    "integrations.workflow": "Workflow load_workflow parse_workflow public_state validate_workflow",
}
_home_of = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_home_of)  # noqa: PLE0605 - the table above is the one list of public names


def __getattr__(name: str) -> Any:
    home = _home_of.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(f"{__name__}.{home}", fromlist=(name,)), name)  # without importing `importlib`
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
