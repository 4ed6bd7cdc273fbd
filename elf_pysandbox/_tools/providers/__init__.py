"""The shapes in which models are told of tools, ask for them, and are answered. One file a provider.

Each has `declare(description, strict)`, `requests(message)` and `answer(reply)`; `parse` asks them in turn which one
knows a message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from elf_pysandbox._tools.providers import anthropic, gemini, mcp, openai, plain
from elf_pysandbox._tools.providers.common import Reply, Request, malformed

if TYPE_CHECKING:
    from elf_pysandbox._tools.schema import Description

__all__ = ["Reply", "Request", "answer", "declare", "parse"]

_PARSERS = (
    mcp.requests,
    openai.requests,
    openai.response_requests,
    anthropic.requests,
    gemini.requests,
    plain.requests,
)
_ANSWERS = {
    "openai": openai.answer,
    "openai-responses": openai.response_answer,
    "anthropic": anthropic.answer,
    "gemini": gemini.answer,
    "mcp": mcp.answer,
    "plain": plain.answer,
}


def declare(description: Description, format: str, *, strict: bool = False) -> dict[str, Any]:
    """Return a tool's declaration for a provider."""
    from elf_pysandbox._tools.schema import check_format

    check_format(format)
    if format == "openai":
        return openai.declare(description, strict=strict)
    if format == "openai-responses":
        return openai.declare_response(description, strict=strict)
    if format == "anthropic":
        return anthropic.declare(description, strict=strict)
    return gemini.declare(description) if format == "gemini" else mcp.declare(description)


def parse(message: Any) -> list[Request]:
    """Find the tool requests in a message of any known shape; one that is malformed is among them as such.

    Parameters
    ----------
    message : object
        A response, message, part or request as dict, JSON text, an object of the provider's own library, or a list of
        any of these.
    """
    if isinstance(message, (str, bytes, bytearray)):
        try:
            message = json.loads(message)
        except (ValueError, RecursionError) as error:
            return [
                malformed("plain", "", "", f"a tool request is a JSON object; this text is none: {error}")
            ]
    message = _as_data(message)
    if isinstance(message, list):
        return [request for item in message for request in parse(item)]
    if not isinstance(message, dict):
        return [malformed("plain", "", "", f"a tool request is a JSON object, not {type(message).__name__}")]
    for parser in _PARSERS:
        found = parser(message)
        if found is not None:
            return found
    return [malformed("plain", message.get("id"), "", "no tool request of a known shape")]


def answer(reply: Reply) -> dict[str, Any]:
    """Return the reply in the shape of its request."""
    return _ANSWERS[reply.request.provider](reply)


def _as_data(message: Any) -> Any:
    for name in ("model_dump", "to_dict"):
        method = getattr(message, name, None)
        if callable(method) and not isinstance(message, type):
            return method()
    return message
