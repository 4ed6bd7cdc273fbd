"""`pysandbox learn`: what a tool needed, as configuration that works."""

from __future__ import annotations

import json

import yaml
from click.testing import CliRunner

from elf_pysandbox import Files, Policy, SandboxPool
from elf_pysandbox._cli import main

TOOL = """
import sqlite3

def report(path):
    with open(path) as stream:
        return len(stream.read()), sqlite3.sqlite_version
"""


def run(*args: str):
    return CliRunner().invoke(main, ["learn", *args])


def test_what_is_learned_is_what_the_tool_then_runs_with(tmp_path):
    tool, data = tmp_path / "tool.py", tmp_path / "data.txt"
    tool.write_text(TOOL)
    data.write_text("four")
    arguments = ["--arg", f"path={json.dumps(str(data))}"]
    first = run(f"{tool}:report", *arguments)
    assert first.exit_code == 1, "the kernel keeps the file closed in learn mode, too"
    assert yaml.safe_load(first.stdout)["files"]["read"] == [str(data)]

    second = run(f"{tool}:report", *arguments, "--read", str(data))
    assert second.exit_code == 0, second.output
    learned = yaml.safe_load(second.stdout)
    assert learned == {"allowed_imports": ["sqlite3"], "files": {"read": [str(data)]}}

    policy = Policy(
        allowed_imports=tuple(learned["allowed_imports"]), files=Files(read=tuple(learned["files"]["read"]))
    )
    with SandboxPool(1, policy=policy) as pool:
        assert pool.call(f"{tool}:report", str(data))[0] == 4


def test_what_is_learned_stands_there_for_pyproject_too_and_works_in_it(tmp_path, monkeypatch):
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "data.txt").write_text("four")
    words = [f"{tmp_path}/tool.py:report", "--arg", f"path={tmp_path}/data.txt"]
    text = run(*words, "--read", f"{tmp_path}/data.txt").stdout
    (tmp_path / "pyproject.toml").write_text(
        text.partition("In pyproject.toml it is:\n")[2].replace("#   ", "")
    )
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["run", *words]).exit_code == 0
    (tmp_path / "pyproject.toml").unlink()
    assert CliRunner().invoke(main, ["run", *words]).exit_code == 3  # the control


def test_what_another_function_of_the_file_would_be_refused_is_not_this_ones(tmp_path):
    (tmp_path / "tool.py").write_text(
        "def hello():\n    return 1\n\ndef ask():\n    return input()\n\ndef count():\n    return eval('1')\n"
    )
    assert CliRunner().invoke(main, ["run", f"{tmp_path}/tool.py:hello"]).exit_code == 0
    for name in ("hello", "count"):
        assert "nothing beyond the defaults" in run(f"{tmp_path}/tool.py:{name}").stdout
    assert "#   input: `input` is not available" in run(f"{tmp_path}/tool.py:ask").stdout


def test_a_tool_that_needs_nothing_says_so(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text("def plain(n):\n    return n + 1\n")
    result = run(f"{tool}:plain", "--arg", "n=1")
    assert (result.exit_code, yaml.safe_load(result.stdout)) == (0, None)
    assert "nothing beyond the defaults" in result.stdout


def test_arguments_that_do_not_fit_are_the_callers_and_exit_as_those_of_any_call(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text("def half(number: int) -> float:\n    return number / 2\n")
    done = run(f"{tool}:half", "--args", '{"number": "many"}')
    assert done.exit_code == 4
    assert "number" in done.stderr


def test_what_no_setting_grants_is_told_as_a_comment_with_its_rule(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text("def walk():\n    return len(walk.__globals__) > 0\n")
    result = run(f"{tool}:walk")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout) is None
    assert "PSB201" in result.stdout


def test_what_keeps_a_tool_from_being_learned_is_json_for_programs(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text("def f(:\n")
    for target, status in ((f"{tool}:f", "load_failed"), (f"{tmp_path}/none.py:f", "load_failed")):
        done = run(target, "--json")
        assert (done.exit_code, done.stderr) == (5, "")
        assert json.loads(done.stdout)["status"] == status


FORGED = """
import elf_pysandbox_worker.restricted.learning as learning

def plain():
    pass

learning.run = lambda *call: {answer}
"""


def test_what_the_tool_lets_its_process_say_stays_a_comment_and_moves_no_terminal(tmp_path):
    tool = tmp_path / "tool.py"
    noted = {"status": "raised", "error": "\x1b[2J", "imports": {}, "files": {}, "names": {"x": "why"}}
    tool.write_text(FORGED.format(answer=noted))
    result = run(f"{tool}:plain")
    assert "#   x: why" in result.stdout  # the control: it is believed as far as that
    assert "\\x1b[2J" in result.stderr

    noted["names"] = {f"x{end}files: {{write: [/]}}{end}#": "why" for end in ("\n", "\x85", "\u2028")}
    tool.write_text(FORGED.format(answer=noted))
    assert yaml.safe_load(run(f"{tool}:plain").stdout) is None


def test_what_was_noted_in_another_form_is_told_as_a_crash(tmp_path):
    tool = tmp_path / "tool.py"
    for answer in ("[]", "{'status': 'ok', 'error': '', 'imports': {}, 'files': {1: 2}, 'names': {}}"):
        tool.write_text(FORGED.format(answer=answer))
        result = run(f"{tool}:plain")
        assert (result.exit_code, result.stdout) == (137, "")
        assert "crashed: the worker said what it noted in no form" in result.stderr
