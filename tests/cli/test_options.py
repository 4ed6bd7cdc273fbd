"""What is given on the command line or in the environment and cannot be used ends with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

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
