"""Documents run: the specification's own, eight nodes also while their workers are killed, each key's effect."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from elf_pysandbox import (
    CallTimeoutError,
    DocumentError,
    Files,
    InvalidArgumentsError,
    Limits,
    MemoryLimitError,
    NodeEvent,
    Policy,
    SandboxPool,
    Workflow,
    WorkflowError,
    load_workflow,
    parse_workflow,
    public_state,
)
from tests.integrations.conftest import EXAMPLES

pytest.importorskip("langgraph")

ORDERS = {
    "target": 100,
    "orders": [
        {"id": 1, "currency": "EUR", "amount": 120.0},
        {"id": 2, "currency": "USD", "amount": 80.0},
        {"id": 3, "currency": "EUR", "amount": 30.0},
    ],
    "valid": True,
    "totals": {"EUR": 150.0, "USD": 80.0},
    "rates": {"EUR": 1.0, "USD": 0.5},
    "tax": 46.0,
    "value": 108.5,
    "rounds": 4,
    "archive": "archived 108.5: cannot print 'value=108.5 rounds=4'",
}


def one(folder: Path, body: str, **keys: Any) -> Workflow:
    """Return a workflow of one function `f`, whose module is `body`, with the specification's keys given."""
    (folder / "mod.py").write_text(body)
    function = {"name": "f", "file": "mod.py", "function": "f", **keys}
    document = {"functions": {"python_functions": [function]}}
    return parse_workflow(yaml.safe_dump(document), folder / "flow.yaml")


# -- the specification's document, and each of its keys ---------------------------------------------------


def specified(pool: SandboxPool) -> SandboxPool:
    policy = Policy(profile=pool.policy.profile, files=Files(read=(str(EXAMPLES / "data"),)))
    return pool.with_options(policy=policy)


def test_the_specifications_document_runs_as_written(pool: SandboxPool) -> None:
    state = {
        "raw_data": '[{"id": 1, "price": 9.5}, {"id": 2}]',
        "file_path": str(EXAMPLES / "data" / "sales.csv"),
    }
    final = load_workflow(EXAMPLES / "specification.yaml").run(state, pool=specified(pool))
    assert final == state | {
        "data_processor": {
            "records": [{"id": 1, "price": 9.5}, {"id": 2}],
            "count": 2,
            "problems": ["record 1 has no price"],
        },
        "file_analyzer": {"rows": 3, "columns": ["region", "units", "price"]},
    }


def test_the_examples_document_is_the_specifications() -> None:
    written = yaml.safe_load((EXAMPLES / "specification.yaml").read_text())
    processor, analyzer = written["functions"]["python_functions"]
    assert processor == {
        "name": "data_processor",
        "module": "my_tools.data_processing",
        "function": "process_data",
        "parameters": {"input_data": "${state.raw_data}", "config": {"format": "json", "validate": True}},
        "timeout": 30,
        "memory_limit_mb": 256,
    }
    assert analyzer == {
        "name": "file_analyzer",
        "file": "./tools/file_analyzer.py",
        "function": "analyze_file",
        "parameters": {"file_path": "${state.file_path}", "deep_scan": False},
        "allowed_imports": ["pandas", "numpy", "requests"],
    }


def changed(pool: SandboxPool, change: Any, keep: slice = slice(1)) -> dict[str, Any]:
    """Run the specification's document after `change` on its two functions, the first only by default."""
    document = yaml.safe_load((EXAMPLES / "specification.yaml").read_text())
    listed = document["functions"]["python_functions"]
    change(*listed)
    document["functions"]["python_functions"] = listed[keep]
    workflow = parse_workflow(yaml.safe_dump(document), EXAMPLES / "changed.yaml")
    state = {"raw_data": [{"id": 1}, {}], "file_path": str(EXAMPLES / "data" / "sales.csv")}
    return workflow.run(state, pool=specified(pool))


def test_key_name_is_the_state_key_of_the_result(pool: SandboxPool) -> None:
    assert "renamed" in changed(pool, lambda one, two: one.update(name="renamed"))


def test_key_function_chooses_the_function_of_the_module(pool: SandboxPool) -> None:
    def change(one: Any, two: Any) -> None:
        one.update(function="parse", parameters={"text": "[1]", "kind": "json"})

    assert changed(pool, change)["data_processor"] == [1]


def test_key_module_and_key_file_reach_the_same_function(pool: SandboxPool) -> None:
    def change(one: Any, two: Any) -> None:
        del one["module"]
        one["file"] = "my_tools/data_processing.py"

    assert changed(pool, change)["data_processor"]["count"] == 2


def test_nested_parameters_reach_the_function(pool: SandboxPool) -> None:
    on = changed(pool, lambda one, two: None)
    off = changed(pool, lambda one, two: one["parameters"]["config"].update(validate=False))
    assert (on["data_processor"]["problems"], off["data_processor"]["problems"]) == (
        ["record 1 has no id"],
        [],
    )
    deep = changed(pool, lambda one, two: two["parameters"].update(deep_scan=True), slice(2))
    assert deep["file_analyzer"]["means"] == {"units": pytest.approx(8 / 3), "price": 6.25}


def test_key_timeout_ends_a_slow_function(tmp_path: Path, pool: SandboxPool) -> None:
    body = "import time\ndef f(): time.sleep(0.4); return 1\n"
    assert one(tmp_path, body, timeout=15).run(pool=pool) == {"f": 1}
    with pytest.raises(CallTimeoutError):
        one(tmp_path, body, timeout=0.1).run(pool=pool)


def test_key_memory_limit_mb_ends_a_greedy_function(tmp_path: Path, pool: SandboxPool) -> None:
    body = "def f(): return len(bytes(150 * 2**20))\n"
    assert one(tmp_path, body, memory_limit_mb=400).run(pool=pool) == {"f": 150 << 20}
    with pytest.raises(MemoryLimitError):
        one(tmp_path, body, memory_limit_mb=100).run(pool=pool)


def test_key_cpu_limit_ends_a_busy_function(tmp_path: Path, pool: SandboxPool) -> None:
    workflow = one(tmp_path, "def f():\n    while True: pass\n", cpu_limit=0.3, on_error="continue")
    assert workflow.run(pool=pool)["errors"]["f"]["status"] == "cpu_limit"


def test_key_strict_keeps_text_from_becoming_a_number(tmp_path: Path, pool: SandboxPool) -> None:
    body = "def f(n: int): return n + 1"
    lax = one(tmp_path, body, parameters={"n": "${state.n}"})
    assert lax.run({"n": "3"}, pool=pool) == {"n": "3", "f": 4}
    with pytest.raises(InvalidArgumentsError, match="n: Input should be a valid integer"):
        one(tmp_path, body, parameters={"n": "3"}, strict=True).run(pool=pool)


def test_key_allowed_imports_lets_a_restricted_function_import(tmp_path: Path) -> None:
    body = "import numpy\ndef f(): return int(numpy.arange(3).sum())\n"
    with SandboxPool(2, policy=Policy(profile="restricted")) as pool:
        assert one(tmp_path, body, allowed_imports=["numpy"]).run(pool=pool) == {"f": 3}
        refused = one(tmp_path, body, on_error="continue").run(pool=pool)
        assert refused["errors"]["f"]["status"] == "denied"
        assert one(tmp_path, body, profile="native").run(pool=pool) == {"f": 3}


def test_key_files_grants_reading_and_writing_below_the_documents_folder(
    tmp_path: Path, pool: SandboxPool
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    (tmp_path / "in" / "a.txt").write_text("seven")
    body = f"""
def f(write):
    if write:
        with open({str(tmp_path)!r} + "/out/b.txt", "w") as file:
            file.write("kept")
    with open({str(tmp_path)!r} + "/in/a.txt") as file:
        return file.read()
"""
    grants = {"read": ["in"], "write": ["out"]}
    assert one(tmp_path, body, files=grants, parameters={"write": True}).run(pool=pool) == {"f": "seven"}
    assert (tmp_path / "out" / "b.txt").read_text() == "kept"
    for files in ({"read": ["out"]}, {"read": ["in", "out"]}):
        refused = one(tmp_path, body, files=files, parameters={"write": True}, on_error="continue").run(
            pool=pool
        )
        assert refused["errors"]["f"]["status"] == "denied"


def test_key_env_passes_named_variables_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "north")
    monkeypatch.setenv("SECRET", "hidden")
    body = "import os\ndef f(): return [os.environ.get('REGION'), os.environ.get('SECRET')]\n"
    with SandboxPool(2, policy=Policy(profile="native")) as pool:
        assert one(tmp_path, body, env=["REGION"]).run(pool=pool) == {"f": ["north", None]}


def test_key_python_path_is_where_modules_are_looked_for(tmp_path: Path, pool: SandboxPool) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").write_text("def f(): return 'helped'\n")
    function = {"name": "f", "module": "helper", "function": "f"}
    text = yaml.safe_dump({"functions": {"python_functions": [function]}})
    with pytest.raises(DocumentError, match=r"flow\.yaml:\d+:\d+: .*helper"):
        parse_workflow(text, tmp_path / "flow.yaml").run(pool=pool)
    function["python_path"] = ["lib"]  # type: ignore[assignment]
    text = yaml.safe_dump({"functions": {"python_functions": [function]}})
    assert parse_workflow(text, tmp_path / "flow.yaml").run(pool=pool) == {"f": "helped"}


def test_key_return_type_refuses_another_type(tmp_path: Path, pool: SandboxPool) -> None:
    body = "def f(): return [1, 2]\n"
    assert one(tmp_path, body, return_type="list[int]").run(pool=pool) == {"f": [1, 2]}
    refused = one(tmp_path, body, return_type="list[str]", on_error="continue").run(pool=pool)
    assert refused["errors"]["f"]["status"] == "bad_result"


# -- graphs --------------------------------------------------------------------------------------------------


def run_orders(folder: Path, pool: SandboxPool, **options: Any) -> dict[str, Any]:
    (folder / "scratch" / "attempts.txt").unlink(missing_ok=True)
    workflow = load_workflow(folder / "orders.yaml")
    return asyncio.run(workflow.arun({"folder": str(folder / "scratch")}, pool=pool, **options))


def check_orders(final: dict[str, Any]) -> None:
    errors = final.pop("errors")
    final.pop("folder")
    assert final == ORDERS
    assert set(errors) == {"publish"}
    assert errors["publish"]["type"] == "RuntimeError"


def test_eight_nodes_give_the_expected_state(examples: Path, pool: SandboxPool) -> None:
    seen: list[NodeEvent] = []
    check_orders(run_orders(examples, pool, listen=seen.append))
    ends = [event for event in seen if event.phase == "end"]
    assert [event.node for event in ends if event.node not in ("totals", "rates", "tax")] == [
        "fetch", "combine", "refine", "refine", "refine", "refine", "publish", "archive",
    ]  # fmt: skip
    assert {event.node for event in ends[1:4]} == {"totals", "rates", "tax"}
    assert (ends[0].node, ends[0].attempt) == ("fetch", 3)


class Killer(threading.Thread):
    """Kills workers of a pool at random moments, with a seed, so many at most.

    The number is bounded because a busy machine may take longer for a call than there is between two kills: then
    no number of attempts is enough.
    """

    def __init__(self, pool: SandboxPool, seed: int, most: int, template_share: float = 0.0) -> None:
        super().__init__(daemon=True)
        self._pool, self._random, self._share, self._most = pool, random.Random(seed), template_share, most
        self._stopped = threading.Event()
        self.killed = 0

    def run(self) -> None:
        while self.killed < self._most and not self._stopped.wait(self._random.uniform(0, 0.04)):
            templates = [pid for pid in self._pool.process_ids() if _parent(pid) != os.getpid()]
            victims = [worker for pid in templates for worker in _children(pid)]
            if self._random.random() < self._share:
                victims = templates
            if victims:
                try:
                    os.kill(self._random.choice(victims), signal.SIGKILL)
                    self.killed += 1
                except ProcessLookupError:
                    pass

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:
            return [int(child) for child in stream.read().split()]
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except OSError:
        return os.getpid()


def test_killing_workers_at_random_gives_the_same_state(examples: Path, pool: SandboxPool) -> None:
    # The long version also kills templates, which load pandas anew each time.
    long = os.environ.get("PYSANDBOX_SOAK_ROUNDS")
    rounds, killed = int(long or 3), 0
    run_orders(examples, pool)
    for number in range(rounds):
        with Killer(pool, seed=number, most=20, template_share=0.05 if long else 0.0) as killer:
            check_orders(run_orders(examples, pool))
        killed += killer.killed
    assert killed >= rounds
    print(f"{rounds} runs, {killed} processes killed")


SUM = "def f(n=0, by=1): return n + by\n"


def graph(folder: Path, workflow: dict[str, Any], **functions: dict[str, Any]) -> Workflow:
    (folder / "mod.py").write_text(SUM + "def boom(): raise ValueError('no')\n")
    listed = [{"name": name, "file": "mod.py", "function": "f", **keys} for name, keys in functions.items()]
    document = {"functions": {"python_functions": listed}, "workflow": workflow}
    return parse_workflow(json.dumps(document), folder / "flow.yaml")


def test_the_first_edge_whose_condition_holds_is_taken(tmp_path: Path, pool: SandboxPool) -> None:
    workflow = graph(
        tmp_path,
        {
            "nodes": [{"id": "a"}, {"id": "low"}, {"id": "high"}, {"id": "other"}],
            "edges": [
                {"source": "a", "target": "low", "condition": "state.a < `5`"},
                {"source": "a", "target": "high", "condition": "state.a < `10`"},
                {"source": "a", "target": "other"},
            ],
        },
        a={"parameters": {"n": "${state.n}"}}, low={}, high={}, other={},
    )  # fmt: skip
    for n, way in ((1, "low"), (7, "high"), (20, "other")):
        assert set(workflow.run({"n": n}, pool=pool)) == {"n", "a", way}


def test_a_loop_without_a_cap_of_its_own_ends_at_the_workflows(tmp_path: Path, pool: SandboxPool) -> None:
    workflow = graph(
        tmp_path,
        {
            "max_iterations": 3,
            "nodes": [{"id": "a"}],
            "edges": [{"source": "a", "target": "a", "condition": "state.n < `100`"}],
        },
        a={"parameters": {"n": "${state.n}"}, "output": "n"},
    )
    with pytest.raises(WorkflowError, match="node 'a' ran 3 times"):
        workflow.run({"n": 0}, pool=pool)
    assert workflow.run({"n": 98}, pool=pool) == {"n": 100}


def test_two_branches_that_set_one_key_differently_are_an_error(tmp_path: Path, pool: SandboxPool) -> None:
    shape = {
        "nodes": [{"id": "a"}, {"id": "b"}],
        "edges": [{"source": "START", "target": ["a", "b"]}],
    }
    clash = graph(tmp_path, shape, a={"output": "x"}, b={"output": "x", "parameters": {"by": 2}})
    with pytest.raises(WorkflowError, match="'a' and 'b' ran at once and both set state key 'x'"):
        clash.run(pool=pool)
    assert graph(tmp_path, shape, a={"output": "x"}, b={"output": "x"}).run(pool=pool) == {"x": 1}


def test_a_join_waits_for_branches_of_different_length(tmp_path: Path, pool: SandboxPool) -> None:
    workflow = graph(
        tmp_path,
        {
            "nodes": [{"id": name} for name in ("a", "b", "c", "d", "end")],
            "edges": [
                {"source": "a", "target": ["b", "c"]},
                {"source": "c", "target": "d"},
                {"source": ["b", "d"], "target": "end"},
            ],
        },
        a={}, b={}, c={}, d={"output": "d"}, end={"parameters": {"n": "${state.d}", "by": "${state.end ?? 10}"}},
    )  # fmt: skip
    # `end` would see its own first result if it ran twice.
    assert workflow.run(pool=pool)["end"] == 11


def test_a_branch_that_jumps_on_an_error_keeps_its_join_from_running(
    tmp_path: Path, pool: SandboxPool
) -> None:
    workflow = graph(
        tmp_path,
        {
            "nodes": [{"id": name} for name in ("a", "good", "bad", "join", "rescue")],
            "edges": [
                {"source": "a", "target": ["good", "bad"]},
                {"source": ["good", "bad"], "target": "join"},
                {"source": "join", "target": "END"},
            ],
        },
        a={}, good={}, bad={"function": "boom", "on_error": "goto rescue"}, join={}, rescue={},
    )  # fmt: skip
    final = workflow.run(pool=pool)
    assert "rescue" in final
    assert "join" not in final


def test_state_keys_that_begin_with_an_underscore_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'_x' is reserved"):
        one(tmp_path, SUM).run({"_x": 1})


def test_a_tool_cannot_give_langgraph_orders(tmp_path: Path, pool: SandboxPool) -> None:
    body = "def f(): return {'type': '__overwrite__', 'value': {}}\n"
    final = one(tmp_path, body, output="*").run({"kept": 1}, pool=pool)
    assert final == {"kept": 1, "type": "__overwrite__", "value": {}}


def test_blocking_invoke_and_stream_work_on_the_compiled_graph(examples: Path, pool: SandboxPool) -> None:
    workflow = load_workflow(examples / "orders.yaml")
    state = workflow.initial_state({"folder": str(examples / "scratch")})
    check_orders(public_state(workflow.compile(pool).invoke(state)))
    steps = list(workflow.compile(pool).stream(state, stream_mode="updates"))
    assert sorted(name for step in steps for name in step) == sorted(
        ["fetch", "totals", "rates", "tax", "combine", "publish", "archive"] + 4 * ["refine"]
    )


def test_checkpoints_let_a_workflow_go_on_after_an_interrupt(examples: Path, pool: SandboxPool) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    workflow = load_workflow(examples / "orders.yaml")
    compiled = workflow.compile(pool, checkpointer=InMemorySaver(), interrupt_before=["combine"])
    thread: Any = {"configurable": {"thread_id": "1"}}
    half = compiled.invoke(workflow.initial_state({"folder": str(examples / "scratch")}), thread)
    assert "tax" in half
    assert "value" not in half
    check_orders(public_state(compiled.invoke(None, thread)))


def test_a_module_that_is_missing_is_told_before_anything_runs(folder: Path) -> None:
    text = "functions:\n  python_functions:\n    - {name: a, module: no_such.module, function: f}\n"
    workflow = parse_workflow(text, folder / "flow.yaml")
    with pytest.raises(DocumentError, match=r"flow\.yaml:3:25: no module 'no_such\.module'"):
        workflow.validate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_without_a_pool_a_workflow_uses_the_shared_one(tmp_path: Path) -> None:
    assert one(tmp_path, SUM, profile="native").run() == {"f": 1}
    assert Limits().wall_s == 30
