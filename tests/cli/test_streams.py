"""Closed standard streams: one clear error where the command needs them, none where it does not."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

CLOSED = "error: standard output is closed; to do without it: >/dev/null\n"


@pytest.fixture
def shell(tmp_path):
    (tmp_path / "tool.py").write_text(
        "def one(x=1):\n    print('said')\n    return x\n\ndef fails():\n    raise ValueError\n"
    )

    def ends(command):
        """Return exit code, standard output and error of a command line that sh(1) reads."""
        line = f'"{sys.executable}" -m elf_pysandbox {command}'
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return ends


@pytest.mark.parametrize("options", ["", " --json"])
def test_without_standard_output_nothing_is_run(shell, options):
    (code, out, err) = shell(f"run tool.py:one{options} >&-")
    assert (code, out, err) == (2, "", CLOSED)
    assert shell(f"run tool.py:one{options} >/dev/null")[0] == 0


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&- 2>&-"])
def test_without_any_stream_the_exit_code_still_says_so(shell, closed):
    assert shell(f"run tool.py:one {closed}") == (2, "", "")


@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-"])
def test_without_standard_error_commands_end_as_ever(shell, closed):
    assert shell(f"run tool.py:one {closed}") == (0, "said\n1\n", "")
    assert shell(f"run tool.py:fails {closed}") == (1, "", "")
    assert shell(f"run tool.py:absent {closed}") == (5, "", "")
    assert shell(f"run tool.py {closed}") == (2, "", "")
    assert shell(f"check tool.py {closed}") == (0, "", "")


def test_arguments_from_a_closed_standard_input_are_told_as_that(shell):
    code, out, err = shell("run tool.py:one --args - <&-")
    assert (code, out) == (2, "")
    assert err.endswith("Error: --args '-' cannot be read: standard input is closed\n")
    assert shell("run tool.py:one <&-") == (0, "said\n1\n", "")


@pytest.mark.parametrize(
    ("given", "why"), [("<&-", "standard input is closed"), ("0>/dev/null", "Bad file descriptor")]
)
def test_source_from_a_standard_input_that_cannot_be_read_is_told_and_files_are_checked(shell, given, why):
    code, _, err = shell(f"check - tool.py {given}")
    assert code == 2
    assert err.endswith(f"error: cannot read -: {why}\n")
    assert err.startswith("1 file checked: no findings\n")


LARGE = """
def large():
    return "x" * 3_000_000

def many():
    for number in range(20_000):
        yield number
"""


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def surroundings(request, tmp_path):
    (tmp_path / "tool.py").write_text(LARGE)
    return {"cwd": tmp_path, "env": os.environ | {"PYTHONUNBUFFERED": request.param}}


def command(*words):
    return [sys.executable, "-m", "elf_pysandbox", "run", *words]


@pytest.mark.parametrize(
    ("words", "length"),
    [(["tool.py:large"], 3_000_001), (["tool.py:large", "--json"], 3_000_000), (["tool.py:many"], 108_890)],
    ids=["value", "json", "items"],
)
def test_a_pipe_that_does_not_block_gets_all_that_is_written_at_its_readers_pace(surroundings, words, length):
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with subprocess.Popen(command(*words), stdout=writes, stderr=subprocess.PIPE, **surroundings) as process:
        os.close(writes)
        select.select([reads], [], [])
        with open(reads, "rb") as pipe:
            assert len(pipe.read()) >= length
    assert process.returncode == 0


def test_a_reader_that_leaves_early_is_told_by_the_exit_code(surroundings):
    with subprocess.Popen(command("tool.py:large"), stdout=subprocess.PIPE, **surroundings) as process:
        process.stdout.read(4)
        process.stdout.close()
    assert process.returncode == 141
