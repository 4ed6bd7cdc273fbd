"""`pysandbox workflow`: what it prints, its exit codes, and that nothing runs of a document that is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from elf_pysandbox._cli import main
from elf_pysandbox._cli.exits import EXIT_OF_STATUS
from tests.config.conftest import folder as folder
from tests.config.malformed import CORPUS, Malformed
from tests.integrations.conftest import EXAMPLES
from tests.processes import children, descendants, survivors

pytest.importorskip("langgraph")


def pysandbox(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["workflow", *arguments])


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize("malformed", CORPUS, ids=lambda case: case.name)
def test_a_malformed_document_ends_with_2_and_its_place_and_nothing_runs(
    malformed: Malformed, command: str, folder: Path
) -> None:
    path = folder / "flow.yaml"
    path.write_bytes(malformed.text if isinstance(malformed.text, bytes) else malformed.text.encode())
    before = children(os.getpid())  # a pool of other tests may fork below its own at any time
    result = pysandbox(command, str(path))
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"{folder / malformed.file}:{malformed.at}: ")
    assert malformed.says in line
    assert children(os.getpid()) <= before


def test_run_prints_the_final_state_and_shows_progress(examples: Path) -> None:
    result = pysandbox(
        "run", str(examples / "orders.yaml"), "--state", json.dumps({"folder": str(examples / "scratch")})
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["value"] == 108.5
    assert "↻ fetch: attempt 2 ended raised" in result.stderr
    assert "✗ publish raised" in result.stderr
    assert "✓ archive" in result.stderr


@pytest.mark.parametrize(
    ("body", "settings", "code"),
    [
        ("def f(): raise ValueError('no')", "", 1),
        ("def f():\n    while True: pass", ", timeout: 0.3", 124),
        ("def f(): return len(bytes(2**30))", ", memory_limit_mb: 64", 137),
        ("f = lambda x: x", "", 4),
        ("def f(): return 'x'", ", return_type: int", 6),
        ("f = None", "", 5),
        ("import socket\ndef f(): return socket.socket()", ", profile: native", 3),
    ],
)
def test_a_failing_node_decides_the_exit_code(body: str, settings: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(body + "\n")
    path = tmp_path / "flow.yaml"
    path.write_text(
        f"functions:\n  python_functions:\n    - {{name: f, file: t.py, function: f{settings}}}\n"
    )
    result = pysandbox("run", "-q", str(path))
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert f"in node 'f', {path} line 3" in result.stderr
    statuses = [status for status, each in EXIT_OF_STATUS.items() if each == code and status != "raised"]
    assert not statuses or any(f"{status}: " in result.stderr for status in statuses)
    assert "elf_pysandbox_worker" not in result.stderr


def test_what_a_limit_ended_names_the_key_that_changes_it(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("def f():\n    while True: pass\n")
    path = tmp_path / "flow.yaml"
    path.write_text(
        "functions:\n  python_functions:\n    - {name: f, file: t.py, function: f, timeout: 0.3}\n"
    )
    result = pysandbox("run", "-q", str(path))
    assert "To change that: timeout: …" in result.stderr
    assert "Limits(" not in result.stderr


@pytest.mark.parametrize("state", ["[1]", "{", "@nowhere.json", '{"_x": 1}'])
def test_a_state_that_cannot_be_used_ends_with_2(state: str) -> None:
    assert pysandbox("run", str(EXAMPLES / "specification.yaml"), "--state", state).exit_code == 2


def test_validate_graph_and_schema_print_what_they_found(tmp_path: Path) -> None:
    assert "ok, 8 nodes" in pysandbox("validate", str(EXAMPLES / "orders.yaml")).stdout
    assert pysandbox("graph", str(EXAMPLES / "orders.yaml")).stdout.startswith("flowchart TD")
    assert pysandbox("graph", str(EXAMPLES / "orders.yaml"), "--svg", str(tmp_path / "o.svg")).exit_code == 0
    assert (tmp_path / "o.svg").read_text().startswith("<svg")
    schema = json.loads(pysandbox("schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert json.loads((EXAMPLES / "workflow.schema.json").read_text()) == schema


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "elf_pysandbox", "workflow", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)


def test_ctrl_c_ends_the_calls_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("def f():\n    while True: pass\n")
    path = tmp_path / "flow.yaml"
    path.write_text("functions:\n  python_functions:\n    - {name: f, file: t.py, function: f}\n")
    process = started("run", str(path))
    assert process.stderr is not None
    assert "… f" in process.stderr.readline()
    inside = descendants(process.pid)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert survivors(inside) == set()


def test_watch_runs_again_when_a_tool_or_the_document_changes(tmp_path: Path) -> None:
    tool, path = tmp_path / "t.py", tmp_path / "flow.yaml"
    tool.write_text("def f(): return 'one'\n")
    path.write_text("functions:\n  python_functions:\n    - {name: f, file: t.py, function: f}\n")
    process = started("run", "-q", "--watch", str(path))
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        for change, seen in (
            (lambda: None, '"f": "one"'),
            (lambda: tool.write_text("def f(): return 'second'\n"), '"f": "second"'),
            (
                lambda: path.write_text(path.read_text().replace("name: f", "name: renamed")),
                '"renamed": "second"',
            ),
        ):
            change()
            lines = [process.stdout.readline() for _ in range(3)]
            assert seen in "".join(lines)
            assert "watching 2 files" in process.stderr.readline()
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130


def test_settings_of_the_environment_hold_for_nodes_that_name_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flow.yaml").write_text(
        "functions:\n  python_functions:\n    - name: long\n      function: f\n"
        "      source: |\n        def f():\n            while True:\n                pass\n"
    )
    monkeypatch.setenv("PYSANDBOX_WALL_S", "0.5")
    result = pysandbox("run", str(tmp_path / "flow.yaml"))
    assert result.exit_code == 124, result.output
    assert "wall_s=0.5" in result.stderr
