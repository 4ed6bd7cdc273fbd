"""The project's own shape: ``{"id": …, "name": …, "arguments": {…}}`` and ``{"id", "name", "status", "result"
| "error"}``."""

from __future__ import annotations

from typing import Any

from elf_pysandbox._tools.providers.common import Reply, Request, request_of


def requests(message: dict[str, Any]) -> list[Request] | None:
    """Read a request by name."""
    if "name" not in message:
        return None
    return [request_of("plain", message.get("id"), message["name"], message.get("arguments"))]


def answer(reply: Reply) -> dict[str, Any]:
    """Return status and result, or error."""
    head = {"id": reply.request.id, "name": reply.request.name, "status": reply.status}
    return {**head, "result": reply.value} if reply.ok else {**head, "error": reply.text}
