"""Model Context Protocol: ``tools/list`` entries and ``tools/call`` requests (JSON-RPC 2.0).

Rules kept: names of ``[A-Za-z0-9_.-]{1,128}``; `inputSchema` and `outputSchema` have an object at their root;
a failed tool is a result with ``isError``, an unknown tool or a malformed request a protocol error. Source:
https://modelcontextprotocol.io/specification/2025-06-18/server/tools
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elf_pysandbox._tools.providers.common import (
    Reply,
    Request,
    input_schema,
    malformed,
    request_of,
    safe_name,
)

if TYPE_CHECKING:
    from elf_pysandbox._tools.schema import Description

_INVALID_REQUEST, _INVALID_PARAMS = -32600, -32602


def declare(description: Description) -> dict[str, Any]:
    """Return the entry for ``tools/list``."""
    tool: dict[str, Any] = {
        "name": safe_name(description.name, pattern=r"[^A-Za-z0-9_.-]", longest=128),
        "description": description.text,
        "inputSchema": input_schema(description.parameters),
    }
    returns = description.returns
    if returns is not None and returns.get("type") == "object" and description.kind in ("sync", "async"):
        tool["outputSchema"] = input_schema(returns)
    return tool


def requests(message: dict[str, Any]) -> list[Request] | None:
    """Read a ``tools/call`` request; other JSON-RPC messages hold none."""
    if "jsonrpc" not in message:
        return None
    id = message.get("id")
    if message.get("method") != "tools/call":
        return (
            []
            if "result" in message or "error" in message
            else [malformed("mcp", id, "", "not a tools/call request")]
        )
    parameters = message.get("params")
    if not isinstance(parameters, dict):
        return [malformed("mcp", id, "", "tools/call needs 'params' with 'name' and 'arguments'")]
    return [request_of("mcp", id, parameters.get("name"), parameters.get("arguments"))]


def answer(reply: Reply) -> dict[str, Any]:
    """Return the JSON-RPC response."""
    response: dict[str, Any] = {"jsonrpc": "2.0", "id": reply.request.id}
    if reply.request.problem:
        return {**response, "error": {"code": _INVALID_REQUEST, "message": reply.text}}
    if reply.status == "not_found":
        return {**response, "error": {"code": _INVALID_PARAMS, "message": reply.text}}
    result: dict[str, Any] = {"content": [{"type": "text", "text": reply.text}], "isError": not reply.ok}
    if reply.ok and isinstance(reply.value, dict):
        result["structuredContent"] = reply.value
    return {**response, "result": result}
