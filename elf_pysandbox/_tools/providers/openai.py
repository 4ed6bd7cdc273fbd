"""OpenAI: chat completions and responses.

Rules kept: names of ``[a-zA-Z0-9_-]{1,64}``; in strict mode every object is closed and requires all its properties
(an optional one admits null instead), and the keywords outside the supported subset are left out. A schema with open
objects or untyped parts cannot be strict and is declared ``"strict": false``.
Source: https://platform.openai.com/docs/guides/structured-outputs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elf_pysandbox._tools.providers.common import (
    Reply,
    Request,
    Schema,
    declared,
    malformed,
    request_of,
    subschemas,
    walk,
    without,
)

if TYPE_CHECKING:
    from elf_pysandbox._tools.schema import Description

_LONGEST_DESCRIPTION = 1024
_STRICT_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_NOT_IN_STRICT = (
    "default", "minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties", "examples", "propertyNames",
    "contentMediaType", "contentEncoding", "discriminator", "deprecated",
)  # fmt: skip
_NEVER_IN_STRICT = ("oneOf", "allOf", "not", "if", "patternProperties", "prefixItems", "dependentSchemas")


def declare(description: Description, *, strict: bool) -> dict[str, Any]:
    """Return the tool for ``tools=[…]`` of chat completions."""
    return {"type": "function", "function": _function(description, strict)}


def declare_response(description: Description, *, strict: bool) -> dict[str, Any]:
    """Return the tool for ``tools=[…]`` of responses."""
    return {"type": "function", **_function(description, strict)}


def _function(description: Description, strict: bool) -> dict[str, Any]:
    function = declared(description, "parameters", strict_schema if strict else None)
    function["description"] = function["description"][:_LONGEST_DESCRIPTION]
    return function


def strict_schema(schema: Schema) -> Schema | None:
    """Return the schema as strict mode takes it, None when it cannot be said there."""
    nodes = subschemas(schema)
    for node in nodes:
        if any(key in node for key in _NEVER_IN_STRICT):
            return None
        is_open = node.get("type") == "object" and node.get("additionalProperties") is not False
        if is_open and (not node.get("properties") or node.get("additionalProperties") not in (None, False)):
            return None
        if not {"type", "$ref", "anyOf", "enum", "const"} & set(node):
            return None
        if node.get("type") == "array" and "items" not in node:
            return None
    return dict(walk(schema, _strict_node))


def _strict_node(node: Schema) -> Schema:
    node = without(node, *_NOT_IN_STRICT)
    if node.get("format") not in _STRICT_FORMATS:
        node = without(node, "format")
    if "$ref" in node:
        return {"$ref": node["$ref"]}  # nothing may stand beside a reference
    if node.get("type") == "object":
        properties = node.get("properties", {})
        required = set(node.get("required", ()))
        node["properties"] = {
            name: part if name in required else _nullable(part) for name, part in properties.items()
        }
        node["required"] = list(properties)
        node["additionalProperties"] = False
    return node


def _nullable(part: Schema) -> Schema:
    if part.get("type") == "null" or any(item.get("type") == "null" for item in part.get("anyOf", ())):
        return part
    if "anyOf" in part:
        return {**part, "anyOf": [*part["anyOf"], {"type": "null"}]}
    details = {key: part[key] for key in ("description",) if key in part}
    return {"anyOf": [without(part, *details), {"type": "null"}], **details}


def requests(message: dict[str, Any]) -> list[Request] | None:
    """Find chat tool calls in a completion, a message, or a call by itself."""
    if isinstance(message.get("choices"), list):
        found: list[Request] = []
        for choice in message["choices"]:
            inner = choice.get("message") if isinstance(choice, dict) else None
            found += (requests(inner) or []) if isinstance(inner, dict) else []
        return found
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        return [_call(call) for call in calls]
    if isinstance(message.get("function"), dict):
        return [_call(message)]
    return [] if message.get("role") == "assistant" and calls is None and "tool_calls" in message else None


def _call(call: Any) -> Request:
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        id = call.get("id") if isinstance(call, dict) else None
        return malformed("openai", id, "", "a tool call needs a 'function' with 'name' and 'arguments'")
    function = call["function"]
    return request_of("openai", call.get("id"), function.get("name"), function.get("arguments"))


def response_requests(message: dict[str, Any]) -> list[Request] | None:
    """Find function calls in a response, or a call item by itself."""
    if message.get("type") == "function_call":
        return [
            request_of(
                "openai-responses", message.get("call_id"), message.get("name"), message.get("arguments")
            )
        ]
    if not isinstance(message.get("output"), list):
        return None
    items = [
        item for item in message["output"] if isinstance(item, dict) and item.get("type") == "function_call"
    ]
    return [request for item in items for request in response_requests(item) or ()]


def answer(reply: Reply) -> dict[str, Any]:
    """Return the message with role ``tool``."""
    return {"role": "tool", "tool_call_id": reply.request.id, "content": reply.text}


def response_answer(reply: Reply) -> dict[str, Any]:
    """Return the ``function_call_output`` item."""
    return {"type": "function_call_output", "call_id": reply.request.id, "output": reply.text}
