"""Ctrl-C on the command line: one word for people, one JSON object for programs, exit code 130."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

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
