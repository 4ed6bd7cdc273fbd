"""`pysandbox watch`: a run on every save, with what changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = "from helper import factor\n\ndef scale(n):\n    return {'value': n * factor(), 'same': True}\n"
HELPER = "def factor():\n    return 1\n"


@pytest.fixture
def watching(tmp_path):
    """A watch of two runs more than the first, and a reader of its lines."""
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "helper.py").write_text(HELPER)
    command = [
        sys.executable,
        "-m",
        "elf_pysandbox",
        "watch",
        "tool.py:scale",
        "--args",
        "[2]",
        "--runs",
        "3",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process, lambda text: _until(process, text)
    finally:
        process.kill()
        process.communicate()


def _until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError("\n".join(lines))


def test_a_save_runs_the_tool_again_and_shows_what_changed(watching, tmp_path):
    process, until = watching
    assert '  "value": 2,' in until("}")
    save_by_renaming(tmp_path / "tool.py", TOOL.replace("n *", "10 * n *"))
    shown = until('+  "value"')
    assert any("tool.py" in line for line in shown)
    assert '-  "value": 2,' in shown
    assert shown[-1] == '+  "value": 20,'
    save_by_renaming(tmp_path / "tool.py", TOOL)
    until('+  "value": 2,')
    assert process.wait(30) == 0


def test_a_save_of_an_imported_module_and_a_broken_one_are_seen(watching, tmp_path):
    process, until = watching
    until("}")
    save_by_renaming(tmp_path / "helper.py", "def factor(:\n    return 3\n")
    shown = until("load_failed")
    assert any("helper.py" in line for line in shown)
    save_by_renaming(tmp_path / "helper.py", HELPER.replace("1", "3"))
    until('+  "value": 6,')
    assert process.wait(30) == 0


def test_each_save_is_checked_again_for_what_the_call_did_not_come_across(watching, tmp_path):
    _, until = watching
    until("}")
    save_by_renaming(tmp_path / "tool.py", TOOL + "\n\ndef other():\n    import subprocess\n")
    shown = until("PSB301")
    assert any(line.startswith("tool.py:8:") for line in shown)


def save_by_renaming(path: Path, text: str) -> None:
    """Save as many editors do: a file that is written in place can be seen empty, which costs a run."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(path)


def watch(tmp_path, *words):
    command = [sys.executable, "-m", "elf_pysandbox", "watch", *words]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("tool.py:scales", 5, "did you mean"),
        ("nothing.py:f", 5, "no source file"),
        ("no_such_module.at_all:f", 5, "no module"),
        ("json:dumps", 2, "nothing to watch"),
    ],
)
def test_what_is_not_there_at_the_start_is_told_at_once(tmp_path, target, code, words):
    save_by_renaming(tmp_path / "tool.py", "def scale(n):\n    return n\n")
    done = watch(tmp_path, target)
    assert done.returncode == code
    assert words in done.stderr


@pytest.mark.parametrize(("n", "code"), [("1", 0), ("0", 1), ('"a"', 1)])
def test_with_a_number_of_runs_the_exit_code_is_that_of_the_last_one(tmp_path, n, code):
    save_by_renaming(tmp_path / "tool.py", "def half(n):\n    return 1 / n\n")
    assert watch(tmp_path, "tool.py:half", "--arg", f"n={n}", "--runs", "1").returncode == code


def test_a_module_that_does_not_load_is_waited_for(tmp_path):
    save_by_renaming(tmp_path / "tool.py", "def half(:\n")
    command = [sys.executable, "-m", "elf_pysandbox", "watch", "tool.py:half", "--arg", "n=4", "--runs", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        _until(process, "watching tool.py; Ctrl-C ends")
        save_by_renaming(tmp_path / "tool.py", "def half(n):\n    return n / 2\n")
        _until(process, "2.0")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
