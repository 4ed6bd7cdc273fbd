"""Anthropic messages.

Rules kept: names of ``[a-zA-Z0-9_-]{1,64}``; `input_schema` is JSON Schema 2020-12 with an object at its
root. In strict mode objects are closed, nothing is recursive, and bounds that the grammar does not know are
left out (the worker still checks them). Source:
https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elf_pysandbox._tools.providers import common
from elf_pysandbox._tools.providers.common import Reply, Request, Schema

if TYPE_CHECKING:
    from elf_pysandbox._tools.schema import Description

_BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems", "minProperties", "maxProperties", "examples", "discriminator", "propertyNames", "contentMediaType",
)  # fmt: skip
_STRICT_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)


def declare(description: Description, *, strict: bool) -> dict[str, Any]:
    """Return the tool for ``tools=[…]``."""
    return common.declared(description, "input_schema", strict_schema if strict else None)


def strict_schema(schema: Schema) -> Schema | None:
    """Return the schema as strict mode takes it, None when it cannot be said there."""
    if _recursive(schema):
        return None
    for node in common.subschemas(schema):
        is_open = node.get("type") == "object" and node.get("additionalProperties") not in (None, False)
        if is_open or any(key in node for key in ("oneOf", "not", "if", "patternProperties", "prefixItems")):
            return None
        if node.get("type") == "object" and "properties" not in node:
            return None
        if not {"type", "$ref", "anyOf", "allOf", "enum", "const"} & set(node):
            return None
    return dict(common.walk(schema, _strict_node))


def _strict_node(node: Schema) -> Schema:
    node = common.without(node, *_BOUNDS)
    if node.get("minItems", 0) > 1:
        node = common.without(node, "minItems")
    if node.get("format") not in _STRICT_FORMATS:
        node = common.without(node, "format")
    if node.get("type") == "object":
        node["additionalProperties"] = False
    return node


def _recursive(schema: Schema) -> bool:
    definitions = schema.get("$defs", {})

    def reaches(name: str, target: str, seen: set[str]) -> bool:
        if name in seen or name not in definitions:
            return False
        seen.add(name)
        names = [
            str(node["$ref"]).removeprefix("#/$defs/")
            for node in common.subschemas(definitions[name])
            if "$ref" in node
        ]
        return target in names or any(reaches(one, target, seen) for one in names)

    return any(reaches(name, name, set()) for name in definitions)


def requests(message: dict[str, Any]) -> list[Request] | None:
    """Find ``tool_use`` blocks in a message, or one by itself."""
    if message.get("type") == "tool_use":
        if "input" not in message:
            return [
                common.malformed(
                    "anthropic", message.get("id"), message.get("name"), "a tool_use block needs 'input'"
                )
            ]
        return [common.request_of("anthropic", message.get("id"), message.get("name"), message["input"])]
    blocks = message.get("content")
    if not isinstance(blocks, list) or "jsonrpc" in message:
        return None
    uses = [block for block in blocks if isinstance(block, dict) and block.get("type") == "tool_use"]
    return [request for block in uses for request in requests(block) or ()]


def answer(reply: Reply) -> dict[str, Any]:
    """Return the ``tool_result`` block."""
    block = {"type": "tool_result", "tool_use_id": reply.request.id, "content": reply.text}
    return block if reply.ok else {**block, "is_error": True}
