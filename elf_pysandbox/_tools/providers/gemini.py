"""Gemini: function declarations in its subset of OpenAPI 3.0 schemas.

Rules kept: names begin with a letter or underscore, then ``[a-zA-Z0-9_.-]``, 64 at most; references are
inlined; null is ``nullable``; only text has an ``enum``; keywords outside the subset are left out. Source:
https://ai.google.dev/api/caching#Schema
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elf_pysandbox._tools.providers.common import (
    Reply,
    Request,
    Schema,
    inlined,
    input_schema,
    malformed,
    request_of,
    safe_name,
    walk,
)

if TYPE_CHECKING:
    from elf_pysandbox._tools.schema import Description

KEYWORDS = frozenset({
    "type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties",
    "required", "minProperties", "maxProperties", "minimum", "maximum", "minLength", "maxLength", "pattern", "example",
    "anyOf", "propertyOrdering", "default",
})  # fmt: skip
FORMATS = {
    "string": frozenset({"enum", "date-time"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}


def declare(description: Description) -> dict[str, Any]:
    """Return the tool for ``functionDeclarations``."""
    name = safe_name(description.name, pattern=r"[^a-zA-Z0-9_.-]", longest=64)
    if not (name[0].isalpha() or name[0] == "_"):
        name = safe_name(f"_{name}")
    declaration: dict[str, Any] = {"name": name, "description": description.text}
    schema = walk(inlined(input_schema(description.parameters)), _node)
    if schema.get("properties"):
        declaration["parameters"] = schema
    return declaration


def _node(node: Schema) -> Schema:
    node = _without_null(node)
    if "const" in node:
        node["enum"] = [node["const"]]
    if "oneOf" in node or "allOf" in node:
        node["anyOf"] = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]
    if "prefixItems" in node:
        node["items"] = {"anyOf": node["prefixItems"]} if node["prefixItems"] else {"type": "string"}
    if "exclusiveMinimum" in node:
        node.setdefault("minimum", node["exclusiveMinimum"])
    if "exclusiveMaximum" in node:
        node.setdefault("maximum", node["exclusiveMaximum"])
    enum = node.get("enum")
    if enum is not None and not all(isinstance(item, str) for item in enum):
        node = _as_hint(node, enum)
    elif enum is not None:
        node.setdefault("type", "string")
    if not node.get("type") and not node.get("anyOf"):
        node["type"] = "object" if node.get("properties") else "string"
    if node.get("type") == "array":
        node.setdefault("items", {"type": "string"})
    if node.get("format") not in FORMATS.get(node.get("type", ""), ()):
        node.pop("format", None)
    return {key: value for key, value in node.items() if key in KEYWORDS}


def _as_hint(node: Schema, enum: list[Any]) -> Schema:
    kinds = {bool: "boolean", int: "integer", float: "number"}
    node = {key: value for key, value in node.items() if key != "enum"}
    node.setdefault("type", kinds.get(type(enum[0]), "string") if enum else "string")
    text = f"One of: {', '.join(map(str, enum))}"
    node["description"] = f"{node['description']} {text}" if node.get("description") else text
    return node


def _without_null(node: Schema) -> Schema:
    """Say null by ``nullable``, and one remaining alternative by itself."""
    kinds = node.get("type")
    if isinstance(kinds, list):
        rest = [kind for kind in kinds if kind != "null"]
        node = {**node, "type": rest[0] if rest else "string"}
        return {**node, "nullable": True} if len(rest) < len(kinds) else node
    parts = node.get("anyOf")
    if not isinstance(parts, list):
        return {**node, "type": "string", "nullable": True} if kinds == "null" else dict(node)
    rest = [part for part in parts if not (part.get("nullable") and set(part) <= {"type", "nullable"})]
    if len(rest) == len(parts):
        return dict(node)
    outer = {key: value for key, value in node.items() if key != "anyOf"}
    if len(rest) == 1:
        return {**rest[0], **outer, "nullable": True}
    return {**outer, "anyOf": rest, "nullable": True}


def requests(message: dict[str, Any]) -> list[Request] | None:
    """Find function calls in a response, a content, or a part by itself."""
    if isinstance(message.get("candidates"), list):
        contents = [one.get("content") for one in message["candidates"] if isinstance(one, dict)]
        return [
            request
            for content in contents
            if isinstance(content, dict)
            for request in requests(content) or ()
        ]
    if isinstance(message.get("parts"), list):
        calls = [part for part in message["parts"] if isinstance(part, dict) and _call_of(part) is not None]
        return [request for part in calls for request in requests(part) or ()]
    call = _call_of(message)
    if call is None:
        return None
    if not isinstance(call, dict):
        return [malformed("gemini", None, "", "a functionCall needs 'name' and 'args'")]
    return [request_of("gemini", call.get("id"), call.get("name"), call.get("args"))]


def _call_of(part: dict[str, Any]) -> Any:
    return part.get("functionCall", part.get("function_call"))


def answer(reply: Reply) -> dict[str, Any]:
    """Return the part with the ``functionResponse``."""
    response = {"result": reply.value} if reply.ok else {"error": reply.text}
    part: dict[str, Any] = {"name": reply.request.name, "response": response}
    if reply.request.id is not None:
        part["id"] = reply.request.id
    return {"functionResponse": part}
