"""JSON given with an option: where it came from is told, and what a file of another system holds is read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from elf_pysandbox._cli import main

ECHO = "def echo(x=None):\n    return x\n"


@pytest.fixture
def tool(tmp_path: Path) -> str:
    (tmp_path / "tool.py").write_text(ECHO)
    return f"{tmp_path}/tool.py:echo"


def run(*words: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["run", *words], input=given)


def test_a_byte_order_mark_before_the_arguments_is_passed_over(tool: str, tmp_path: Path) -> None:
    (tmp_path / "args.json").write_bytes(b'\xef\xbb\xbf{"x": "\xc3\x9f"}')
    assert run(tool, "--args", f"@{tmp_path}/args.json").output == "ß\n"
    assert run(tool, "--args", "-", given=b"\xef\xbb\xbf[7]").output == "7\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{bad", "is no JSON: Expecting property name"),
        (b"", "is empty: it must hold JSON"),
        (b'"\xff"', "cannot be read: 'utf-8' codec"),
        (b'{"x": 1, "x": 2}', 'cannot be used: the key "x" stands there twice'),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_wrong_with_a_file_of_arguments_is_told_by_its_name_without_advice_on_quoting(
    tool: str, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "args.json").write_bytes(content)
    done = run(tool, "--args", f"@{tmp_path}/args.json")
    assert done.exit_code == 2
    assert f"--args '@{tmp_path}/args.json' {words}" in done.stderr
    assert "Quote" not in done.stderr


LONG = "1" * 5000


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["--args", f"[{LONG}]"], "--args cannot be used: the number at line 1 column 2 "),
        (
            ["--args", f'["{LONG}", 1.{LONG}, 0e0{LONG},\n -{LONG}]'],
            "--args cannot be used: the number at line 2 column 2 ",
        ),
        (["--arg", f"x={LONG}"], "--arg x cannot be used: the number at line 1 column 1 "),
    ],
    ids=["whole", "among others", "one"],
)
def test_a_number_that_python_does_not_read_is_told_where_it_stands_and_what_to_do(
    tool: str, words: list[str], place: str
) -> None:
    done = run(tool, *words)
    assert done.exit_code == 2
    what = "has 5000 digits, and Python reads 4300: write it as text, in quotes, or set PYTHONINTMAXSTRDIGITS=5000\n"
    assert done.stderr.endswith(f"Error: {place}{what}")
    assert run(tool, "--arg", f'x="{LONG}"').stdout == f"{LONG}\n"
    command = [sys.executable, "-m", "elf_pysandbox", "run", tool, "--arg", f"x={LONG}"]
    environ = {**os.environ, "PYTHONINTMAXSTRDIGITS": "5000"}
    assert (
        subprocess.run(command, env=environ, capture_output=True, check=False).stdout == f"{LONG}\n".encode()
    )


def test_empty_standard_input_is_told_as_such(tool: str) -> None:
    assert "--args '-' is empty" in run(tool, "--args", "-", given=b"").stderr


@pytest.mark.parametrize(
    ("text", "kind"), [("null", "null"), ("3", "a number"), ('"a"', "a string"), ("true", "a boolean")]
)
def test_a_value_of_another_kind_is_named_as_json_names_it(tool: str, text: str, kind: str) -> None:
    assert f"must be a JSON object or array, not {kind}\n" in run(tool, "--args", text).stderr


def test_a_state_is_read_and_told_like_arguments(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{bad")
    words = ["workflow", "run", "flow.yaml", "--state"]
    done = CliRunner().invoke(main, [*words, f"@{tmp_path}/state.json"])
    assert (done.exit_code, "state.json' is no JSON: Expecting" in done.stderr) == (2, True)
    assert "must be a JSON object, not an array" in CliRunner().invoke(main, [*words, "[]"]).stderr


def test_standard_input_is_utf_8_whatever_the_locale_says(tool: str) -> None:
    command = [sys.executable, "-m", "elf_pysandbox", "run", tool, "--args", "-", "--json"]
    environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, input='["ß"]'.encode(), env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["value"] == "ß"
    assert "cannot be read: 'utf-8' codec" in run(tool, "--args", "-", given=b'["\xff"]').stderr
