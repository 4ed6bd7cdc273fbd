"""What the providers share: requests, replies, and walks over JSON Schema."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from elf_pysandbox._tools.jsonable import strict_json

if TYPE_CHECKING:
    from elf_pysandbox._tools.schema import Description

Schema = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request to run a tool.

    Attributes
    ----------
    provider : str
    id : str or int or None
        As given; None where the shape has none.
    name : str
    arguments : dict
    problem : str
        Why it cannot be run; "" for a request that can.
    """

    provider: str
    id: Any
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for two requests that are the same one, sent twice."""
        arguments = json.dumps(self.arguments, sort_keys=True, default=repr)
        return (self.provider, repr(self.id), self.name, arguments)


@dataclass(frozen=True)
class Reply:
    """How a request ended.

    Attributes
    ----------
    request : Request
    status : str
        Of the outcome; `invalid_arguments` for a malformed request, `not_found` for an unknown tool.
    value : object
        JSON types only.
    text : str
        The result, or the error, as a model should read it.
    """

    request: Request
    status: str
    value: Any
    text: str

    @property
    def ok(self) -> bool:
        """Whether the tool returned a value."""
        return self.status == "ok"


def malformed(provider: str, id: Any, name: Any, problem: str) -> Request:
    """Return a request that cannot be run, and says why."""
    return Request(provider, id, name if isinstance(name, str) else "", {}, problem)


def request_of(provider: str, id: Any, name: Any, arguments: Any) -> Request:
    """Make a request of parts that may be anything; arguments may be JSON text."""
    if not isinstance(name, str) or not name:
        return malformed(provider, id, name, "the request names no tool")
    if isinstance(arguments, (str, bytes)):
        try:
            arguments = strict_json(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            return malformed(provider, id, name, f"its arguments are no valid JSON: {error}")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        return malformed(
            provider, id, name, f"its arguments must be a JSON object, not {type(arguments).__name__}"
        )
    if not all(isinstance(key, str) for key in arguments):
        return malformed(provider, id, name, "the names of its arguments must be text")
    return Request(provider, id, name, dict(arguments))


def safe_name(name: str, *, pattern: str = r"[^a-zA-Z0-9_-]", longest: int = 64) -> str:
    """Return `name` as a provider admits it; one that had to be changed ends in a digest of the original."""
    clean = re.sub(pattern, "_", name)
    if clean == name and len(name) <= longest and name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{clean[: longest - 9]}_{digest}"


# -- schemas --

_MAPS = ("properties", "$defs", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties",
)  # fmt: skip


def walk(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """Apply `change` to every schema object in `schema`, innermost first; properties named like keywords are safe."""
    if not isinstance(schema, dict):
        return schema
    new: Schema = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            new[key] = {name: walk(item, change) for name, item in value.items()}
        elif key in _LISTS and isinstance(value, list):
            new[key] = [walk(item, change) for item in value]
        else:
            new[key] = walk(value, change) if key in _SINGLES else value
    return change(new)


def subschemas(schema: Any) -> list[Schema]:
    """Every schema object in `schema`."""
    found: list[Schema] = []

    def note(node: Schema) -> Schema:
        found.append(node)
        return node

    walk(schema, note)
    return found


def inlined(schema: Schema) -> Schema:
    """Put definitions in place of references; a recursive one becomes any object."""
    definitions = schema.get("$defs", {})

    def expand(node: Any, inside: tuple[str, ...]) -> Any:
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            name = reference.removeprefix("#/$defs/")
            rest = {key: value for key, value in node.items() if key != "$ref"}
            if name in inside or name not in definitions or len(inside) > 8:
                return {"type": "object", "description": f"{name}, as above", **rest}
            return {**expand(definitions[name], (*inside, name)), **rest}
        return {
            key: _expand_part(key, value, lambda part: expand(part, inside)) for key, value in node.items()
        }

    return {key: value for key, value in expand(schema, ()).items() if key != "$defs"}


def _expand_part(key: str, value: Any, expand: Callable[[Any], Any]) -> Any:
    if key in _MAPS and isinstance(value, dict) and key != "$defs":
        return {name: expand(item) for name, item in value.items()}
    if key in _LISTS and isinstance(value, list):
        return [expand(item) for item in value]
    return expand(value) if key in _SINGLES else value


def without(schema: Schema, *keys: str) -> Schema:
    """Return the schema object without some keywords."""
    return {key: value for key, value in schema.items() if key not in keys}


def input_schema(parameters: Schema) -> Schema:
    """The parameters as a tool's input: no dialect, no titles made of names, no words of our own."""

    def clean(node: Schema) -> Schema:
        return without(node, "$schema", "x-python-type", "title")

    return dict(walk(parameters, clean))


def declared(
    description: Description, key: str, strict_schema: Callable[[Schema], Schema | None] | None
) -> dict[str, Any]:
    """Return name, description and the schema under `key`, as OpenAI and Anthropic both take them.

    Parameters
    ----------
    strict_schema : callable or None
        Makes the schema of the provider's strict mode, None where it has none; left out when strict is not asked for.
    """
    schema = input_schema(description.parameters)
    strictly = strict_schema(schema) if strict_schema is not None else None
    tool = {
        "name": safe_name(description.name),
        "description": description.text,
        key: strictly if strictly is not None else schema,
    }
    return tool if strict_schema is None else {**tool, "strict": strictly is not None}
