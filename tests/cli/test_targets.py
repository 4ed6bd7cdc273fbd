"""A target that cannot be one is a slip of the hand: exit code 2, and how to write it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from elf_pysandbox._cli import main

TEXT = str(Path(__file__).parents[2] / "examples" / "text_tools.py")
COMMANDS = (
    ["run"],
    ["map", "--input", TEXT, "-o", "out"],
    ["watch"],
    ["learn"],
    ["inspect"],
    ["schema"],
    ["profile"],
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_target_without_a_function_is_a_usage_error_in_every_command(words):
    done = CliRunner().invoke(main, [words[0], "foo.py", *words[1:]])
    assert done.exit_code == 2
    assert "'foo.py' names no function. Write 'foo.py:FUNCTION'" in done.output


@pytest.mark.parametrize("place", ["/dev/null", "pipe.py"])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_pipe_or_device_is_not_told_as_a_file_that_is_missing(tmp_path, monkeypatch, words, place):
    os.mkfifo(tmp_path / "pipe.py")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [words[0], f"{place}:f", *words[1:]])
    assert done.exit_code == 2
    assert f"{place!r} is a pipe or a device, no regular file: save the source to one first" in done.stderr


@pytest.mark.parametrize("words", [["list"], ["save", "-o", "set.json"]], ids=lambda words: words[0])
def test_a_pipe_or_device_is_refused_as_a_target_as_it_is_whole(words):
    for place in ("/dev/null", "/dev/null:f"):
        done = CliRunner().invoke(main, [words[0], place, *words[1:]])
        assert done.exit_code == 2
        assert "'/dev/null' is neither a file nor a folder" in done.stderr


@pytest.mark.parametrize("command", ["run", "learn", "inspect", "schema", "profile"])
def test_a_module_is_looked_for_in_the_working_folder_and_not_below_it(tmp_path, monkeypatch, command):
    (tmp_path / "here_only.py").write_text("import beside\n\ndef f() -> int:\n    return beside.ONE\n")
    (tmp_path / "beside.py").write_text("ONE = 1\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "yet_lower.py").write_text("def f() -> int:\n    return 1\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    done = CliRunner().invoke(main, [command, "here_only:f"])
    assert (done.exit_code, sys.path) == (0, before), done.output
    assert CliRunner().invoke(main, [command, "yet_lower:f"]).exit_code == 5


def test_whoever_asks_for_safe_paths_gets_no_module_of_the_working_folder(tmp_path):
    (tmp_path / "here_only.py").write_text("def f():\n    return 1\n")
    command = [sys.executable, "-m", "elf_pysandbox", "run", "here_only:f"]
    for safe, code in (("", 0), ("1", 5)):
        environ = {**os.environ, "PYTHONSAFEPATH": safe}
        assert subprocess.run(command, cwd=tmp_path, env=environ, check=False).returncode == code


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        (TEXT, f"Write '{TEXT}:word_count'; it has word_count, shout, lines"),
        (f"{TEXT}:", f"Write '{TEXT}:word_count'"),
        ("my_tools.text.word_count", "Write 'my_tools.text:word_count'"),
        ("nonsense", "Write 'file.py:function' or 'package.module:function'"),
        (":count", "write 'file.py:count'"),
        ("tools.py:a b", "'a b' is no function's name"),
        ("two words:f", "'two words' is neither a Python file (*.py) nor a module's name"),
    ],
)
def test_a_malformed_target_is_told_with_how_to_write_it(target, hint):
    done = CliRunner().invoke(main, ["run", target])
    assert done.exit_code == 2
    assert hint in done.output


def test_what_cannot_be_called_and_what_no_set_has_are_told_in_one_sentence(tmp_path):
    (tmp_path / "tool.py").write_text("VALUE = 3\n\ndef hello():\n    return 1\n")
    done = CliRunner().invoke(main, ["run", f"{tmp_path}/tool.py:VALUE"])
    assert done.stderr == "not_found: tool.VALUE is an int, not something that can be called\n"
    CliRunner().invoke(main, ["save", f"{tmp_path}/tool.py", "-o", f"{tmp_path}/set.json"])
    done = CliRunner().invoke(main, ["call", f"{tmp_path}/set.json", "helo"])
    assert done.stderr.endswith(f"{tmp_path}/set.json: there is no tool 'helo'; did you mean 'hello'?\n")


@pytest.mark.parametrize("profile", ["restricted", "native"])
def test_a_misspelt_function_is_not_found_and_the_nearest_is_named(tmp_path, profile):
    (tmp_path / "tool.py").write_text(
        "class Box:\n    def open_it(self):\n        pass\n\ndef hello():\n    return 1\n"
    )
    for name, nearest in (("helo", "hello"), ("Box.open", "open_it")):
        done = CliRunner().invoke(main, ["run", f"{tmp_path}/tool.py:{name}", "--profile", profile])
        assert done.exit_code == 5
        assert done.stderr.startswith("not_found: ")
        assert f"did you mean '{nearest}'?" in done.stderr


def test_a_well_formed_target_that_is_not_there_is_not_found():
    done = CliRunner().invoke(main, ["run", "no_such_file.py:f"])
    assert done.exit_code == 5
    assert "no source file" in done.output


def test_a_folder_named_like_a_file_is_told_as_a_folder(tmp_path):
    (tmp_path / "dir.py").mkdir()
    done = CliRunner().invoke(main, ["run", f"{tmp_path}/dir.py:f"])
    assert done.exit_code == 5
    assert (
        f"'{tmp_path}/dir.py' is a folder without __init__.py: it holds no function; name a file in it"
        in done.stderr
    )
    (tmp_path / "dir.py" / "__init__.py").write_text("def f():\n    return 1\n")
    assert CliRunner().invoke(main, ["run", f"{tmp_path}/dir.py:f"]).stdout == "1\n"
