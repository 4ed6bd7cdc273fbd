"""Completion: the scripts, and what they complete."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from elf_pysandbox._cli import COMMANDS, main


@pytest.mark.parametrize(
    ("shell", "text"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --")]
)
def test_each_shell_gets_its_script(shell, text):
    ended = CliRunner().invoke(main, ["completion", shell])
    assert ended.exit_code == 0
    assert text in ended.output


def test_without_a_name_the_shell_is_the_one_of_the_environment():
    assert "complete -o" in CliRunner().invoke(main, ["completion"], env={"SHELL": "/bin/bash"}).output
    assert CliRunner().invoke(main, ["completion"], env={"SHELL": "/bin/tcsh"}).exit_code == 2


def complete(words):
    environ = {**os.environ, "_PYSANDBOX_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environ["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    code = "import sys; sys.argv[0] = 'pysandbox'; from elf_pysandbox._cli import main; main(prog_name='pysandbox')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_options_and_the_functions_of_a_file_are_completed():
    assert set(complete("pysandbox ")) == set(COMMANDS)
    assert "--speedscope" in complete("pysandbox profile x --spee")
    assert complete("pysandbox profile fixtures/kit/hot.py:an") == ["fixtures/kit/hot.py:analyse"]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_help_page_with_examples(name):
    ended = CliRunner().invoke(main, [name, "--help"])
    assert ended.exit_code == 0
    assert name == "doctor" or "Examples:" in ended.output
