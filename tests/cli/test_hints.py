"""A hint for writing can be followed as it stands: what was refused once is done the second time."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import yaml
from click.testing import CliRunner

from elf_pysandbox import Files, Hint, Policy, SandboxPool
from elf_pysandbox._cli import main

TOOL = """
from pathlib import Path

def plain(path):
    with open(
        path,
        "w",
    ) as file:
        return file.write("four")

def by_name(path, mode="a+b"):
    with open(path, mode) as file:
        return file.write(b"four")

def by_path(path):
    return Path(path).write_text("four")
"""
OTHERS = """
import os
import pathlib

def folders(path):
    os.makedirs(path + "/2026/11")
    return 4

def parents(path):
    pathlib.Path(path).mkdir(parents=True)
    return 4

def flags(path):
    return os.write(os.open(path, os.O_CREAT | os.O_WRONLY), b"four")
"""


def run(*words):
    return CliRunner().invoke(main, ["run", *map(str, words)])


def hint_of(done):
    return shlex.split(re.search("To change that: (.*)", done.stderr)[1])


@pytest.fixture
def tool(tmp_path):
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "others.py").write_text(OTHERS)
    (tmp_path / "out").mkdir()
    return tmp_path / "tool.py"


@pytest.mark.parametrize("below", ["new", "not/there/yet"])
@pytest.mark.parametrize("function", ["plain", "by_name", "by_path"])
@pytest.mark.parametrize("profile", ["native", "restricted"])
def test_a_file_to_be_made_is_hinted_by_the_nearest_folder_there_is(tool, profile, function, below):
    out = tool.parent / "out"
    words = (f"{tool}:{function}", "--profile", profile, "--arg", f"path={out / below}")
    assert hint_of(run(*words)) == ["--write", str(out)]
    if below == "new":
        assert hint_of(run(*words, "--read", out)) == ["--write", str(out)]
    followed = run(*words, "--write", out)
    # Where folders are missing too, what is left is the tool's own mistake: no grant is.
    assert (followed.exit_code, "To change that" in followed.stderr) == (int(below != "new"), False)
    assert (out / "new").exists() == (below == "new")


@pytest.mark.parametrize("function", ["folders", "parents", "flags"])
def test_writing_without_open_is_told_from_reading(tool, function):
    out = tool.parent / "out"
    words = (f"{tool.parent / 'others.py'}:{function}", "--profile", "native", "--arg", f"path={out / 'new'}")
    # Folders on the way that the tool does not see are ones it tries to make.
    assert hint_of(run(*words)) == ["--write", str(out)]
    assert run(*words, "--write", out).stdout == "4\n"


def test_a_file_that_is_there_is_hinted_itself_and_reading_stays_reading(tool):
    there = tool.parent / "there"
    there.write_text("one")
    assert hint_of(run(f"{tool}:plain", "--arg", f"path={there}")) == ["--write", str(there)]
    assert run(f"{tool}:plain", "--arg", f"path={there}", "--write", there).stdout == "4\n"
    (tool.parent / "reads.py").write_text("def f(path):\n    return open(path.replace('a', 'a')).read()\n")
    for profile in ("native", "restricted"):
        done = run(f"{tool.parent / 'reads.py'}:f", "--arg", f"path={there}", "--profile", profile)
        assert hint_of(done)[:2] == ["--read", str(there)]


@pytest.mark.parametrize("profile", ["native", "restricted"])
def test_a_relative_path_to_write_is_hinted_by_the_calls_own_folder(tool, profile):
    words = (f"{tool}:plain", "--arg", "path=new", "--profile", profile)
    assert hint_of(run(*words)) == ["--scratch", "MIB", "or", "--write", "PATH"]
    assert run(*words, "--scratch", "1").stdout == "4\n"


@pytest.mark.parametrize("options", ["native", "restricted --allow-import tempfile"])
def test_a_temporary_folder_is_hinted_by_scratch(tool, options):
    (tool.parent / "temporary.py").write_text(
        "import tempfile\n\ndef f():\n    with tempfile.TemporaryDirectory():\n        return 4\n"
    )
    words = (f"{tool.parent}/temporary.py:f", "--profile", *options.split())
    assert hint_of(run(*words)) == ["--scratch", "MIB"]
    assert run(*words, "--scratch", "1").stdout == "4\n"


def test_the_root_of_all_is_no_hint(tool):
    assert hint_of(run(f"{tool}:plain", "--arg", "path=/new", "--profile", "native")) == ["--write", "PATH"]
    assert Hint("write", "/not-there/new").granting() == Hint("write", "")
    assert Hint("read", "/not-there/new").granting() == Hint("read", "/not-there/new")


def test_a_hint_in_python_can_be_followed_too(tool):
    out = str(tool.parent / "out")
    with SandboxPool(1) as pool:
        error = pool.outcome(f"{tool}:plain", f"{out}/new").error
    assert error.hints == (Hint("write", out),)
    assert str(error).endswith(f"To change that: Policy(files=Files(write=({out!r},)))")
    with SandboxPool(1, policy=Policy(files=Files(write=(out,)))) as pool:
        assert pool.call(f"{tool}:plain", f"{out}/new") == 4


@pytest.mark.parametrize("function", ["plain", "by_path"])
def test_what_is_learned_of_a_file_to_be_made_can_be_granted(tool, function):
    out = str(tool.parent / "out")
    words = ["learn", f"{tool}:{function}", "--arg", f"path={json.dumps(out + '/new')}"]
    first = CliRunner().invoke(main, words)
    assert yaml.safe_load(first.stdout)["files"] == {"write": [out]}
    assert CliRunner().invoke(main, [*words, "--write", out]).exit_code == 0
    relative = CliRunner().invoke(main, ["learn", f"{tool}:{function}", "--arg", "path=new"])
    assert yaml.safe_load(relative.stdout)["files"] == {"scratch_mb": 16}
