"""Schemas of forty signatures against the meta-schema and each provider's rules, and against what binds."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from elf_pysandbox import ConfigurationError, ModuleLoadError, SandboxPool, ToolNotFoundError
from elf_pysandbox._tools.load import load, load_source
from elf_pysandbox._tools.providers.common import subschemas
from elf_pysandbox._tools.providers.gemini import FORMATS, KEYWORDS
from elf_pysandbox._tools.schema import Description, describe, describe_all, description_of, precheck
from elf_pysandbox_worker.binding import prepare
from elf_pysandbox_worker.describe import describe as describe_here
from elf_pysandbox_worker.errors import BadArguments
from tests.tools import signatures40

IDS = [function.__name__ for function in signatures40.ALL]


def described(function: Any) -> Description:
    return description_of(describe_here(function, function.__name__), name=function.__name__)


DESCRIPTIONS = {function.__name__: described(function) for function in signatures40.ALL}


@pytest.fixture(params=signatures40.ALL, ids=IDS)
def function(request: pytest.FixtureRequest) -> Any:
    return request.param


def meta(schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


def test_there_are_forty_signatures() -> None:
    assert len(signatures40.ALL) >= 40


def test_the_schema_satisfies_the_meta_schema(function: Any) -> None:
    description = DESCRIPTIONS[function.__name__]
    meta(description.parameters)
    if description.returns is not None:
        meta(description.returns)
    json.dumps(description.to_dict(), allow_nan=False)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("format", ["openai", "openai-responses"])
def test_openai_rules_hold(function: Any, format: str, strict: bool) -> None:
    tool = DESCRIPTIONS[function.__name__].render(format, strict=strict)
    assert tool["type"] == "function"
    part = tool["function"] if format == "openai" else tool
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", part["name"])
    assert len(part["description"]) <= 1024
    schema = part["parameters"]
    meta(schema)
    assert schema["type"] == "object"
    assert ("strict" in part) is strict
    if part.get("strict"):
        for node in subschemas(schema):
            assert not {"default", "oneOf", "allOf", "not", "if", "patternProperties", "prefixItems"} & set(
                node
            )
            if node.get("type") == "object":
                assert node["additionalProperties"] is False
                assert node["required"] == list(node["properties"])
            if "$ref" in node:
                assert set(node) == {"$ref"}


STRICT_IN_OPENAI = {
    "s02",
    "s04",
    "s06",
    "s07",
    "s10",
    "s18",
    "s20",
    "s22",
    "s23",
    "s25",
    "s26",
    "s27",
    "s29",
    "s41",
}


@pytest.mark.parametrize("name", sorted(STRICT_IN_OPENAI))
def test_ordinary_signatures_reach_openai_strict_mode(name: str) -> None:
    assert DESCRIPTIONS[name].render("openai", strict=True)["function"]["strict"] is True


@pytest.mark.parametrize("name", ["s12", "s14", "s35", "s36", "s37"])
def test_open_objects_and_untyped_parameters_are_declared_without_strict_mode(name: str) -> None:
    part = DESCRIPTIONS[name].render("openai", strict=True)["function"]
    assert part["strict"] is False
    meta(part["parameters"])


@pytest.mark.parametrize("strict", [False, True])
def test_anthropic_rules_hold(function: Any, strict: bool) -> None:
    tool = DESCRIPTIONS[function.__name__].render("anthropic", strict=strict)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["name"])
    schema = tool["input_schema"]
    meta(schema)
    assert schema["type"] == "object"
    if tool.get("strict"):
        for node in subschemas(schema):
            assert not {"minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "maxItems"} & set(
                node
            )
            assert node.get("minItems", 0) <= 1
            assert node.get("type") != "object" or node["additionalProperties"] is False


def test_a_recursive_schema_is_declared_to_anthropic_without_strict_mode() -> None:
    assert DESCRIPTIONS["s27"].render("anthropic", strict=True)["strict"] is False


def test_gemini_rules_hold(function: Any) -> None:
    tool = DESCRIPTIONS[function.__name__].render("gemini")
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}", tool["name"])
    assert set(tool) <= {"name", "description", "parameters"}
    for node in subschemas(tool.get("parameters", {"type": "object"})):
        assert set(node) <= KEYWORDS
        assert isinstance(node.get("type", ""), str)
        assert "type" in node or "anyOf" in node
        assert node.get("type") != "null"
        assert node.get("type") != "array" or "items" in node
        assert all(isinstance(item, str) for item in node.get("enum", ()))
        assert "format" not in node or node["format"] in FORMATS[node["type"]]
        assert set(node.get("required", ())) <= set(node.get("properties", ()))


def test_mcp_rules_hold(function: Any) -> None:
    tool = DESCRIPTIONS[function.__name__].render("mcp")
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", tool["name"])
    for key in ("inputSchema", "outputSchema"):
        if key in tool:
            meta(tool[key])
            assert tool[key]["type"] == "object"


@pytest.mark.parametrize("format", ["openai", "anthropic", "gemini", "mcp"])
def test_names_that_a_provider_does_not_admit_are_made_admissible_and_stay_distinct(format: str) -> None:
    from dataclasses import replace

    names = set()
    for name in ("größe", "a.b", "a b", "x" * 200, "x" * 201, "1st"):
        tool = replace(DESCRIPTIONS["s01"], name=name).render(format)
        names.add(tool.get("function", tool)["name"])
    assert len(names) == 6


# -- what the schema admits binds, what it refuses does not ---------------------------------------------------


def values_of(schema: Any, root: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """JSON values that a schema of pydantic's admits."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return values_of(root["$defs"][name], root, depth + 1)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values_of(part, root, depth) for part in schema["anyOf"]])
    kind = schema.get("type")
    if kind == "object":
        return objects_of(schema, root, depth)
    if kind == "array":
        return arrays_of(schema, root, depth)
    if kind == "string":
        return strings_of(schema)
    if kind == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        if "exclusiveMinimum" in schema:
            low = schema["exclusiveMinimum"] + 1
        whole = st.integers(low if low is not None else -(2**70), high if high is not None else 2**70)
        return st.one_of(whole, whole.map(float).filter(lambda value: low is None or value >= low))
    if kind == "number":
        return st.one_of(st.integers(-(2**52), 2**52), st.floats(allow_nan=False, allow_infinity=False))
    if kind == "boolean":
        return st.booleans()
    if kind == "null":
        return st.none()
    return st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.booleans(), max_size=2))


def strings_of(schema: Any) -> st.SearchStrategy[str]:
    kinds: dict[str, Callable[[], st.SearchStrategy[str]]] = {
        "date-time": lambda: st.datetimes().map(lambda value: value.isoformat()),
        "date": lambda: st.dates().map(lambda value: value.isoformat()),
        "duration": lambda: st.integers(0, 9999).map(lambda value: f"PT{value}S"),
        "uuid": lambda: st.uuids().map(str),
    }
    if schema.get("format") in kinds:
        return kinds[schema["format"]]()
    if "pattern" in schema:
        return st.decimals(-(10**6), 10**6, places=3, allow_nan=False).map(str)
    alphabet = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(alphabet, min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 8))


def arrays_of(schema: Any, root: Any, depth: int) -> st.SearchStrategy[list[Any]]:
    if "prefixItems" in schema:
        return st.tuples(*[values_of(part, root, depth) for part in schema["prefixItems"]]).map(list)
    if depth > 4:
        return st.just([])
    longest = schema.get("maxItems", 3)
    items = values_of(schema.get("items", {}), root, depth + 1)
    unique = repr if schema.get("uniqueItems") else None
    return st.lists(items, min_size=schema.get("minItems", 0), max_size=longest, unique_by=unique)


def objects_of(schema: Any, root: Any, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    fixed = {name: values_of(part, root, depth + 1) for name, part in schema.get("properties", {}).items()}
    required = {name: value for name, value in fixed.items() if name in schema.get("required", ())}
    optional = {name: value for name, value in fixed.items() if name not in required}
    more = schema.get("additionalProperties")
    if isinstance(more, dict) and not fixed:
        return st.dictionaries(
            st.text("abc", min_size=1, max_size=3), values_of(more, root, depth + 1), max_size=3
        )
    return st.fixed_dictionaries(required, optional=optional)


prepared = functools.cache(prepare)


def bind(function: Any, arguments: dict[str, Any], **options: str) -> None:
    convert = prepared(function)
    if convert is not None:
        convert((), arguments, {"named": "1", **options})


QUICK = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", IDS)
@QUICK
@given(data=st.data())
def test_any_value_that_the_schema_admits_binds(name: str, data: st.DataObject) -> None:
    schema = DESCRIPTIONS[name].parameters
    arguments = data.draw(values_of(schema, schema))
    jsonschema.validate(arguments, schema)
    bind(getattr(signatures40, name), arguments)
    bind(getattr(signatures40, name), arguments, lax="1")


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.floats(0.1, 0.9),
    # What lax binding would convert: to numbers, truth values, members, dates.
    st.sampled_from(["", "q", "zzzzzzz", "1", "2.0", "true", "off", "2024-01-02"]),
    st.lists(st.one_of(st.none(), st.text("q", max_size=2)), max_size=2),
    st.dictionaries(st.just("q"), st.none(), max_size=1),
)
ANYTHING_GOES = {"s36", "s37"}


@pytest.mark.parametrize(
    "name",
    [name for name in IDS if DESCRIPTIONS[name].parameters["properties"] and name not in ANYTHING_GOES],
)
@QUICK
@given(data=st.data())
def test_any_value_that_the_schema_refuses_is_refused_with_its_path(name: str, data: st.DataObject) -> None:
    schema = DESCRIPTIONS[name].parameters
    arguments = data.draw(values_of(schema, schema))
    broken = data.draw(st.sampled_from(sorted(schema["properties"])))
    arguments = {**arguments, broken: data.draw(ODD)}
    assume(not jsonschema.Draft202012Validator(schema).is_valid(arguments))
    with pytest.raises(BadArguments) as caught:
        bind(getattr(signatures40, name), arguments)
    assert any(path.startswith(broken) for path, _ in caught.value.problems)


# -- through the pool -------------------------------------------------------------------------------------------


def test_tools_described_together_are_described_as_each_alone(pool: SandboxPool) -> None:
    wanted = [load(f"tests/tools/signatures40.py:s{number:02d}") for number in range(1, 8)]
    wanted.insert(3, load_source("def other(a: int): ...", "other", name="elsewhere"))
    assert describe_all(pool, wanted) == [describe(pool, tool) for tool in wanted]


def test_tools_of_one_module_are_described_by_one_worker(pool: SandboxPool) -> None:
    source = "".join(f"def f{number}(x: int = {number}): ...\n" for number in range(40))
    before = pool.statistics().calls.get("ok", 0)
    found = describe_all(pool, [load_source(source, f"f{number}", name="many") for number in range(40)])
    assert [one.parameters["properties"]["x"]["default"] for one in found] == list(range(40))
    assert pool.statistics().calls["ok"] == before + 1


def test_a_tool_that_is_not_there_is_told_by_its_own_name_among_others(pool: SandboxPool) -> None:
    source = "def here(): ..."
    with pytest.raises(ToolNotFoundError, match="has no 'nowhere'"):
        describe_all(pool, [load_source(source, name, name="m") for name in ("here", "nowhere")])


def test_a_worker_describes_a_tool_with_docstring_and_defaults(pool: SandboxPool) -> None:
    found = describe(pool, load("tests/tools/signatures40.py:s41"))
    assert found.to_dict() == DESCRIPTIONS["s41"].to_dict()
    assert found.signature == "(query: str, limit: int = 10, *, exact: bool = False) -> list[dict[str, Any]]"
    assert found.parameters["properties"]["limit"] == {
        "type": "integer",
        "default": 10,
        "description": "At most so many.",
    }
    assert found.parameters["required"] == ["query"]
    assert found.text == "Search the index.\n\nReturns: The hits."


def test_the_language_policy_does_not_change_a_description(restricted: SandboxPool) -> None:
    source = "def f(a: int, b: 'list[str] | None' = None) -> dict[str, float]:\n    '''Do it.'''\n"
    found = describe(restricted, load_source(source, "f", name="m"))
    assert found.parameters["properties"]["b"]["anyOf"][0] == {"items": {"type": "string"}, "type": "array"}
    assert found.returns is not None
    assert found.returns["additionalProperties"] == {"type": "number"}


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": []},
        {"summary": 3},
        {"returns": "x"},
        {"extra": 1},
        {"parameters": {"x": float("nan")}},
        {"examples": [object()]},
        {"order": [[]] * 200_000},
    ],
)
def test_a_worker_that_lies_about_a_tool_is_caught(change: dict[str, Any]) -> None:
    data = DESCRIPTIONS["s41"].to_dict() | change
    with pytest.raises(ModuleLoadError, match="s41"):
        description_of(data, name="s41")


def test_the_schema_alone_finds_missing_and_unknown_arguments() -> None:
    assert dict(precheck(DESCRIPTIONS["s41"], {"limit": 1, "quarry": 2})).keys() == {"query", "quarry"}
    assert precheck(DESCRIPTIONS["s41"], {"query": "a"}) == []
    assert precheck(DESCRIPTIONS["s35"], {"anything": 1}) == []


def test_beside_a_missing_argument_those_of_another_simple_type_are_told_unless_reading_is_lax() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"}, "x": {"type": "number"}, "s": {"type": "string"}, "b": {"type": "boolean"},
            "l": {"type": "array", "items": {"type": "string"}}, "day": {"type": "string", "format": "date"},
            "must": {},
        },
        "required": ["must"],
    }  # fmt: skip
    described = description_of({"parameters": parameters}, name="t")
    wrong = {"n": "1", "x": True, "s": None, "b": 0, "l": {}, "day": 3}
    assert [path for path, _ in precheck(described, wrong)] == ["must", "n", "x", "s", "b", "l"]
    assert precheck(described, wrong, strict=False) == [("must", "is required")]
    right = {"n": 1.0, "x": 1, "s": "", "b": False, "l": [1], "day": "x"}
    assert precheck(described, right) == [("must", "is required")]
    assert precheck(described, wrong | {"must": 1}) == []


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="gemini"):
        DESCRIPTIONS["s01"].render("bard")
