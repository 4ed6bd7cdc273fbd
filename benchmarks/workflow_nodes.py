"""What a sandboxed node costs over a plain one: ``python benchmarks/workflow_nodes.py``.

One LangGraph graph of five no-op nodes is run four ways in turn, interleaved, so that all see the same machine: with
plain Python functions (the peer), with `python_node` under the profiles `native` and `restricted`, and from a workflow
document. Beside them, five bare `pool.call` show how much of it is the call, and five calls of a
`ProcessPoolExecutor`, which reuses an unconfined process, what the machine gives anybody. The figure is the difference
per node; at most 2 ms is wanted (p50, idle machine).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph

from elf_pysandbox import Policy, SandboxPool, load_workflow, python_node

NODES = 5
WANTED_MS = 2.0


class State(TypedDict, total=False):
    n: int
    done: None


def plain(state: State) -> State:
    return {"done": None}


def noop() -> None:
    return None


async def aplain(state: State) -> State:
    return {"done": None}


def graph_of(node: Any) -> Any:
    graph = StateGraph(State)
    for at in range(NODES):
        graph.add_node(f"n{at}", node)
        graph.add_edge(f"n{at - 1}" if at else START, f"n{at}")
    return graph.compile()


def document_in(folder: Path) -> Path:
    entries = "".join(
        f"    - {{name: n{at}, file: noop.py, function: noop, output: done}}\n" for at in range(NODES)
    )
    path = folder / "flow.yaml"
    path.write_text("functions:\n  python_functions:\n" + entries)
    return path


def times(rounds: int, ways: dict[str, Callable[[], Any]], pause_s: float) -> dict[str, list[float]]:
    """Return milliseconds per node of each way, one run of each in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            time.sleep(pause_s)
            started = time.perf_counter()
            run()
            found[name].append(1000 * (time.perf_counter() - started) / NODES)
    return found


async def atimes(
    rounds: int, ways: dict[str, Callable[[], Awaitable[Any]]], pause_s: float
) -> dict[str, list[float]]:
    """`times` in an event loop."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            await asyncio.sleep(pause_s)
            started = time.perf_counter()
            await run()
            found[name].append(1000 * (time.perf_counter() - started) / NODES)
    return found


def rows(door: str, found: dict[str, list[float]]) -> list[dict[str, Any]]:
    peer = statistics.median(found["plain"])
    made = []
    for name, values in found.items():
        middle, p99 = statistics.median(values), sorted(values)[int(0.99 * (len(values) - 1))]
        over = middle - peer
        made.append(
            {
                "door": door,
                "node": name,
                "ratio": round(middle / peer, 2),
                "over_ms": round(over, 3),
                "p50_ms": round(middle, 3),
                "p99_ms": round(p99, 3),
                "reached": name == "plain" or over <= WANTED_MS,
            }
        )
    return made


def measure(rounds: int, pause_s: float) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        SandboxPool(8, policy=Policy(profile="native")) as native,
        SandboxPool(8, policy=Policy(profile="restricted")) as restricted,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor,
    ):
        (Path(folder) / "noop.py").write_text("def noop(): return None\n")
        target = f"{folder}/noop.py:noop"
        workflow = load_workflow(document_in(Path(folder)))
        compiled = workflow.compile(restricted)
        graphs = {
            "native": graph_of(python_node(target, pool=native, output="done")),
            "restricted": graph_of(python_node(target, pool=restricted, output="done")),
        }
        one, two = graph_of(plain), graph_of(aplain)
        blocking: dict[str, Callable[[], Any]] = {"plain": lambda: one.invoke({"n": 1})}
        waiting: dict[str, Callable[[], Awaitable[Any]]] = {"plain": lambda: two.ainvoke({"n": 1})}
        for name, graph in graphs.items():
            blocking[name] = lambda graph=graph: graph.invoke({"n": 1})
            waiting[name] = lambda graph=graph: graph.ainvoke({"n": 1})
        blocking["document"] = lambda: compiled.invoke(workflow.initial_state({"n": 1}))
        tool = restricted.load(target)
        blocking["pool.call"] = lambda: [restricted.call(tool) for _ in range(NODES)]
        blocking["executor"] = lambda: [executor.submit(noop).result() for _ in range(NODES)]
        waiting["document"] = lambda: compiled.ainvoke(workflow.initial_state({"n": 1}))
        times(3, blocking, 0.0)
        found = rows("invoke", times(rounds, blocking, pause_s))
        asyncio.run(atimes(3, waiting, 0.0))
        return found + rows("ainvoke", asyncio.run(atimes(rounds, waiting, pause_s)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two runs")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    found = measure(options.rounds, options.pause)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(
        f"{'door':8} {'node':11} {'ratio':>6} {'over':>9} {'p50':>9} {'p99':>9}  per node; plain Python is the peer"
    )
    for row in found:
        print(
            f"{row['door']:8} {row['node']:11} {row['ratio']:6.2f} {row['over_ms']:6.3f} ms {row['p50_ms']:6.3f} ms "
            f"{row['p99_ms']:6.3f} ms  {'' if row['node'] == 'plain' else 'reached' if row['reached'] else 'MISSED'}"
        )
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
