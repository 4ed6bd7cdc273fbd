"""ELF's Python tools in the sandbox, by both ways in, held against ELF's own.

Needs ELF (`elf0`) in this environment; what runs its shipped examples and tests also needs its checkout, named by
`PYSANDBOX_TEST_ELF`. ``nox -s elf -- PATH`` sets both up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import ELF_TERMINAL, Policy, SandboxPool
from elf_pysandbox.integrations.elf import register, unregister

pytest.importorskip("elf0.core.compiler", reason="ELF is not installed here")
pytestmark = pytest.mark.filterwarnings("ignore")

CHECKOUT = os.environ.get("PYSANDBOX_TEST_ELF", "")
needs_checkout = pytest.mark.skipif(not CHECKOUT, reason="PYSANDBOX_TEST_ELF names no checkout of ELF")

TOOLS = """
import os
import sys
import time
from elf0.core.compiler import WorkflowState
from elf0.core.exceptions import UserExitRequested
from elf0.functions.utils import text_processor


def greet(state: WorkflowState, name, times=1): return {"output": f"hi {name}" * times, "workflow_id": "w"}
def plain(name): return f"plain {name}"
def number(state): return 42
def where(state): return str(os.getpid())
def slow(state, seconds=5): time.sleep(seconds); return "late"
async def later(state): return "awaited"
def crash(state):
    import ctypes
    ctypes.string_at(0)
def leave(state): sys.exit(3)
def vanish(state): os._exit(0)
def stop(state): raise UserExitRequested("bye")
def bad(state): raise ValueError("no such thing")
def shout(state): return text_processor(state, "uppercase")
def hoard(state): return str(len(bytes(2**30)))
def stubs(state): return ",".join(name for name in sys.modules if name.partition(".")[0] in ("elf0", "langgraph"))
def left(state): return {"dynamic_state": {"left": 1}}
def right(state): return {"structured_data": {"right": 1}}
def echo(state, **kwargs): return {"output": str(sorted(state))}
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(4, policy=Policy(profile="native")) as made:
        yield made


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mytools.py").write_text(TOOLS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def registered(pool: SandboxPool, tools: Path) -> Iterator[None]:
    register(pool)
    yield
    unregister()


def invoke(entrypoint: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a workflow of one tool node in ELF."""
    return invoke_graph(
        {"f": entrypoint},
        [{"id": "n", "kind": "tool", "ref": "f", "config": config or {}, "stop": True}],
    )


def invoke_graph(
    functions: dict[str, str], nodes: list[Any], edges: list[Any] | None = None
) -> dict[str, Any]:
    from elf0.core.compiler import compile_to_langgraph
    from elf0.core.spec import Spec

    listed = {ref: {"type": "python", "name": ref, "entrypoint": name} for ref, name in functions.items()}
    spec = Spec(
        version="0.1",
        description="test",
        runtime="langgraph",
        llms={"t": {"type": "openai", "model_name": "none", "temperature": 0.0}},
        functions=listed,
        workflow={"type": "custom_graph" if edges else "sequential", "nodes": nodes, "edges": edges or []},
    )
    result: dict[str, Any] = compile_to_langgraph(spec).compile().invoke({"input": "hello big world"})
    return result


SAME = [
    ("mytools.greet", {"parameters": {"name": "${state.input}", "times": 2}}),
    ("mytools.greet", {"parameters": {"name": "${state.nothing}"}}),
    ("mytools.greet", {"parameters": {}}),
    ("mytools.plain", {"parameters": {"name": "x", "unknown": 3}}),
    ("mytools.number", {}),
    ("mytools.bad", {}),
    ("mytools.shout", {}),
    ("mytools.echo", {}),
    ("elf0.functions.utils.text_processor", {"parameters": {"operation": "length"}}),
    ("elf0.functions.utils.text_processor", {"parameters": {"operation": "nonsense"}}),
]


@pytest.mark.parametrize(("entrypoint", "config"), SAME)
def test_b_gives_what_elf_itself_gives(
    entrypoint: str, config: dict[str, Any], pool: SandboxPool, tools: Path
) -> None:
    own = invoke(entrypoint, config)
    register(pool)
    try:
        sandboxed = invoke(entrypoint, config)
    finally:
        unregister()
    if "missing 1 required positional argument" in own["output"]:
        # Python's own words name the function, the sandbox's the argument.
        assert sandboxed["output"].startswith("Function error: invalid_arguments: ")
        assert "name" in sandboxed["output"]
    else:
        assert sandboxed == own


@pytest.mark.usefixtures("registered")
def test_b_stops_a_tool_of_five_seconds_after_half_a_second() -> None:
    result = invoke("mytools.slow", {"timeout": 0.5, "parameters": {"seconds": 5}})
    assert result["output"].startswith("Function error: timeout: ")
    assert "mytools.slow" in result["error_context"]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("crash", {}, "crashed: the worker process died of SIGSEGV"),
        ("leave", {}, "SystemExit: 3"),
        ("vanish", {}, "crashed: "),
        ("hoard", {"memory_limit_mb": 64}, "memory_limit: "),
        ("bad", {"retry": 3}, "no such thing"),
    ],
)
def test_b_makes_a_tool_that_would_end_elf_a_node_error(name: str, config: dict[str, Any], says: str) -> None:
    result = invoke(f"mytools.{name}", config)
    assert result["output"].startswith(f"Function error: {says}")
    assert "\n" not in result["output"]
    assert invoke("mytools.number")["output"] == "42"


@pytest.mark.usefixtures("registered")
def test_b_runs_tools_in_other_processes_without_elf_in_them_and_awaits_async_ones() -> None:
    assert int(invoke("mytools.where")["output"]) != os.getpid()
    assert invoke("mytools.later")["output"] == "awaited"
    seen = invoke("mytools.stubs")["output"].split(",")
    assert "elf0.core.compiler" in seen
    assert not any(name.startswith("langgraph") for name in seen)


@pytest.mark.usefixtures("registered")
def test_b_hands_the_users_wish_to_leave_on_to_elf() -> None:
    from elf0.core.exceptions import UserExitRequested

    with pytest.raises(UserExitRequested, match="bye"):
        invoke("mytools.stop")


@pytest.mark.usefixtures("registered")
def test_b_returns_only_changed_keys_so_that_nodes_can_run_at_once() -> None:
    nodes = [{"id": name, "kind": "tool", "ref": name, "config": {}} for name in ("number", "left", "right")]
    edges = [{"source": "number", "target": "left"}, {"source": "number", "target": "right"}]
    result = invoke_graph({name: f"mytools.{name}" for name in ("number", "left", "right")}, nodes, edges)
    assert (result["dynamic_state"], result["structured_data"]) == ({"left": 1}, {"right": 1})


def test_b_lets_listed_entrypoints_and_other_tools_pass_through(pool: SandboxPool, tools: Path) -> None:
    from elf0.core.compiler import NodeFactoryRegistry

    own = NodeFactoryRegistry.get("tool")
    register(pool, pass_through=("mytools.where", *ELF_TERMINAL))
    try:
        assert invoke("mytools.where")["output"] == str(os.getpid())
        assert NodeFactoryRegistry.get("tool") is not own
    finally:
        unregister()
    assert NodeFactoryRegistry.get("tool") is own


@pytest.mark.usefixtures("registered")
def test_b_leaves_mcp_tools_to_elf() -> None:
    from elf0.core.compiler import NodeFactoryRegistry
    from elf0.core.spec import Function, Spec, WorkflowNode

    function = Function(type="mcp", name="m", entrypoint="mcp://localhost:3000/tool")
    node = WorkflowNode(id="n", kind="tool", ref="m")
    spec = Spec.model_construct(functions={"m": function})
    assert "MCP" in NodeFactoryRegistry.get("tool")(spec, node)({"input": "x"})["output"]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("entrypoint", "config", "says"),
    [
        ("nowhere.at_all", {}, "no module 'nowhere'"),
        ("mytools.nothing", {}, "has no 'nothing'"),
        ("mytools.number", {"timeout": "soon"}, "config.timeout"),
    ],
)
def test_b_tells_what_cannot_be_loaded_when_the_node_runs(
    entrypoint: str, config: dict[str, Any], says: str
) -> None:
    result = invoke(entrypoint, config)
    assert result["output"].startswith(f"Failed to load function '{entrypoint}': ")
    assert says in result["output"]


# -- the command line -------------------------------------------------------------------------------------------


def command(
    *arguments: str, folder: Path, given: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NO_COLOR": "1", **variables},
    )


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


EXAMPLES = [
    "archive/python_calculator.yaml",
    "examples/python_function_test.yaml",
    "archive/python_function_test.yaml",
]


@needs_checkout
@pytest.mark.parametrize("example", EXAMPLES)
def test_elfs_shipped_examples_without_a_model_give_the_same_output_by_both_ways(
    example: str, tmp_path: Path
) -> None:
    original = Path(CHECKOUT, "specs", example)
    prefixed = tmp_path / "prefixed.yaml"
    entrypoint = "elf0.functions.utils.text_processor"
    text = original.read_text()
    assert entrypoint in text
    prefixed.write_text(text.replace(entrypoint, f"pysandbox.{entrypoint}"))
    options = ("--prompt", "hello big world")
    own = command(script("elf0"), "agent", str(original), *options, folder=tmp_path, given="an answer\n")
    by_prefix = command(
        script("elf0"), "agent", str(prefixed), *options, folder=tmp_path, given="an answer\n"
    )
    launched = command(
        script("pysandbox"), "elf", "agent", str(original), *options, folder=tmp_path, given="an answer\n"
    )
    assert own.stdout
    assert "Character count" in own.stdout or "Word count" in own.stdout
    assert (by_prefix.returncode, by_prefix.stdout) == (own.returncode, own.stdout) == (0, own.stdout)
    assert (launched.returncode, launched.stdout) == (0, own.stdout)


def test_the_launcher_stops_a_hanging_tool_and_passes_elfs_exit_code_on(tools: Path) -> None:
    spec = {
        "version": "0.1", "description": "x", "runtime": "langgraph",
        "llms": {"t": {"type": "openai", "model_name": "none", "temperature": 0.0}},
        "functions": {"f": {"type": "python", "name": "f", "entrypoint": "mytools.slow"}},
        "workflow": {
            "type": "sequential", "edges": [], "nodes": [{"id": "n", "kind": "tool", "ref": "f", "stop": True}],
        },
    }  # fmt: skip
    (tools / "flow.yaml").write_text(json.dumps(spec))
    options = ("--profile", "native", "--timeout", "0.5", "agent", "flow.yaml", "--prompt", "x")
    result = command(script("pysandbox"), "elf", *options, folder=tools)
    assert result.returncode == 0
    assert "Function error: timeout" in result.stdout
    assert command(script("pysandbox"), "elf", "agent", "missing.yaml", folder=tools).returncode == 2


@needs_checkout
def test_elfs_own_python_function_tests_pass_with_the_sandbox_registered() -> None:
    result = command(
        sys.executable, "-m", "pytest", "-q", "-p", "elf_plugin", "tests/core/test_python_functions.py",
        folder=Path(CHECKOUT), PYTHONPATH=str(Path(__file__).parent),
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    assert "11 passed" in result.stdout
