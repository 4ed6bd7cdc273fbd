"""What a tool is, as its confined template described it: checked on arrival, rendered for each provider.

The description was made by code that the tool can reach, so nothing in it is believed before its types and size were
looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ConfigurationError, ModuleLoadError

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool
    from elf_pysandbox._tools.tool import Tool

MAX_NODES = 100_000
MAX_DEPTH = 64
FORMATS = ("json", "openai", "openai-responses", "anthropic", "gemini", "mcp")

_TOGETHER = 50  # tools of a module that one worker describes, within the limits of one call
_PARALLEL = 8
_TEXTS = ("name", "path", "kind", "signature", "summary", "description", "returns_description")


@dataclass(frozen=True)
class Description:
    """A tool as data.

    Attributes
    ----------
    name, path : str
        What the tool is called; where it is in its module.
    kind : {"sync", "async", "generator", "async_generator"}
    signature : str
        As Python would write it.
    summary, description : str
        From the docstring.
    parameters : dict
        JSON Schema (2020-12) of the arguments by name.
    returns : dict or None
        JSON Schema of the result; None when nothing is said about it.
    returns_description : str
    raises : dict of exception name to text
    examples : list of str
    order : list of dict
        Name, kind, required and default of each parameter, as declared.
    """

    name: str
    path: str
    kind: str
    signature: str
    summary: str
    description: str
    parameters: dict[str, Any]
    returns: dict[str, Any] | None
    returns_description: str = ""
    raises: dict[str, str] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    order: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Summary, description and what is returned, as a model should read them."""
        parts = [self.summary, self.description]
        if self.returns_description:
            parts.append(f"Returns: {self.returns_description}")
        if self.examples:
            parts.append("Examples:\n" + "\n\n".join(self.examples))
        return "\n\n".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        from dataclasses import asdict

        return asdict(self)

    def render(self, format: str = "json", *, strict: bool = False) -> dict[str, Any]:
        """Return the declaration of the tool in a provider's shape.

        Parameters
        ----------
        format : {"json", "openai", "openai-responses", "anthropic", "gemini", "mcp"}
        strict : bool
            Ask for the provider's strict mode; a tool whose schema that mode cannot express is declared without it.
        """
        if format == "json":
            return self.to_dict()
        from elf_pysandbox._tools import providers

        return providers.declare(self, format, strict=strict)


def description_of(data: Any, *, name: str) -> Description:
    """Check what a worker sent and make a `Description` of it.

    Raises
    ------
    ModuleLoadError
        It is not what a description must be.
    """
    if not isinstance(data, dict) or set(data) - set(Description.__dataclass_fields__):
        raise ModuleLoadError(f"tool {name!r} was not described: its worker sent something else")
    budget = [MAX_NODES]
    if not _is_json(data, budget, 0):
        raise ModuleLoadError(f"the description of tool {name!r} is too large, too deep or no JSON")
    wrong = [key for key in _TEXTS if not isinstance(data.get(key, ""), str)]
    wrong += [key for key in ("parameters", "raises") if not isinstance(data.get(key, {}), dict)]
    wrong += [key for key in ("examples", "order") if not isinstance(data.get(key, []), list)]
    if not isinstance(data.get("returns"), (dict, type(None))) or "parameters" not in data:
        wrong.append("returns")
    if wrong:
        raise ModuleLoadError(f"the description of tool {name!r} has the wrong type in {', '.join(wrong)}")
    filled = {key: data.get(key, "") for key in _TEXTS}
    rest = {key: value for key, value in data.items() if key not in _TEXTS}
    return Description(**{"returns": None, **rest, **filled, "name": name})


def _is_json(value: Any, budget: list[int], depth: int) -> bool:
    budget[0] -= 1
    if budget[0] < 0 or depth > MAX_DEPTH:
        return False
    if value is None or type(value) in (bool, int, str):
        return True
    if type(value) is float:
        return value == value and value not in (float("inf"), float("-inf"))
    if type(value) is list:
        return all(_is_json(item, budget, depth + 1) for item in value)
    if type(value) is dict:
        return all(type(key) is str and _is_json(item, budget, depth + 1) for key, item in value.items())
    return False


def describe(pool: SandboxPool, tool: Tool) -> Description:
    """Have a worker describe a tool.

    Raises
    ------
    CallError
        The tool's module does not load, or the tool is not in it.
    """
    return description_of(pool.operation("describe", tool).unwrap(), name=tool.name)


def describe_all(pool: SandboxPool, tools: Iterable[Tool]) -> list[Description]:
    """Have workers describe tools, those of one module together.

    Raises
    ------
    CallError
        A tool's module does not load, or the tool is not in it.
    """
    wanted = list(tools)
    modules: dict[object, list[Tool]] = {}
    for tool in wanted:
        modules.setdefault(tool.module_identity, []).append(tool)
    batches = [
        some[at : at + _TOGETHER] for some in modules.values() for at in range(0, len(some), _TOGETHER)
    ]
    with ThreadPoolExecutor(_PARALLEL) as threads:
        found = {
            tool: description
            for batch, descriptions in zip(
                batches, threads.map(lambda some: _describe_batch(pool, some), batches), strict=True
            )
            for tool, description in zip(batch, descriptions, strict=True)
        }
    return [found[tool] for tool in wanted]


def _describe_batch(pool: SandboxPool, batch: Sequence[Tool]) -> list[Description]:
    if len(batch) == 1:
        return [describe(pool, batch[0])]
    outcome = pool.operation("describe", batch[0], args=tuple(tool.path for tool in batch))
    told = outcome.value if outcome.ok and isinstance(outcome.value, dict) else {}
    return [
        description_of(told[tool.path], name=tool.name) if tool.path in told else describe(pool, tool)
        for tool in batch
    ]


def precheck(
    description: Description, arguments: Mapping[str, Any], *, strict: bool = True
) -> list[tuple[str, str]]:
    """Find what the schema alone can tell is wrong with arguments by name: missing and unknown ones.

    Types are left to the worker, which converts: what is refused here would surely be refused there. Beside a problem
    found here those of simple types are told too, unless the tool reads in the lax way, so that all can be
    corrected at once.
    """
    schema = description.parameters
    properties = schema.get("properties", {})
    problems = [(name, "is required") for name in schema.get("required", ()) if name not in arguments]
    if schema.get("additionalProperties", True) is False:
        known = ", ".join(properties) or "none"
        problems += [
            (str(name), f"there is no such parameter; it takes {known}")
            for name in arguments
            if name not in properties
        ]
    if problems and strict:
        problems += [
            (name, f"Input should be a valid {properties[name]['type']}")
            for name, value in arguments.items()
            if _is_mistaken(properties.get(name, {}), value)
        ]
    return problems


def _is_mistaken(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value is surely of another type than a schema that says no more than a simple type."""
    if schema.get("type") not in _SIMPLE or set(schema) - _SAY_NO_MORE:
        return False
    whole = type(value) is float and value.is_integer()
    return type(value) in _JSON_TYPES and type(value) not in _SIMPLE[schema["type"]] and not whole


_SIMPLE: dict[str, tuple[type, ...]] = {
    "integer": (int,), "number": (int, float), "string": (str,), "boolean": (bool,), "array": (list,),
}  # fmt: skip
_SAY_NO_MORE = frozenset({"type", "title", "description", "default", "examples", "items"})
_JSON_TYPES = (type(None), bool, int, float, str, list, dict)


def check_format(format: str) -> str:
    """Return a known format.

    Raises
    ------
    ConfigurationError
    """
    if format not in FORMATS:
        raise ConfigurationError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    return format
