"""A python node takes parameters out of the state, makes one call, and puts its result into the state."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from elf_pysandbox import (
    BadResultError,
    CallTimeoutError,
    ConfigurationError,
    MemoryLimitError,
    ModuleLoadError,
    NodeEvent,
    PoolClosedError,
    PythonNode,
    PythonNodeConfig,
    SandboxPool,
    ToolNotFoundError,
    ToolRaised,
)

SOURCE = """
def echo(**values): return values
def pair(x): return {"double": 2 * x, "list": [x, x + 1]}
def boom(): raise LookupError("nobody there")
def spin():
    while True: pass
def hoard(): return len([0] * 10**9)
def grow(state): state["n"] = 99
def count(n):
    for i in range(n): yield i
async def later(x):
    import asyncio
    await asyncio.sleep(0.001)
    return x
def order(): return {"errors": 1}
def word(): return "text"
"""


def node(pool: SandboxPool, function: str, **settings: Any) -> PythonNode:
    return PythonNode(PythonNodeConfig(source=SOURCE, function=function, **settings), pool=pool)


def test_parameters_come_from_the_state_with_their_types(pool: SandboxPool) -> None:
    made = node(
        pool,
        "echo",
        parameters={"a": "${state.n}", "b": ["x ${state.n}", {"c": "${state.m ?? null}"}], "d": True},
    )
    assert made.run({"n": 4}, only_changes=True) == {"echo": {"a": 4, "b": ["x 4", {"c": None}], "d": True}}


def test_the_state_is_returned_with_the_result_and_not_changed(pool: SandboxPool) -> None:
    state = {"n": 1}
    assert node(pool, "grow", parameters={"state": "${state}"}).run(state) == {"n": 1, "grow": None}
    assert state == {"n": 1}


def test_a_change_in_place_is_reported_as_lost(pool: SandboxPool, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[NodeEvent] = []
    for parameters in ({"state": "${state}"}, {"x": "${state.rows}"}):
        function = "grow" if "state" in parameters else "later"
        config = PythonNodeConfig(source=SOURCE, function=function, parameters=parameters)
        made = PythonNode(config, pool=pool, listen=seen.append)
        made.run({"n": 1, "rows": [1]})
        asyncio.run(made.execute({"n": 1, "rows": [1]}))
    assert [event.lost for event in seen if event.phase == "end"] == [("state",), ("state",), (), ()]
    assert "grow changed state in place; that is lost with its process" in caplog.text


@pytest.mark.parametrize(
    ("output", "changes"),
    [
        (None, {"pair": {"double": 6, "list": [3, 4]}}),
        ("answer", {"answer": {"double": 6, "list": [3, 4]}}),
        ("*", {"double": 6, "list": [3, 4]}),
        ({"d": "double", "last": "list[-1]", "all": "@", "none": "nothing ?? 5"}, None),
    ],
)
def test_the_result_goes_where_output_says(pool: SandboxPool, output: Any, changes: Any) -> None:
    got = node(pool, "pair", parameters={"x": 3}, output=output).run({}, only_changes=True)
    expected = changes or {"d": 6, "last": 4, "all": {"double": 6, "list": [3, 4]}, "none": 5}
    assert got == expected


@pytest.mark.parametrize(
    ("function", "settings", "says"),
    [
        ("pair", {"parameters": {"x": 1}, "output": {"y": "tripel"}}, "there is no tripel"),
        ("word", {"output": "*"}, r"'\*' merges a dict, and the result is str"),
        ("order", {"output": "*"}, "the key 'errors' is reserved"),
        ("word", {"return_type": "int"}, "the result is no int"),
        ("pair", {"parameters": {"x": 1}, "return_type": "dict[str, int]"}, r"result\['list'\]"),
    ],
)
def test_a_result_that_does_not_fit_is_a_bad_result(
    pool: SandboxPool, function: str, settings: dict[str, Any], says: str
) -> None:
    errors = node(pool, function, on_error="continue", **settings).run({})["errors"][function]
    assert errors["status"] == "bad_result"
    with pytest.raises(BadResultError, match=says):
        node(pool, function, **settings).run({})


def test_a_failing_node_raises_the_tools_own_error_with_the_nodes_name(pool: SandboxPool) -> None:
    with pytest.raises(LookupError, match="nobody there") as caught:
        node(pool, "boom").run({})
    assert isinstance(caught.value, ToolRaised)
    assert caught.value.__notes__ == ["in node 'boom'"]
    assert caught.value.node_error.status == "raised"  # type: ignore[attr-defined]


def test_continue_leaves_a_structured_error_in_the_state(pool: SandboxPool) -> None:
    state = node(pool, "boom", on_error="continue").run({"errors": {"other": {}}})
    assert set(state) == {"errors"}
    error = state["errors"]["boom"]
    assert "other" in state["errors"]
    assert {key: error[key] for key in ("node", "status", "type", "message", "attempts")} == {
        "node": "boom",
        "status": "raised",
        "type": "LookupError",
        "message": "nobody there",
        "attempts": 1,
    }
    assert "line 4, in boom" in error["traceback"]


def test_default_sets_the_output_and_keeps_the_error(pool: SandboxPool) -> None:
    state = node(pool, "boom", on_error="default 7", output="n").run({})
    assert (state["n"], state["errors"]["boom"]["type"]) == (7, "LookupError")
    state = node(pool, "boom", on_error={"default": {"a": 1, "b": [2]}}, output={"a": "x", "b": "y"}).run({})
    assert (state["a"], state["b"]) == (1, [2])


def test_a_missing_path_makes_no_call_and_follows_on_error(pool: SandboxPool) -> None:
    made = node(pool, "echo", parameters={"x": "${state.a.b}"}, on_error="continue")
    error = made.run({"a": {}})["errors"]["echo"]
    assert (error["status"], error["attempts"]) == ("invalid_arguments", 0)
    assert "there is no state.a.b" in error["message"]


def test_a_timeout_and_a_memory_limit_stop_the_call(pool: SandboxPool) -> None:
    with pytest.raises(CallTimeoutError):
        node(pool, "spin", timeout=0.3).run({})
    with pytest.raises(MemoryLimitError):
        node(pool, "hoard", memory_limit_mb=64).run({})
    assert (
        node(pool, "spin", cpu_limit=0.3, on_error="continue").run({})["errors"]["spin"]["status"]
        == "cpu_limit"
    )


def test_async_tools_and_generators_give_values(pool: SandboxPool) -> None:
    assert node(pool, "later", parameters={"x": 5}).run({}, only_changes=True) == {"later": 5}
    assert node(pool, "count", parameters={"n": 3}).run({}, only_changes=True) == {"count": [0, 1, 2]}


def test_attempts_are_made_until_they_are_used_up_and_reported(pool: SandboxPool) -> None:
    seen: list[NodeEvent] = []
    config = PythonNodeConfig(
        source=SOURCE,
        function="boom",
        retry={"attempts": 3, "backoff": 0, "jitter": 0, "on": ["LookupError"]},
        on_error="continue",
    )
    state = PythonNode(config, pool=pool, listen=seen.append).run({})
    assert state["errors"]["boom"]["attempts"] == 3
    assert [(event.phase, event.attempt) for event in seen] == [
        ("start", 1),
        ("retry", 1),
        ("retry", 2),
        ("end", 3),
    ]


@pytest.mark.parametrize(
    ("on", "attempts"),
    [(["LookupError"], 2), (["builtins.LookupError"], 2), (["raised"], 2), (["Exception"], 2), ([], 2),
     (["timeout"], 1), (["ValueError"], 1)],
)  # fmt: skip
def test_retry_on_names_statuses_and_exception_types(pool: SandboxPool, on: list[str], attempts: int) -> None:
    made = node(pool, "boom", retry={"attempts": 2, "backoff": 0, "jitter": 0, "on": on}, on_error="continue")
    assert made.run({})["errors"]["boom"]["attempts"] == attempts


def test_the_asynchronous_door_does_the_same(pool: SandboxPool) -> None:
    async def main() -> tuple[Any, Any]:
        made = node(pool, "pair", parameters={"x": "${state.n}"}, retry=2)
        await made.initialize()
        failing = node(pool, "boom", retry={"attempts": 2, "backoff": 0}, on_error="default 0")
        return await made.execute({"n": 2}), await failing.execute({}, only_changes=True)

    one, two = asyncio.run(main())
    assert one == {"n": 2, "pair": {"double": 4, "list": [2, 3]}}
    assert (two["boom"], two["errors"]["boom"]["attempts"]) == (0, 2)


def test_cancelling_the_task_ends_the_call(pool: SandboxPool) -> None:
    async def main() -> None:
        await asyncio.wait_for(node(pool, "spin").execute({}), 0.5)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())
    assert pool.statistics().calls["cancelled"] >= 1


class Model(BaseModel):
    n: int


@dataclass
class Data:
    n: int


@pytest.mark.parametrize("state", [Model(n=2), Data(2), {"n": 2}])
def test_the_state_may_be_a_model_a_dataclass_or_a_mapping(pool: SandboxPool, state: Any) -> None:
    assert node(pool, "later", parameters={"x": "${state.n}"}).run(state) == {"n": 2, "later": 2}


def test_initialize_refuses_what_cannot_be_found_or_used(pool: SandboxPool, tmp_path: Path) -> None:
    def initialize(**settings: Any) -> None:
        asyncio.run(PythonNode(PythonNodeConfig(**settings), pool=pool).initialize())

    with pytest.raises(ModuleLoadError, match="no_such"):
        initialize(module="no_such.module", function="f")
    with pytest.raises(ModuleLoadError):
        initialize(file=str(tmp_path / "gone.py"), function="f")
    with pytest.raises(ConfigurationError, match="one of module, file or source"):
        initialize(function="f")
    with pytest.raises(ValidationError, match="'lookup' is no status and no exception type"):
        initialize(source="f = 1", function="f", retry={"on": ["lookup"]})


def test_initialize_holds_parameters_against_the_signature_without_calling(pool: SandboxPool) -> None:
    def initialize(function: str, **parameters: Any) -> None:
        asyncio.run(node(pool, function, parameters=parameters).initialize())

    before = pool.statistics().calls.get("raised", 0)
    initialize("boom")
    initialize("echo", anything=1)
    initialize("pair", x="${state.nothing}")
    assert pool.statistics().calls.get("raised", 0) == before
    with pytest.raises(ConfigurationError, match="pair has no parameter 'y'"):
        initialize("pair", x=1, y=2)
    with pytest.raises(ConfigurationError, match="parameters lack x"):
        initialize("pair")
    with pytest.raises(ToolNotFoundError):
        initialize("nothing")
    with pytest.raises(ModuleLoadError):
        asyncio.run(PythonNode(PythonNodeConfig(source="def f(:", function="f"), pool=pool).initialize())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"requirements": ["no-such-thing-at-all>=2"]},
            r"no-such-thing-at-all>=2 \(not installed\)\. Install it with: ",
        ),
        ({"requirements": ["pytest>=8", "pydantic<1"]}, r"pydantic<1 \(2\S+\)\. Install it with: "),
        ({"requires_python": ">=4"}, "the tool needs Python >=4, but would run on 3"),
        ({"requirements": ["not a requirement!"]}, "requirements cannot be read"),
        ({"requires_python": "three"}, "requirements cannot be read: Invalid specifier"),
    ],
)
def test_requirements_are_checked_before_anything_runs(
    pool: SandboxPool, settings: dict[str, Any], says: str, tmp_path: Path
) -> None:
    values = {"source": "def f(): pass\n", "function": "f", **settings}
    with pytest.raises(ModuleLoadError, match=says):
        PythonNode(PythonNodeConfig(**values), pool=pool).load_now()
    script = tmp_path / "script.py"
    script.write_text("# /// script\n# dependencies = ['nothing-such']\n# ///\ndef f(): pass\n")
    with pytest.raises(ModuleLoadError, match=r"nothing-such \(not installed\)"):
        PythonNode(PythonNodeConfig(file=str(script), function="f"), pool=pool).load_now()
    met = PythonNodeConfig(
        source="def f(): return 1\n", function="f", requirements=["pytest>=8", "x; python_version<'3'"]
    )
    assert PythonNode(met, pool=pool).run({}) == {"f": 1}


def test_function_name_is_another_name_of_function() -> None:
    config = PythonNodeConfig(source="x", function_name="f")
    assert (config.function, config.function_name, config.name) == ("f", "f", "f")


def test_a_closed_pool_is_an_error() -> None:
    closed = SandboxPool(1)
    closed.shutdown()
    with pytest.raises(PoolClosedError):
        node(closed, "word").run({})
