"""What the command line says of settings, it says in its own flags."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from elf_pysandbox import ConfigurationError, Hint, SandboxPool
from elf_pysandbox._cli import COMMANDS, flags, main

TOOLS = """
import os

def fork():
    os.fork()

def read(path):
    return open(path).read()

def loop():
    while True:
        pass

def need():
    import sqlite3

def fill():
    return bytearray(1 << 40)
"""


@pytest.fixture
def tool(tmp_path):
    file = tmp_path / "tool.py"
    file.write_text(TOOLS)
    return lambda name: f"{file}:{name}"


def run(*words):
    return CliRunner().invoke(main, ["run", *words])


@pytest.mark.parametrize(
    ("name", "options", "flag"),
    [
        ("fork", ["--profile", "native"], "PYSANDBOX_PROCESSES=N"),
        ("read", ["--arg", "path=/srv/x y", "--profile", "native"], "--read '/srv/x y'"),
        ("loop", ["--timeout", "0.5", "--profile", "native"], "--timeout SECONDS"),
        ("fill", ["--profile", "native"], "--memory MIB"),
    ],
)
def test_a_refusal_names_the_flag_that_would_allow_it_and_no_python(tool, name, options, flag):
    done = run(tool(name), *options)
    assert f"To change that: {flag}" in done.stderr
    assert not any(words in done.stderr for words in ("Limits(", "Files(", "Policy("))


def test_the_policy_names_flags_as_well(tmp_path):
    (tmp_path / "tool.py").write_text("def need():\n    import sqlite3\n\ndef read():\n    open('/x')\n")
    assert "To change that: --allow-import MODULE" in run(f"{tmp_path / 'tool.py'}:need").stderr
    assert "To change that: --read /x" in run(f"{tmp_path / 'tool.py'}:read").stderr


def test_the_same_refusal_names_python_in_python(tool):
    with SandboxPool(1) as pool, pytest.raises(PermissionError) as caught:
        pool.call(tool("need").replace("need", "read"), "/srv/x")
    assert "Policy(files=Files(read=('/srv/x',)))" in str(caught.value) or "allowed_imports" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--timeout", "-1"], "--timeout must be more than 0, not -1"),
        (["--memory", "1"], "--memory must be 32 or more, not 1"),
        (["--env", "A=b"], "--env takes names, not assignments: 'A=b'"),
        (["--scratch", "-1"], "--scratch must be 0 or more"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_by_its_flag(tool, words, said):
    done = run(tool("loop"), *words)
    assert done.exit_code == 2
    assert f"Error: {said}" in done.stderr


def test_every_flag_that_a_hint_can_name_exists():
    pages = "".join(CliRunner().invoke(main, [name, "--help"]).output for name in COMMANDS)
    assert [flag for flag, _ in flags._FLAGS.values() if flag not in pages] == []


def test_a_hint_without_a_flag_names_its_variable_and_errors_keep_their_origin():
    assert flags.in_flags(Hint("file_mb")) == "PYSANDBOX_FILE_MB=N"
    error = ConfigurationError.about("Limits", "wall_s", "must be more than 0, not 0")
    assert flags.told(error) == str(error) == "Limits.wall_s must be more than 0, not 0"


@pytest.mark.parametrize(
    ("source", "variable", "flag"),
    [
        (
            "import time\ntime.sleep(60)\ndef f():\n    pass\n",
            {"PYSANDBOX_LOAD_S": "0.5"},
            "PYSANDBOX_LOAD_S=N",
        ),
        ("def f():\n    return 'x' * 9000\n", {"PYSANDBOX_RESULT_BYTES": "999"}, "PYSANDBOX_RESULT_BYTES=N"),
        ("def f():\n    print('x' * 9000)\n", {"PYSANDBOX_OUTPUT_BYTES": "999"}, "PYSANDBOX_OUTPUT_BYTES=N"),
    ],
    ids=["load", "result", "output"],
)
def test_a_limit_without_a_flag_is_named_by_its_variable(tmp_path, source, variable, flag):
    (tmp_path / "tool.py").write_text(source)
    done = CliRunner().invoke(main, ["run", f"{tmp_path / 'tool.py'}:f"], env=variable)
    assert f"To change that: {flag}" in done.stderr
