"""Ctrl-C on the command line: one word for people, one JSON object for programs, exit code 130."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from elf_pysandbox import CallCancelledError
from elf_pysandbox._cli.printing import error_fields
from elf_pysandbox._cli.streams import CANCELLED
from tests.kit.processes import workers_of


@pytest.fixture
def interrupted(tmp_path):
    (tmp_path / "tool.py").write_text("def wait():\n    while True:\n        pass\n")

    def ends(*options):
        command = [sys.executable, "-m", "elf_pysandbox", "run", f"{tmp_path}/tool.py:wait", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not workers_of([process.pid]):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return ends


def test_with_json_standard_output_holds_a_cancelled_call(interrupted):
    code, out, err = interrupted("--json")
    assert (code, err) == (130, "")
    told = json.loads(out)
    assert (told["status"], told["value"]) == ("cancelled", None)
    assert told["error"] == {"type": "CallCancelledError", "message": "interrupted"}


def test_without_json_one_word_stands_on_standard_error(interrupted):
    assert interrupted() == (130, "", "interrupted\n")


STOPS = """
import os, signal, sys

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["STOP_AT"]:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Stop())
"""


@pytest.fixture
def stopped_at(tmp_path):
    """Return how a command ends that gets SIGINT when it begins to import a module."""
    (tmp_path / "tool.py").write_text("def f():\n    return 1\n")
    (tmp_path / "sitecustomize.py").write_text(STOPS)

    def ends(module, *options):
        path = os.pathsep.join([str(tmp_path), *sys.path])
        command = [sys.executable, "-m", "elf_pysandbox", "run", f"{tmp_path}/tool.py:f", *options]
        environ = {**os.environ, "PYTHONPATH": path, "STOP_AT": module}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return ends


# From the first module that the command line imports to the ones of a call.
MODULES = [
    "elf_pysandbox._cli.group",
    "click",
    "locale",
    "click.types",
    "elf_pysandbox._cli.run",
    "elf_pysandbox._pool",
    "elf_pysandbox._calls",
]


@pytest.mark.parametrize("module", MODULES)
def test_while_the_command_is_being_imported_it_ends_as_later(stopped_at, module):
    assert stopped_at(module, "--json") == (130, f"{CANCELLED}\n", "")
    assert stopped_at(module) == (130, "", "interrupted\n")


def test_without_an_interrupt_there_the_call_is_made(stopped_at):
    assert stopped_at("no_such_module") == (0, "1\n", "")


def test_what_is_printed_before_anything_is_imported_is_the_error_of_a_cancelled_call():
    error = CallCancelledError("interrupted")
    assert json.loads(CANCELLED) == {"status": error.status, "value": None, "error": error_fields(error)}
