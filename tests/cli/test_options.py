"""What is given on the command line or in the environment and cannot be used ends with exit code 2."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import elf_pysandbox._cli
import elf_pysandbox._map
from elf_pysandbox._cli import main

TOOL = f"{Path(__file__).parents[2] / 'examples' / 'text_tools.py'}:word_count"


def run(*words, **environ):
    return CliRunner().invoke(main, ["run", TOOL, *words], env=environ)


@pytest.mark.parametrize("command", ["run", "check", "workflow run", "elf"])
def test_an_import_that_is_no_module_name_is_refused_by_every_command(command):
    done = CliRunner().invoke(main, [*command.split(), TOOL, "--allow-import", "not a module"])
    if command == "elf":  # Its own options come first.
        done = CliRunner().invoke(main, ["elf", "--allow-import", "not a module"])
    assert done.exit_code == 2
    assert "'--allow-import': 'not a module' is no module's name" in done.output


def test_a_misspelt_variable_is_one_warning_and_the_call_is_made():
    done = run("--arg", "text=a b", "--json", PYSANDBOX_WALLS="1")
    assert done.exit_code == 0
    assert done.stderr == "warning: PYSANDBOX_WALLS is no setting; did you mean PYSANDBOX_WALL_S?\n"
    assert json.loads(done.stdout)["status"] == "ok"
    assert run("--arg", "text=a b", PYSANDBOX_WALL_S="9").stderr == ""  # the control
    for words in (["config"], ["config", "--json"]):
        told = CliRunner().invoke(main, words, env={"PYSANDBOX_WALLS": "1"})
        assert told.stderr == done.stderr


def test_a_key_that_stands_twice_in_the_arguments_is_refused():
    done = run("--args", '{"text": "a", "text": "b"}')
    assert done.exit_code == 2
    assert 'the key "text" stands there twice' in done.output
    assert run("--arg", 'text={"a": 1, "a": 2}').exit_code == 2


def test_an_argument_that_is_given_twice_is_refused():
    done = run("--arg", "text=a", "--arg", "text=b")
    assert done.exit_code == 2
    assert "--arg gives 'text' twice" in done.output


def test_arguments_that_are_no_json_are_told_with_how_to_quote_them():
    done = run("--args", "{text: 1}")
    assert done.exit_code == 2
    assert "--args is no JSON" in done.output
    assert "Quote the object" in done.output


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PYSANDBOX_PROFILE", "trusted", "restricted or native"),
        ("PYSANDBOX_PROFILE", "open", "restricted"),
        ("PYSANDBOX_MEMORY_MB", "lots", "a whole number"),
        ("PYSANDBOX_WALL_S", "-1", "more than 0"),
        ("PYSANDBOX_LAYERS", "seccomp=maybe", "require, prefer or off"),
        ("PYSANDBOX_ALLOWED_IMPORTS", "not a module", "no module's name"),
        ("PYSANDBOX_ENV", "A=b", "names, not assignments"),
        ("PYSANDBOX_PYPROJECT", "/nowhere/pyproject.toml", "No such file"),
    ],
)
def test_a_bad_variable_is_one_clear_error_that_names_it(name, value, words):
    done = run("--arg", "text=a", **{name: value})
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert (value if name.endswith("PYPROJECT") else name) in done.output
    assert "Traceback" not in done.output


def test_a_variable_that_is_not_set_is_told_once_and_the_call_is_made():
    done = run("--arg", "text=a", "--env", "NOT_SET_ANYWHERE", "--env", "NOT_SET_ANYWHERE")
    assert done.exit_code == 0, done.output
    assert done.stderr == "warning: --env NOT_SET_ANYWHERE: no such variable is set, so the tool gets none\n"


def test_a_variable_without_a_name_is_told_as_that():
    for words in (["run", TOOL], ["workflow", "run", "flow.yaml"]):
        done = CliRunner().invoke(main, [*words, "--env", ""])
        assert done.exit_code == 2
        assert done.stderr.endswith("Error: Invalid value for '--env': no variable has an empty name\n")


@pytest.mark.parametrize("settings", [{}, {"PYSANDBOX_ENV": "ODD"}], ids=["option", "setting"])
def test_a_variable_that_is_no_text_is_told_by_its_name_and_without_its_value(settings):
    words = ["--arg", "text=a", *([] if settings else ["--env", "ODD"])]
    done = run(*words, ODD=os.fsdecode(b"secret\xff"), **settings)
    assert done.exit_code == 2
    assert "the value of the variable ODD is not valid UTF-8" in done.stderr
    assert "leave it out of --env" in done.stderr
    assert "secret" not in done.stderr
    assert run(*words, ODD="secret", **settings).exit_code == 0


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["run", TOOL, "--args", '["a"]', "--args", '["b"]'], "--args"),
        (["map", TOOL, "--input", __file__, "--output", "o", "--args", "{}", "--args", "{}"], "--args"),
        (["workflow", "run", "flow.yaml", "--state", "{}", "--state", "{}"], "--state"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else None,
)
def test_arguments_that_are_given_whole_twice_are_refused(words, option):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert done.stderr.endswith(f"Error: {option} is given twice\n")


@pytest.mark.parametrize("value", ["", "x"])
def test_a_variable_that_is_set_is_passed_on_without_a_word(value):
    done = run("--arg", "text=a", "--env", "SET_HERE", SET_HERE=value)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""


def test_a_grant_of_what_is_not_there_is_refused():
    done = run("--arg", "text=a", "--read", "/nowhere/at/all")
    assert done.exit_code == 2
    assert "'/nowhere/at/all' does not exist" in done.output


@pytest.fixture
def closed(tmp_path):
    """A folder with a Python file that an ordinary user may not look into."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "x.py").write_text("def f():\n    return 1\n")
    tmp_path.chmod(0o755)  # Open to the child, which is in it.
    folder.chmod(0)
    yield folder
    folder.chmod(0o755)


def as_ordinary_user(words, folder="/"):
    """Return exit code and output of a command that a child runs in a folder without the rights of root."""
    for package in (elf_pysandbox._cli, elf_pysandbox._map):  # All is imported before the rights go.
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    CliRunner().invoke(main, ["list", TOOL.rpartition(":")[0]])
    CliRunner().invoke(main, ["check", "/nowhere.py"])
    CliRunner().invoke(main, ["run", "/nowhere.py:f", "--read", "/"])
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(folder)  # While it may: the way there can be closed as well.
            if os.geteuid() == 0:
                os.setresuid(1000, 1000, 1000)
            done = CliRunner().invoke(main, words)
            os.write(theirs, f"{done.exit_code} {done.output} {done.exception!r}".encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as file:
        code, _, told = file.read().partition(" ")
    os.waitpid(pid, 0)
    return int(code), told


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", TOOL, "--read", "{}/x"], 2),
        (["run", TOOL, "--write", "{}/x"], 2),
        (["map", TOOL, "--input", __file__, "--output", "{}/o.jsonl"], 2),
        (["map", TOOL, "--input", "{}/x", "--output", "/nowhere/o"], 2),
        (["verify", TOOL, "--key-file", "{}/key"], 2),
        (["check", "{}/x"], 2),
        (["list", "{}/x.py"], 5),
        (["save", "{}/x.py", "-o", "/nowhere/o"], 5),
        (["run", "{}/x.py:f"], 5),
    ],
    ids=lambda words: " ".join(words[:1] + words[2:3]) if isinstance(words, list) else None,
)
def test_a_path_below_a_closed_folder_is_told_in_one_line_as_that(closed, words, code):
    ended, told = as_ordinary_user([word.format(closed) for word in words])
    assert ended == code, told
    assert "Permission denied" in told
    assert "PermissionError" not in told
    assert "no source file" not in told
    assert "does not exist" not in told


@pytest.mark.parametrize(("command", "code"), [("check", 2), ("list", 5)])
def test_a_closed_folder_itself_is_told_and_not_taken_for_an_empty_one(closed, command, code):
    ended, told = as_ordinary_user([command, closed.name], closed.parent)
    assert ended == code, told
    assert "Permission denied" in told
    assert "PermissionError" not in told
    assert "no Python file" not in told
