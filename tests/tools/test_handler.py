from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from elf_pysandbox import (
    ConfigurationError,
    InvalidArgumentsError,
    Limits,
    ModuleLoadError,
    SandboxPool,
    ToolHandlerError,
    ToolNotFoundError,
)
from elf_pysandbox._tools.handler import ToolHandler
from elf_pysandbox._tools.retry import Retry
from fixtures.toolbox import callables, other
from tests.tools import written
from tests.tools.conftest import Project

SOURCE = '''
import os, time
def add(a: int, b: int = 2) -> int:
    """Add.

    Args:
        a: first
    """
    return a + b
def divide(a: float, b: float) -> float:
    return a / b
def hang() -> None:
    time.sleep(60)
def die() -> None:
    os._exit(3)
def echo(value):
    return value
def _hidden(): ...
'''


@pytest.fixture
def handler(pool: SandboxPool, project: Project) -> Iterator[ToolHandler]:
    with ToolHandler(pool) as made:
        made.add_tools(project({"maths.py": SOURCE}) / "maths.py")
        yield made


def test_a_model_is_not_told_of_settings_that_only_the_caller_can_change(
    pool: SandboxPool, project: Project
) -> None:
    view = pool.with_options(limits=Limits(wall_s=0.3))
    with ToolHandler(view) as handler:
        handler.add_tools(project({"maths.py": SOURCE}) / "maths.py")
        (answer,) = handler.execute_many([{"name": "hang", "arguments": {}}])
    assert answer["status"] == "timeout"
    assert "took too long" in answer["error"]
    assert "Limits(" not in answer["error"]


@pytest.mark.parametrize("text", ['{"a": 1}', b'{"a": 1, "b": 2}'])
def test_arguments_may_be_the_json_text_that_a_model_wrote(handler: ToolHandler, text: str | bytes) -> None:
    assert handler.execute("add", text) == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("{a: 1}", "no valid JSON"),
        ('{"a": 1, "a": 2}', 'the key "a" stands there twice'),
        ("[1]", "must be a JSON object, not list"),
        ([1], "must be a JSON object, not list"),
        ({1: 2}, "names of its arguments must be text"),
    ],
)
def test_arguments_that_are_no_object_are_invalid_and_say_why(
    handler: ToolHandler, arguments: Any, reason: str
) -> None:
    with pytest.raises(InvalidArgumentsError, match=reason):
        handler.execute("add", arguments)


def test_every_public_function_of_a_file_becomes_a_tool(handler: ToolHandler) -> None:
    assert handler.names == ("add", "divide", "hang", "die", "echo")
    assert handler.execute("add", {"a": 1}) == 3
    assert "add" in handler
    assert len(handler) == 5


def test_all_and_only_the_names_in_dunder_all_are_taken(pool: SandboxPool) -> None:
    handler = ToolHandler(pool)
    handler.add_tools(callables)
    assert handler.names == ("add", "area", "shout")
    assert handler.execute("shout", {"text": "a"}) == "Hello Akept"


def test_modules_folders_names_and_lists_are_all_sources(pool: SandboxPool, project: Project) -> None:
    root = project(
        {"tools/a.py": "def one(): return 1\n", "tools/b.py": "def two(): return 2\n", "tools/_c.py": "1/0"}
    )
    handler = ToolHandler(pool, python_path=[str(root)])
    handler.add_tools(root / "tools")
    handler.add_tools(["fixtures.toolbox.left", "math:sqrt", written.helper, handler.get("one")])
    assert handler.names == ("one", "two", "ping", "sqrt", "helper")
    assert [
        handler.execute("one"),
        handler.execute("sqrt", {"x": 9}),
        handler.execute("helper", {"x": 2}),
    ] == [1, 3.0, 20]


def test_two_tools_of_one_name_never_replace_each_other_silently(handler: ToolHandler) -> None:
    with pytest.raises(ToolHandlerError, match="two tools are called 'add'"):
        handler.add_tool(other.add)
    with pytest.raises(ToolHandlerError, match="two tools are called 'add'"):
        handler.add_tools([written.helper, other.add])
    assert "helper" not in handler
    handler.add_tool(other.add, name="concatenate")
    handler.add_tool(other.add, replace=True)
    assert handler.execute("add", {"a": 1, "b": 2}) == "12"


def test_a_name_that_two_tools_have_is_told_with_what_helps(pool: SandboxPool, project: Project) -> None:
    root = project({"a.py": "def run(): return 1\n", "b.py": "def run(): return 2\n"})
    with ToolHandler(pool) as handler:
        # Both are new: none of them can take the other's place.
        with pytest.raises(ToolHandlerError, match=r"To change that: add_tool\(…, name='…'\)$"):
            handler.add_tools(root)
        assert [tool.name for tool in handler.find(root)] == ["run", "run"]
        assert handler.names == ()
        handler.add_tools(root / "a.py")
        with pytest.raises(ToolHandlerError, match=r" or replace=True$"):
            handler.add_tools(root / "b.py")
        handler.add_tools(root / "b.py", replace=True)
        assert handler.execute("run") == 2


@pytest.mark.parametrize("name", [3, b"f"])
def test_a_name_that_is_no_text_is_refused_and_the_handler_serves_on(handler: ToolHandler, name: Any) -> None:
    with pytest.raises(ToolHandlerError, match="the name of a tool is text"):
        handler.add_tool(written.helper, name=name)
    with pytest.raises(ToolNotFoundError, match="did you mean 'divide'"):
        handler.get("devide")


def test_what_no_tools_can_be_made_of_is_told(handler: ToolHandler) -> None:
    for source in (3, None, {"a": 1}):
        with pytest.raises(ToolHandlerError, match="no tools can be made of"):
            handler.add_tools(source)


def test_a_function_that_its_file_surely_lacks_is_told_when_it_is_added(
    pool: SandboxPool, project: Project
) -> None:
    root = project({"maths.py": SOURCE, "made.py": "globals()['late'] = lambda: 5\n"})
    with ToolHandler(pool, python_path=[str(root)]) as handler:
        for target in (f"{root}/maths.py:devide", "maths:devide"):
            with pytest.raises(ToolNotFoundError, match="maths has no 'devide'; did you mean 'divide'"):
                handler.add_tool(target)
        with pytest.raises(ToolNotFoundError, match="there are: add, divide"):
            handler.add_tools([f"{root}/maths.py:x1"])
        assert handler.names == ()
        handler.add_tool("made:late")  # Its text leaves it open.
        assert handler.execute("late") == 5


def test_a_target_below_a_folder_is_one_of_many_sources(
    pool: SandboxPool, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project({"sub/maths.py": SOURCE, "od:d/maths.py": SOURCE}))
    with ToolHandler(pool) as handler:
        handler.add_tools(["sub/maths.py:add", "od:d/maths.py:divide"])
        assert handler.names == ("add", "divide")
        assert len(handler.find("od:d/maths.py")) == 5


def test_an_unknown_tool_is_named_with_the_nearest(handler: ToolHandler) -> None:
    with pytest.raises(ToolNotFoundError, match="did you mean 'divide'"):
        handler.get("devide")
    with pytest.raises(ToolNotFoundError):
        handler.remove("nothing")
    handler.remove("add")
    assert handler.outcome("add").status == "not_found"


@pytest.mark.parametrize("source", ["nowhere.py", "no_such_module_here", "nowhere/", "."])
def test_places_that_hold_no_tools_are_errors(
    pool: SandboxPool, source: str, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleLoadError):
        ToolHandler(pool).add_tools(source)


def test_the_schema_refuses_before_a_process_is_used(handler: ToolHandler) -> None:
    assert handler.describe("add", "mcp")["inputSchema"]["required"] == ["a"]
    before = handler.pool.statistics().calls
    outcome = handler.outcome("add", {"b": 1, "z": 2})
    assert outcome.status == "invalid_arguments"
    assert {path for path, _ in outcome.error.problems} == {"a", "z"}  # type: ignore[union-attr]
    assert handler.pool.statistics().calls == before


def test_a_result_becomes_an_instance_of_the_callers_class(handler: ToolHandler) -> None:
    @dataclasses.dataclass
    class Point:
        x: float
        y: float

    handler.add_tool(callables.point)
    assert handler.execute("point", {"x": 2}, result_type=Point) == Point(2.0, 1.0)
    assert handler.execute("echo", {"value": ["1"]}, result_type=list[int]) == [1]
    with pytest.raises(Exception, match="result"):
        handler.execute("echo", {"value": "q"}, result_type=int)


def test_a_tool_keeps_its_own_limits(handler: ToolHandler) -> None:
    handler.add_tool(handler.get("hang"), name="short", limits=Limits(wall_s=0.2))
    assert handler.outcome("short").status == "timeout"


def test_the_asynchronous_door_does_the_same(handler: ToolHandler) -> None:
    async def main() -> list[Any]:
        values = await asyncio.gather(*(handler.aexecute("add", {"a": n}) for n in range(5)))
        return [values, await handler.aexecute_many([{"id": 1, "name": "add", "arguments": {"a": 1}}, "{"])]

    values, answers = asyncio.run(main())
    assert values == [2, 3, 4, 5, 6]
    assert [answer["status"] for answer in answers] == ["ok", "invalid_arguments"]


def test_merging_asks_what_to_do_about_conflicts(handler: ToolHandler, pool: SandboxPool) -> None:
    second = ToolHandler(pool)
    second.add_tool(other.add)
    second.add_tool(written.helper)
    with pytest.raises(ToolHandlerError):
        handler.merge(second)
    handler.merge(second, on_conflict="keep")
    assert handler.execute("add", {"a": 1}) == 3
    handler.merge(second, on_conflict="replace")
    assert handler.execute("add", {"a": 1, "b": 2}) == "12"
    with pytest.raises(ToolHandlerError, match="keep"):
        handler.merge(second, on_conflict="perhaps")


# -- requests ---------------------------------------------------------------------------------------------------


def openai(id: str, name: str, arguments: Any) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def test_each_provider_is_answered_in_its_own_shape(handler: ToolHandler) -> None:
    function_call = {"type": "function_call", "call_id": "r1", "name": "add", "arguments": '{"a": 2}'}
    tool_use = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 3}}
    parts = [{"text": ""}, {"functionCall": {"name": "add", "args": {"a": 4}}}]
    params = {"name": "echo", "arguments": {"value": {"k": 1}}}
    requests = [
        {"choices": [{"message": {"role": "assistant", "tool_calls": [openai("c1", "add", {"a": 1})]}}]},
        {"output": [{"type": "reasoning"}, function_call]},
        {"role": "assistant", "content": [{"type": "text"}, tool_use]},
        {"candidates": [{"content": {"parts": parts}}]},
        {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params},
        '{"id": "p1", "name": "add", "arguments": {"a": 6}}',
    ]
    assert handler.execute_many(requests) == [
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"type": "function_call_output", "call_id": "r1", "output": "4"},
        {"type": "tool_result", "tool_use_id": "t1", "content": "5"},
        {"functionResponse": {"name": "add", "response": {"result": 6}}},
        {
            "jsonrpc": "2.0",
            "id": 5,
            "result": {
                "content": [{"type": "text", "text": '{"k": 1}'}],
                "structuredContent": {"k": 1},
                "isError": False,
            },
        },
        {"id": "p1", "name": "add", "status": "ok", "result": 8},
    ]


def test_errors_are_results_that_a_model_can_read(handler: ToolHandler) -> None:
    handler.add_tool(handler.get("hang"), name="short", limits=Limits(wall_s=0.2))
    answers = handler.execute_many(
        [
            {"type": "tool_use", "id": "1", "name": "divide", "input": {"a": 1, "b": 0}},
            {"type": "tool_use", "id": "2", "name": "add", "input": {"a": "x"}},
            {"type": "tool_use", "id": "3", "name": "short", "input": {}},
            {"type": "tool_use", "id": "4", "name": "die", "input": {}},
            {"type": "tool_use", "id": "5", "name": "nope", "input": {}},
        ]
    )
    texts = [answer["content"] for answer in answers]
    assert all(answer["is_error"] for answer in answers)
    assert texts[0].startswith("Error (raised)")
    assert "return a / b" in texts[0]
    assert texts[0].endswith("ZeroDivisionError: float division by zero")
    assert texts[1].startswith("Error (invalid_arguments): the arguments do not fit")
    assert "- a: Input should be a valid integer" in texts[1]
    assert texts[2].startswith("Error (timeout): the tool was stopped")
    assert texts[3].startswith("Error (crashed): the tool's process died")
    assert texts[4].startswith("Error (not_found)")


MALFORMED = [
    openai("m1", "add", "{"),
    openai("m2", "add", "[1]"),
    {"id": "m3", "function": {"arguments": "{}"}},
    {"tool_calls": [{"id": "m4"}, 7]},
    {"type": "tool_use", "id": "m5", "name": "add"},
    {"functionCall": 3},
    {"jsonrpc": "2.0", "id": "m6", "method": "tools/call"},
    {"jsonrpc": "2.0", "id": "m7", "method": "initialize"},
    {"type": "function_call", "call_id": "m8", "name": 3, "arguments": "{}"},
    {"name": "add", "arguments": "nope"},
    "not json",
    7,
    None,
    {},
]


@pytest.mark.parametrize("bad", MALFORMED, ids=str)
def test_one_malformed_request_never_loses_the_others(handler: ToolHandler, bad: Any) -> None:
    good = [{"id": n, "name": "add", "arguments": {"a": n}} for n in range(2)]
    answers = handler.execute_many([good[0], bad, good[1]])
    assert [answers[0]["result"], answers[-1]["result"]] == [2, 3]
    assert len(answers) >= 3
    assert "cannot be run" in json.dumps(answers[1])


def test_messages_without_requests_have_no_answers(handler: ToolHandler) -> None:
    assert handler.execute_many([]) == []
    assert handler.execute_many({"role": "assistant", "content": [{"type": "text", "text": "hi"}]}) == []
    assert handler.execute_many({"jsonrpc": "2.0", "id": 1, "result": {}}) == []


def test_no_request_runs_twice(handler: ToolHandler) -> None:
    handler.add_tool("time:time_ns", name="now")
    request = {"type": "tool_use", "id": "once", "name": "now", "input": {}}
    first, second = handler.execute_many([request, request])
    (third,) = handler.execute_many(request)
    assert first == second == third
    (other_id,) = handler.execute_many({**request, "id": "twice"})
    assert other_id["content"] != first["content"]


def test_objects_of_a_providers_library_are_read(handler: ToolHandler) -> None:
    class Completion:
        def model_dump(self) -> dict[str, Any]:
            return {"choices": [{"message": {"tool_calls": [openai("c9", "add", {"a": 1})]}}]}

    assert handler.execute_many(Completion())[0]["tool_call_id"] == "c9"


def test_null_in_strict_mode_means_left_out(handler: ToolHandler) -> None:
    assert handler.describe("add", "openai", strict=True)["function"]["strict"] is True
    assert handler.execute_many(openai("n1", "add", {"a": 1, "b": None}))[0]["content"] == "3"


def test_a_name_that_a_provider_does_not_admit_leads_back_to_its_tool(handler: ToolHandler) -> None:
    handler.add_tool(callables.größe)
    name = handler.describe("größe", "openai")["function"]["name"]
    assert name != "größe"
    assert handler.execute_many(openai("g1", name, {"wert": 2}))[0]["content"] == "üü"


def test_history_keeps_requests_and_answers(handler: ToolHandler) -> None:
    handler.execute_many(
        [openai("h1", "add", {"a": 1}), {"id": 2, "name": "divide", "arguments": {"a": 1, "b": 0}}]
    )
    first, second = handler.history
    assert (first.provider, first.id, first.name, first.arguments, first.result) == (
        "openai",
        "h1",
        "add",
        {"a": 1},
        3,
    )
    assert second.status == "raised"
    assert "ZeroDivisionError" in second.result


def test_history_is_bounded(pool: SandboxPool) -> None:
    handler = ToolHandler(pool, max_history=3)
    handler.add_tool(callables.add)
    handler.execute_many(
        [{"type": "tool_use", "id": str(n), "name": "add", "input": {"a": n}} for n in range(6)]
    )
    assert [exchange.id for exchange in handler.history] == ["3", "4", "5"]


def test_two_hundred_mixed_requests_are_each_answered_under_their_own_id(handler: ToolHandler) -> None:
    def make(n: int) -> tuple[Any, Any]:
        name, arguments = [
            ("add", {"a": n}),
            ("divide", {"a": n, "b": 0}),
            ("add", {"a": "x"}),
            ("nope", {}),
        ][n % 4]
        shape = n % 5
        if shape == 0:
            return openai(f"id{n}", name, arguments), lambda a: a["tool_call_id"]
        if shape == 1:
            text = json.dumps(arguments)
            request = {"type": "function_call", "call_id": f"id{n}", "name": name, "arguments": text}
            return request, lambda a: a["call_id"]
        if shape == 2:
            return {"type": "tool_use", "id": f"id{n}", "name": name, "input": arguments}, lambda a: a[
                "tool_use_id"
            ]
        if shape == 3:
            call = {"id": f"id{n}", "name": name, "args": arguments}
            return {"functionCall": call}, lambda a: a["functionResponse"]["id"]
        params = {"name": name, "arguments": arguments}
        return {"jsonrpc": "2.0", "id": f"id{n}", "method": "tools/call", "params": params}, lambda a: a["id"]

    pairs = [make(n) for n in range(200)]
    answers = handler.execute_many([request for request, _ in pairs])
    assert len(answers) == 200
    for n, (answer, (_, id_of)) in enumerate(zip(answers, pairs, strict=True)):
        assert id_of(answer) == f"id{n}"
        text = json.dumps(answer)
        wanted = [str(n + 2), "ZeroDivisionError", "invalid_arguments", "not_found"][n % 4]
        assert wanted in text


# -- retries ----------------------------------------------------------------------------------------------------


def test_a_call_is_made_again_for_the_ends_that_were_asked_for(pool: SandboxPool, project: Project) -> None:
    flaky = (
        "import random\nclass Busy(Exception): pass\n"
        "def work(wait: float = 0.0):\n    if random.random() < 0.7:\n        raise Busy('later')\n    return 'done'\n"
    )
    root = project({"flaky.py": flaky})
    handler = ToolHandler(
        pool, retry=Retry(attempts=60, backoff=0.001, jitter=0, max_backoff=0.002, on=("flaky.Busy",))
    )
    handler.add_tools(root / "flaky.py")
    outcomes = [handler.outcome("work") for _ in range(5)]
    assert [outcome.value for outcome in outcomes] == ["done"] * 5
    assert any(outcome.attempts for outcome in outcomes)
    assert all(earlier.status == "raised" for outcome in outcomes for earlier in outcome.attempts)
    assert asyncio.run(handler.aexecute("work")) == "done"


def test_the_last_attempt_is_the_outcome(handler: ToolHandler) -> None:
    handler._retry = Retry(attempts=3, backoff=0.001, jitter=0, on=("raised",))
    outcome = handler.outcome("divide", {"a": 1, "b": 0})
    assert outcome.status == "raised"
    assert [earlier.status for earlier in outcome.attempts] == ["raised", "raised"]
    assert handler.outcome("add", {"a": 1}).attempts == ()


def test_the_deadline_spans_all_attempts(handler: ToolHandler) -> None:
    handler._retry = Retry(attempts=50, backoff=0.01, jitter=0, on=("timeout",), deadline_s=0.5)
    outcome = handler.outcome("hang")
    assert outcome.status == "timeout"
    assert len(outcome.attempts) < 5
    assert outcome.usage.wall_s <= 0.6


def test_invalid_arguments_are_never_tried_again(handler: ToolHandler) -> None:
    handler._retry = Retry()
    assert handler.outcome("add", {"a": "x"}).attempts == ()


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"attempts": True}, {"backoff": -1}, {"jitter": "x"}, {"on": "timeout"}, {"on": ("tiemout",)},
     {"deadline_s": 0}, {"max_backoff": float("nan")}],
)  # fmt: skip
def test_a_retry_that_cannot_be_used_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Retry(**options)


def test_errors_stay_in_the_one_tree(handler: ToolHandler) -> None:
    with pytest.raises(InvalidArgumentsError):
        handler.execute("add", {"a": "x"})
    assert issubclass(ToolNotFoundError, ToolHandlerError)
    assert issubclass(ModuleLoadError, ToolHandlerError)


@pytest.mark.parametrize("text", ["go", "", '{"id": 1', b"\xff"])
def test_text_that_is_no_json_is_answered_as_such(handler: ToolHandler, text: str | bytes) -> None:
    (answer,) = handler.execute_many(text)
    assert answer["status"] == "invalid_arguments"
    assert "a tool request is a JSON object; this text is none" in answer["error"]


def test_arguments_of_a_provider_that_have_a_key_twice_are_refused_and_the_others_run(
    handler: ToolHandler,
) -> None:
    calls = [
        {"id": id, "type": "function", "function": {"name": "add", "arguments": text}}
        for id, text in (("c1", '{"a": 1, "a": 2}'), ("c2", '{"a": 2}'))
    ]
    first, second = handler.execute_many({"role": "assistant", "tool_calls": calls})
    assert 'the key "a" stands there twice' in first["content"]
    assert (second["tool_call_id"], second["content"]) == ("c2", "4")


def test_all_that_is_wrong_with_arguments_is_told_whether_the_tool_was_described_or_not(
    handler: ToolHandler,
) -> None:
    bad = {"b": "x", "c": 1}
    before = handler.outcome("add", bad).error
    handler.describe("add")
    after = handler.outcome("add", bad).error
    assert isinstance(before, InvalidArgumentsError)
    assert isinstance(after, InvalidArgumentsError)
    assert {path for path, _ in before.problems} == {path for path, _ in after.problems} == {"a", "b", "c"}
    assert dict(before.problems)["b"] == dict(after.problems)["b"] == "Input should be a valid integer"


def test_a_set_that_cannot_be_written_is_told_by_the_name_given(handler: ToolHandler, tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/set\.json"):
        handler.save(tmp_path / "nowhere" / "set.json")
