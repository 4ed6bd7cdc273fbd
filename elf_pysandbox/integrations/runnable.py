"""A node as LangGraph's runnables are; needs the extra `langgraph`, and says so when it is imported."""

from __future__ import annotations

from typing import Any

from elf_pysandbox._errors import BadResultError, ConfigurationError
from elf_pysandbox.integrations.node import PythonNode, state_values

try:
    from langchain_core.runnables import Runnable, RunnableConfig
except ImportError as missing:  # pragma: no cover - depends on what is installed
    raise ConfigurationError(
        "LangGraph is not installed; install the extra: pip install 'elf-pysandbox[langgraph]'"
    ) from missing


class NodeRunnable(Runnable[Any, dict[str, Any]]):
    """A `PythonNode` as LangGraph runs it: blocking under `invoke` and `stream`, awaiting under the others."""

    def __init__(self, node: PythonNode) -> None:
        self.node = node
        self.name = node.id

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Run the node; return the keys it sets."""
        return _without_orders(self.node.changes(state_values(input)))

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Run the node; cancelling the task ends the call with its process."""
        return _without_orders(await self.node.achanges(state_values(input)))


def _without_orders(changes: dict[str, Any]) -> dict[str, Any]:
    """Refuse values that LangGraph's reducers take for an order to replace a whole channel."""
    for key, value in changes.items():
        if isinstance(value, dict) and ("__overwrite__" in value or value.get("type") == "__overwrite__"):
            raise BadResultError(
                f"state key {key!r}: a tool may not return an '__overwrite__' order of LangGraph"
            )
    return changes
