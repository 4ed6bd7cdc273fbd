"""The shape of a workflow document, as pydantic models: what each key means, and its type.

Decided here and nowhere else: the keys, their types and the texts an editor shows. What only the whole
document can tell (names that must exist, cycles) is `check`'s.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from elf_pysandbox._outcome import STATUSES
from elf_pysandbox._tools.retry import is_ending
from elf_pysandbox.config.problems import nearest
from elf_pysandbox.config.types import type_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9.-]*")
RESERVED = frozenset({"START", "END", "__start__", "__end__", "__root__"})


class Model(BaseModel):
    """A part of a document: unknown keys are refused, and no value is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


def _ending(value: str) -> str:
    if not is_ending(value):
        raise ValueError(f"{value!r} is no status and no exception type.{nearest(value, STATUSES)}")
    return value


class RetryConfig(Model):
    """Calls of a node that may be made again."""

    attempts: int = Field(default=3, ge=1, le=100, description="Calls in all, the first included.")
    backoff: float = Field(
        0.1, ge=0, le=3600, description="Seconds before the second call; doubled each time."
    )
    max_backoff: float = Field(
        default=30.0, ge=0, le=3600, description="Longest wait between two calls, in seconds."
    )
    jitter: float = Field(
        0.1, ge=0, le=3600, description="Up to this many seconds are added at random to each wait."
    )
    on: tuple[Annotated[str, AfterValidator(_ending)], ...] = Field(
        default=(), strict=False,
        description="Statuses (timeout, killed…) and exception types (ConnectionError…) after which to call "
        "again; left out: whatever the tool raised, timeouts, and accidents of the sandbox.",
    )  # fmt: skip


class OnError(Model):
    """What happens when a node's last call failed."""

    kind: Literal["fail", "continue", "goto", "default"] = "fail"
    target: str = ""
    value: Any = None


def _on_error(value: Any) -> Any:
    if isinstance(value, OnError):
        return value
    if isinstance(value, str):
        word, _, rest = value.strip().partition(" ")
        if word in ("fail", "continue") and not rest:
            return OnError(kind=word)  # type: ignore[arg-type]
        if word == "goto" and rest.strip():
            return OnError(kind="goto", target=rest.strip())
        if word == "default" and rest.strip():
            return OnError(kind="default", value=_json_or_text(rest.strip()))
    elif isinstance(value, dict) and list(value) == ["goto"] and isinstance(value["goto"], str):
        return OnError(kind="goto", target=value["goto"])
    elif isinstance(value, dict) and list(value) == ["default"]:
        return OnError(kind="default", value=value["default"])
    raise ValueError("write fail, continue, 'goto NODE', 'default VALUE' or {default: VALUE}")


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _retry(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"attempts": value}
    return value


class FilesConfig(Model):
    """Files a function may reach; relative paths count from the document's folder."""

    read: tuple[str, ...] = Field(default=(), strict=False, description="Files and folders it may read.")
    write: tuple[str, ...] = Field(
        default=(), strict=False, description="Files and folders it may read and write."
    )
    scratch_mb: int = Field(
        0, ge=0, le=1 << 20, description="MiB of a private temporary folder for each call."
    )


def _files(value: Any) -> Any:
    return {"read": value} if isinstance(value, (list, tuple)) else value


def _output(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, dict) and value and all(isinstance(item, str) and item for item in value.values()):
        return value
    raise ValueError("write the name of a state key, '*' to merge a dict result, or a mapping of keys to "
                     "JMESPath expressions over the result")  # fmt: skip


def _return_type(value: str) -> str:
    type_of(value)
    return value


def _identifier(value: str) -> str:
    if not all(part.isidentifier() for part in value.split(".")):
        raise ValueError(f"{value!r} is no Python name")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value) or value in RESERVED:
        raise ValueError(
            f"{value!r} cannot be a name: use letters, digits, '_', '-' and '.', and not START or END"
        )
    return value


def _env(value: str) -> str:
    if not value or "=" in value or "\0" in value:
        raise ValueError(f"{value!r} is no name of an environment variable; values are not written here")
    return value


PythonName = Annotated[str, AfterValidator(_identifier)]
Name = Annotated[str, AfterValidator(_name)]
Names = Annotated[tuple[PythonName, ...], Field(strict=False)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]

_RETRY_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 100, "description": "Calls in all."},
        {"type": "object", "additionalProperties": False,
         "properties": {"attempts": {"type": "integer", "minimum": 1, "maximum": 100},
                        "backoff": {"type": "number", "minimum": 0},
                        "max_backoff": {"type": "number", "minimum": 0},
                        "jitter": {"type": "number", "minimum": 0},
                        "on": {"type": "array", "items": {"type": "string"}}}},
    ]
}  # fmt: skip
_ON_ERROR_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": "^(fail|continue|goto .+|default .+)$"},
        {"type": "object", "additionalProperties": False, "minProperties": 1, "maxProperties": 1,
         "properties": {"goto": {"type": "string"}, "default": {}}},
    ]
}  # fmt: skip
_FILES_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": False,
         "properties": {"read": {"type": "array", "items": {"type": "string"}},
                        "write": {"type": "array", "items": {"type": "string"}},
                        "scratch_mb": {"type": "integer", "minimum": 0}}},
    ]
}  # fmt: skip
_OUTPUT_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string", "minLength": 1}},
    ]
}

Retrying = Annotated[RetryConfig, BeforeValidator(_retry), WithJsonSchema(_RETRY_SCHEMA)]
ErrorRule = Annotated[OnError, BeforeValidator(_on_error), WithJsonSchema(_ON_ERROR_SCHEMA)]
FileGrants = Annotated[FilesConfig, BeforeValidator(_files), WithJsonSchema(_FILES_SCHEMA)]
OutputRule = Annotated[str | dict[str, str], BeforeValidator(_output), WithJsonSchema(_OUTPUT_SCHEMA)]


class Settings(Model):
    """What a call may use and reach, and what happens when it fails; left out means the pool's own."""

    timeout: float | None = Field(default=None, gt=0, le=86_400, description="Seconds a call may take.")
    memory_limit_mb: int | None = Field(
        default=None, ge=32, le=1 << 20, description="MiB a call may allocate."
    )
    cpu_limit: float | None = Field(default=None, gt=0, le=86_400, description="CPU seconds a call may use.")
    allowed_imports: Names | None = Field(
        default=None, description="Modules it may import beside the default ones."
    )
    profile: Literal["restricted", "native"] | None = Field(
        default=None, description="Language policy, or plain CPython."
    )
    files: FileGrants | None = Field(default=None, description="Files it may reach.")
    env: tuple[Annotated[str, AfterValidator(_env)], ...] | None = Field(
        default=None, strict=False, description="Names of environment variables it may see."
    )
    requirements: Texts | None = Field(
        default=None, description="Distributions it needs (PEP 508), checked before the run."
    )
    requires_python: str | None = Field(default=None, description="Versions of Python it needs (PEP 440).")
    python_path: Texts | None = Field(default=None, description="Folders to look for its modules in.")
    strict: bool | None = Field(
        default=None,
        description="true: no parameter is converted. Left out, text that reads as a number becomes one where the "
        "function wants a number, and so on.",
    )
    retry: Retrying | None = Field(default=None, description="Attempts, or how to retry.")
    on_error: ErrorRule | None = Field(
        default=None, description="fail, continue, 'goto NODE', 'default VALUE'."
    )


class PythonFunction(Settings):
    """One Python function: where it is, what it is given, and where its result goes."""

    name: Name = Field(description="What nodes call it; unique in the workflow.")
    module: PythonName | None = Field(default=None, description="The module it is in, by dotted name.")
    file: str | None = Field(default=None, description="The file it is in.")
    source: str | None = Field(default=None, description="Its module's source text.")
    function: PythonName = Field(description="Its name in the module; dotted for a method.")
    description: str = ""
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Arguments, with ${state.…} templates."
    )
    output: OutputRule | None = Field(
        default=None,
        description="The state key of the result; '*' merges a dict; or key: JMESPath over the result.",
    )
    return_type: Annotated[str, AfterValidator(_return_type)] | None = Field(
        default=None, description="The type the result must have, such as dict[str, int]."
    )


class WorkflowNode(Settings):
    """One node of the graph: a function, with what differs here."""

    id: Name = Field(description="Unique in the workflow.")
    kind: Literal["python"] = "python"
    ref: str | None = Field(default=None, description="The function's name; the node's id when left out.")
    description: str = ""
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Put over the function's parameters."
    )
    output: OutputRule | None = None
    return_type: Annotated[str, AfterValidator(_return_type)] | None = None
    stop: bool = Field(default=False, description="The workflow ends after this node.")


def _nodes(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Endpoints = Annotated[
    tuple[str, ...],
    BeforeValidator(_nodes),
    Field(strict=False),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]


class WorkflowEdge(Model):
    """A way from one node to the next."""

    source: Endpoints = Field(description="A node; a list is waited for as a whole (fan-in). START begins.")
    target: Endpoints = Field(description="A node, or a list that runs at once (fan-out). END ends.")
    condition: str | None = Field(
        default=None, description="JMESPath over state; the first edge whose condition holds is taken."
    )
    max_iterations: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="The edge is taken only while its target has run fewer times.",
    )


class WorkflowGraph(Model):
    """The graph: nodes and the edges between them."""

    type: Literal["sequential", "custom_graph"] | None = Field(
        default=None, description="Left out: sequential without edges, else custom_graph."
    )
    nodes: tuple[WorkflowNode, ...] = Field(strict=False)
    edges: tuple[WorkflowEdge, ...] = Field(default=(), strict=False)
    max_iterations: int = Field(default=25, ge=1, le=10_000, description="How often one node may run.")


class Functions(Model):
    """What nodes can run."""

    python_functions: tuple[PythonFunction, ...] = Field(default=(), strict=False)


class DocumentModel(Model):
    """A workflow document."""

    version: str | None = Field(default=None, description="Of this document; for people.")
    name: str = ""
    description: str = ""
    runtime: Literal["langgraph"] = "langgraph"
    include: Annotated[
        tuple[str, ...],
        BeforeValidator(_nodes),
        Field(strict=False),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(default=(), description="Documents whose functions, defaults and python_path are taken in.")
    defaults: Settings = Field(default=Settings(), description="For every function that says nothing else.")
    python_path: Texts = Field(
        default=(), description="Folders to look for modules in; the document's own comes first."
    )
    functions: Functions = Functions()
    state: dict[str, Any] = Field(default_factory=dict, description="The state before the first node.")
    workflow: WorkflowGraph | None = Field(
        default=None, description="Left out: every function runs once, in the order written."
    )


class PythonNodeConfig(PythonFunction):
    """Everything a python node needs: a function of a document with its node's overrides, or made in Python.

    `name` defaults to the function's name. `function_name` is the same as `function`.
    """

    name: Name = ""

    def __init__(self, **values: Any) -> None:
        if "function_name" in values:
            values.setdefault("function", values.pop("function_name"))
        if "function" in values:
            values.setdefault("name", values["function"])
        super().__init__(**values)

    @property
    def function_name(self) -> str:
        """The same as `function`."""
        return self.function
