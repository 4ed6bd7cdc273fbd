"""The operation `describe`: what a tool is, as data. Runs in a worker that serves nothing else.

The schema is JSON Schema 2020-12, made by pydantic from the resolved annotations; descriptions come from the
docstring. A type that no JSON can stand for gets an empty schema and its name in ``x-python-type``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from elf_pysandbox_worker import docstrings
from elf_pysandbox_worker.signatures import (
    EMPTY,
    VAR_KEYWORD,
    VAR_POSITIONAL,
    Parameter,
    Signature,
    signature_of,
)
from elf_pysandbox_worker.wire.values import unpack

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_KINDS = {
    0: "positional_only",
    1: "positional_or_keyword",
    2: "var_positional",
    3: "keyword_only",
    4: "var_keyword",
}


def run(tool: Any, target: Any, call: Any, buffers: Sequence[bytes] = ()) -> dict[str, Any]:
    """Describe the tool that a call names (see `operations`), or all of the paths that it gives as arguments.

    What a description needs is costly to import, so tools of one module are described together: the value is then a
    dict of path to description, without those that cannot be described.
    """
    paths = unpack(call.arguments, buffers)[0]
    if not paths:
        return describe(target.function, call.path) | {"kind": target.kind}
    found: dict[str, Any] = {}
    for path in paths:
        try:
            one = tool.target(path)
            found[path] = describe(one.function, path) | {"kind": one.kind}
        except Exception:
            continue  # asked for alone, it tells why
    return found


def describe(function: Callable[..., Any], path: str) -> dict[str, Any]:
    """Describe a callable.

    Parameters
    ----------
    function : callable
    path : str
        Its attribute path in the module.

    Returns
    -------
    dict
        ``name``, ``path``, ``kind``, ``signature`` (text), ``summary``, ``description``, ``parameters`` (JSON
        Schema of the arguments by name), ``returns`` (JSON Schema or None), ``returns_description``,
        ``raises``, ``examples``, ``order`` (name, kind, required and default of each parameter). JSON types
        only.
    """
    signature = signature_of(function)
    doc = docstrings.parse(_docstring(function))
    shape = signature or Signature((), EMPTY, "(…)")
    parameters, returns = _schemas(shape, doc)
    if signature is None:
        parameters["additionalProperties"] = True
    return {
        "name": path.rpartition(".")[2],
        "path": path,
        "kind": _kind(function),
        "signature": shape.text,
        "summary": doc.summary,
        "description": doc.description,
        "parameters": parameters,
        "returns": returns,
        "returns_description": doc.returns,
        "raises": doc.raises,
        "examples": doc.examples,
        "order": [_entry(parameter) for parameter in shape.parameters],
    }


def _docstring(function: Any) -> str | None:
    own = getattr(function, "func", function) if not inspect.isroutine(function) else function
    if not inspect.isroutine(own) and not inspect.isclass(own):
        own = type(own)
    try:
        return inspect.getdoc(own)
    except Exception:
        return None


def _kind(function: Any) -> str:
    if inspect.isasyncgenfunction(function):
        return "async_generator"
    if inspect.iscoroutinefunction(function):
        return "async"
    return "generator" if inspect.isgeneratorfunction(function) else "sync"


def _entry(parameter: Parameter) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": parameter.name,
        "kind": _KINDS[int(parameter.kind)],
        "required": parameter.required,
    }
    if parameter.default is not EMPTY:
        try:
            entry["default"] = repr(parameter.default)[:500]
        except Exception:
            entry["default"] = f"<{type(parameter.default).__name__}>"
    return entry


def _schemas(signature: Signature, doc: docstrings.Docstring) -> tuple[dict[str, Any], dict[str, Any] | None]:
    wanted = {("parameter", p.name): p.annotation for p in signature.parameters}
    if signature.returns is not EMPTY:
        wanted["return", ""] = signature.returns
    schemas, parameter_defs, return_defs = _generate(wanted)
    properties: dict[str, Any] = {}
    required: list[str] = []
    additional: Any = False
    for parameter in signature.parameters:
        schema = schemas["parameter", parameter.name]
        if parameter.kind == VAR_KEYWORD:
            additional = schema or True
            continue
        if parameter.kind == VAR_POSITIONAL:
            schema = {"type": "array", "items": schema}
        properties[parameter.name] = _with_details(schema, parameter, doc)
        if parameter.required:
            required.append(parameter.name)
    parameters = {"$schema": DIALECT, "type": "object", "properties": properties, "required": required}
    parameters["additionalProperties"] = additional
    if parameter_defs:
        parameters["$defs"] = parameter_defs
    returns = schemas.get(("return", ""))
    if returns is not None:
        returns = {"$schema": DIALECT, **returns, **({"$defs": return_defs} if return_defs else {})}
    return parameters, returns


def _with_details(schema: dict[str, Any], parameter: Parameter, doc: docstrings.Docstring) -> dict[str, Any]:
    details = dict(schema)
    text = doc.parameters.get(parameter.name)
    if text and "description" not in details:
        details["description"] = text
    if parameter.default is not EMPTY:
        known, value = _json_default(parameter)
        if known:
            details["default"] = value
    return details


def _json_default(parameter: Parameter) -> tuple[bool, Any]:
    """The default as JSON, if it can be said in JSON."""
    value = parameter.default
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return True, value
    if type(value) is float:
        return math.isfinite(value), value
    try:
        from pydantic_core import from_json, to_json

        return True, from_json(to_json(value, inf_nan_mode="constants"), allow_inf_nan=False)
    except Exception:
        return False, None


Key = tuple[str, str]


def _generate(wanted: dict[Key, Any]) -> tuple[dict[Key, dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Make one schema for each annotation, with the definitions that parameters and result share."""
    from elf_pysandbox_worker.readers import adapter_of

    schemas: dict[Key, dict[str, Any]] = {}
    usable: dict[Key, Any] = {}
    for key, annotation in wanted.items():
        adapter = adapter_of(annotation)
        if annotation is EMPTY or annotation is Any:
            schemas[key] = {}
        elif adapter is None or not _has_schema(adapter, key):
            schemas[key] = {"x-python-type": _type_name(annotation)}
        else:
            usable[key] = adapter
    inputs = {key: adapter for key, adapter in usable.items() if key[0] == "parameter"}
    outputs = {key: adapter for key, adapter in usable.items() if key[0] == "return"}
    made, parameter_defs = _together(inputs, "validation")
    made_return, return_defs = _together(outputs, "serialization")
    return schemas | made | made_return, parameter_defs, return_defs


def _together(adapters: dict[Key, Any], mode: Any) -> tuple[dict[Key, dict[str, Any]], dict[str, Any]]:
    from pydantic import TypeAdapter

    if not adapters:
        return {}, {}
    made, shared = TypeAdapter.json_schemas(
        [(key, mode, adapter) for key, adapter in adapters.items()],
        ref_template="#/$defs/{model}",
        schema_generator=_generator(),
    )
    return {key: made[key, mode] for key in adapters}, shared.get("$defs", {})


def _generator() -> Any:
    """Pydantic's generator, saying what binds: how a Decimal's text looks, and that a set may be given twice
    the same."""
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        def set_schema(self, schema: Any) -> dict[str, Any]:
            made = super().set_schema(schema)
            made.pop("uniqueItems", None)
            return made

        def frozenset_schema(self, schema: Any) -> dict[str, Any]:
            made = super().frozenset_schema(schema)
            made.pop("uniqueItems", None)
            return made

        def decimal_schema(self, schema: Any) -> dict[str, Any]:
            made = super().decimal_schema(schema)
            for part in [made, *made.get("anyOf", ())]:
                if part.get("type") == "string":
                    part.setdefault("pattern", r"^(?!^[-+.]*$)[+-]?\d*\.?\d*$")
            return made

    return Generator


def _has_schema(adapter: Any, key: Key) -> bool:
    try:
        adapter.json_schema(mode="serialization" if key[0] == "return" else "validation")
    except Exception:  # arbitrary classes, callables: pydantic has no JSON for them
        return False
    return True


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type):
        return f"{annotation.__module__}.{annotation.__qualname__}"
    return str(annotation)[:200]
