"""`python_node` in other people's graphs: every way LangGraph runs a node, its retries, and any kind of state."""

from __future__ import annotations

import asyncio
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel

from elf_pysandbox import ConfigurationError, PythonNodeConfig, SandboxPool, ToolRaised, python_node

graphs = pytest.importorskip("langgraph.graph")
END, START, StateGraph = graphs.END, graphs.START, graphs.StateGraph

TOOLS = """
def double(n): return 2 * n
async def later(n): return n + 1
def boom(): raise ConnectionError("no net")
def order(): return {"__overwrite__": []}
def flaky(path):
    with open(path, "a") as file: file.write(".")
    with open(path) as file: n = len(file.read())
    if n < 3: raise ConnectionError(str(n))
    return n
"""


class Typed(TypedDict, total=False):
    n: int
    double: int
    later: int


class Logged(TypedDict, total=False):
    n: int
    log: Annotated[list[Any], operator.add]


class Model(BaseModel):
    n: int
    double: int | None = None
    later: int | None = None


@dataclass
class Data:
    n: int
    double: int | None = None
    later: int | None = None


def live(n: int) -> int:
    return -n


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "tools.py"
    path.write_text(TOOLS)
    return str(path)


def fanned(schema: Any, tools: str, pool: SandboxPool) -> Any:
    graph = StateGraph(schema)
    graph.add_node("d", python_node(f"{tools}:double", pool=pool, parameters={"n": "${state.n}"}))
    graph.add_node("l", python_node(f"{tools}:later", pool=pool, parameters={"n": "${state.n}"}))
    graph.add_edge(START, "d")
    graph.add_edge(START, "l")
    return graph.compile()


@pytest.mark.parametrize("schema", [Typed, Model, Data])
def test_a_node_runs_under_invoke_ainvoke_stream_and_astream_and_fans_out(
    schema: Any, tools: str, pool: SandboxPool
) -> None:
    compiled = fanned(schema, tools, pool)

    async def streamed() -> list[Any]:
        return [step async for step in compiled.astream({"n": 3}, stream_mode="updates")]

    expected = {"n": 3, "double": 6, "later": 4}
    steps = [{"d": {"double": 6}}, {"l": {"later": 4}}]
    assert compiled.invoke({"n": 3}) == expected
    assert asyncio.run(compiled.ainvoke({"n": 3})) == expected
    assert sorted(compiled.stream({"n": 3}, stream_mode="updates"), key=str) == steps
    assert sorted(asyncio.run(streamed()), key=str) == steps


def test_langgraphs_own_retry_sees_the_tools_exception(tools: str, tmp_path: Path, pool: SandboxPool) -> None:
    from langgraph.types import RetryPolicy

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o777)
    node = python_node(
        f"{tools}:flaky",
        pool=pool,
        parameters={"path": str(scratch / "log")},
        files={"write": [str(scratch)]},
        output="n",
    )
    graph = StateGraph(Logged)
    policy = RetryPolicy(max_attempts=5, initial_interval=0.01, jitter=False, retry_on=ConnectionError)
    graph.add_node("f", node, retry_policy=policy)
    graph.add_edge(START, "f")
    assert graph.compile().invoke({"n": 0}) == {"n": 3, "log": []}


def test_an_error_ends_the_graph_as_the_tools_own_exception(tools: str, pool: SandboxPool) -> None:
    graph = StateGraph(Logged)
    graph.add_node("b", python_node(f"{tools}:boom", pool=pool))
    graph.add_edge(START, "b")
    with pytest.raises(ConnectionError, match="no net") as caught:
        graph.compile().invoke({"n": 1})
    assert isinstance(caught.value, ToolRaised)


def test_a_result_that_is_an_order_to_langgraph_is_refused(tools: str, pool: SandboxPool) -> None:
    graph = StateGraph(Logged)
    graph.add_node("o", python_node(f"{tools}:order", pool=pool, output="log"))
    graph.add_edge(START, "o")
    with pytest.raises(Exception, match="may not return an '__overwrite__' order"):
        graph.compile().invoke({"n": 1, "log": ["kept"]})


def test_cancelling_the_graph_ends_its_calls(tmp_path: Path, pool: SandboxPool) -> None:
    path = tmp_path / "spin.py"
    path.write_text("def spin():\n    while True: pass\n")
    graph = StateGraph(Logged)
    graph.add_node("s", python_node(f"{path}:spin", pool=pool))
    graph.add_edge(START, "s")
    before = pool.statistics().calls.get("cancelled", 0)
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(graph.compile().ainvoke({"n": 1}), 0.5))
    assert pool.statistics().calls["cancelled"] == before + 1


def test_a_live_function_and_a_configuration_make_nodes_too(tools: str, pool: SandboxPool) -> None:
    assert python_node(live, pool=pool, parameters={"n": "${state.n}"}).invoke({"n": 2}) == {"live": -2}
    config = PythonNodeConfig(file=tools, function="double", parameters={"n": "${state.n}"})
    assert python_node(config, pool=pool, output="x").invoke({"n": 2}) == {"x": 4}


@pytest.mark.parametrize(
    ("target", "settings", "says"),
    [
        ("tools.py", {}, "names no function"),
        (3, {}, "a target, a function or a PythonNodeConfig"),
        ("tools:f", {"timeout": "soon"}, "python_node: timeout"),
        ("tools:f", {"tiemout": 3}, "python_node: tiemout"),
    ],
)
def test_what_makes_no_node_is_refused(
    target: Any, settings: dict[str, Any], says: str, pool: SandboxPool
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        python_node(target, pool=pool, **settings)
