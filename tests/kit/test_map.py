"""`pysandbox map`: each row exactly once in the output, whatever ends a run."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from elf_pysandbox import ConfigurationError, Limits, Policy, SandboxPool
from elf_pysandbox._cli import main
from elf_pysandbox._map.output import Output
from elf_pysandbox._map.rows import parse
from elf_pysandbox._map.runner import Runner
from tests.kit.processes import workers_of

ROOT = Path(__file__).parents[2]
MODULE = "fixtures/kit/rows.py"
ROWS = int(os.environ.get("PYSANDBOX_MAP_ROWS", "600"))


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(path):
    return sorted(record["row"] for record in records(path))


def run_map(tmp_path, name, *options, module=MODULE):
    arguments = ["map", f"{module}:{name}", "--input", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    return CliRunner().invoke(main, [*arguments, "--profile", "native", "--workers", "4", *options])


def start_map(tmp_path, name, *options):
    command = [sys.executable, "-m", "elf_pysandbox", "map", f"{MODULE}:{name}", "--profile", "native"]
    command += ["--input", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--workers", "4", *options]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_lines(path, process):
    """Wait until the output has a line, and the run has not ended."""
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def test_every_row_has_one_line_with_its_value(tmp_path):
    write_rows(tmp_path / "in", [{"text": "ab"}, ["abc"], "abcd"])
    ended = run_map(tmp_path, "score", "--arg", "weight=10")
    assert ended.exit_code == 0, ended.output
    assert {record["row"]: record["value"] for record in records(tmp_path / "out")} == {0: 20, 1: 30, 2: 40}
    assert "3 of 3 rows" in ended.output


def test_rows_that_fail_are_counted_and_told_with_their_error(tmp_path):
    (tmp_path / "in").write_text('{"n": 1}\n\n{"n": 0}\nno json\n{"m": 1}\n')
    ended = run_map(tmp_path, "invert")
    assert ended.exit_code == 1
    assert "4 of 4 rows" in ended.output
    assert "3 failed" in ended.output
    found = {record["row"]: record for record in records(tmp_path / "out")}
    assert [found[row]["status"] for row in range(4)] == [
        "ok",
        "raised",
        "invalid_arguments",
        "invalid_arguments",
    ]
    assert found[1]["error"]["type"] == "ZeroDivisionError"
    assert "no JSON" in found[2]["error"]["message"]


def test_failed_rows_run_again_when_asked_for_and_the_others_do_not(tmp_path):
    write_rows(tmp_path / "in", [{"n": 2}, {"n": 0}, {"n": 4}])
    (tmp_path / "mended.py").write_text("def invert(n):\n    return 1 / n\n")
    run_map(tmp_path, "invert", module=tmp_path / "mended.py")
    (tmp_path / "mended.py").write_text("def invert(n):\n    return 0 if n == 0 else -1\n")
    again = run_map(tmp_path, "invert", "--retry-failed", module=tmp_path / "mended.py")
    assert again.exit_code == 0, again.output
    found = {record["row"]: record["value"] for record in records(tmp_path / "out")}
    assert found == {0: 0.5, 1: 0, 2: 0.25}


def test_a_second_run_does_nothing_and_a_restart_does_all(tmp_path):
    write_rows(tmp_path / "in", [{"n": 1}, {"n": 2}])
    run_map(tmp_path, "double")
    before = (tmp_path / "out").read_bytes()
    assert run_map(tmp_path, "double").exit_code == 0
    assert (tmp_path / "out").read_bytes() == before
    run_map(tmp_path, "invert", "--restart")
    assert sorted(record["value"] for record in records(tmp_path / "out")) == [0.5, 1.0]


def test_a_torn_last_line_is_cut_off_and_its_row_runs_again(tmp_path):
    write_rows(tmp_path / "in", [{"n": n} for n in range(5)])
    run_map(tmp_path, "double")
    whole = (tmp_path / "out").read_bytes()
    (tmp_path / "out").write_bytes(whole[:-7])
    assert run_map(tmp_path, "double").exit_code == 0
    assert numbers(tmp_path / "out") == [0, 1, 2, 3, 4]


def test_a_changed_row_is_refused_instead_of_mixed_in(tmp_path):
    write_rows(tmp_path / "in", [{"n": 1}, {"n": 2}])
    run_map(tmp_path, "double")
    write_rows(tmp_path / "in", [{"n": 1}, {"n": 3}])
    ended = run_map(tmp_path, "double")
    assert ended.exit_code == 2
    assert "row 1" in ended.output
    assert "--restart" in ended.output


@pytest.mark.parametrize(
    ("name", "options"),
    [("invert", ()), ("score", ("--arg", "weight=3")), ("score", ("--retry-failed",))],
)
def test_results_of_another_tool_or_other_arguments_are_refused(tmp_path, name, options):
    write_rows(tmp_path / "in", [{"text": "a"}, {"text": 7}])
    run_map(tmp_path, "score", "--arg", "weight=2")
    before = (tmp_path / "out").read_bytes()
    write_rows(tmp_path / "in", [{"text": "a"}, {"text": 7}, {"text": "d"}])
    ended = run_map(tmp_path, name, *options)
    assert ended.exit_code == 2
    assert "another tool or of other arguments" in ended.output
    assert (tmp_path / "out").read_bytes() == before


def test_an_output_of_an_earlier_release_is_gone_on_with(tmp_path):
    write_rows(tmp_path / "in", [{"n": 1}, {"n": 2}])
    run_map(tmp_path, "double")
    kept = records(tmp_path / "out")[:1]
    del kept[0]["call"]
    write_rows(tmp_path / "out", kept)
    assert run_map(tmp_path, "double").exit_code == 0
    assert numbers(tmp_path / "out") == [0, 1]


def test_a_file_that_is_no_output_of_a_map_is_left_alone(tmp_path):
    write_rows(tmp_path / "in", [{"n": 1}])
    (tmp_path / "out").write_text("precious\n")
    ended = run_map(tmp_path, "double")
    assert ended.exit_code == 2
    assert (tmp_path / "out").read_text() == "precious\n"


@pytest.mark.parametrize("options", [(), ("--restart",), ("--retry-failed",)])
@pytest.mark.parametrize(
    "text",
    [
        "precious\n",
        "precious",
        '{"n": 1}\n{"n": 2}\n',
        '{"n": 1}',
        '{"row": 1, "input": "a", "status": "new"}\n',
    ],
)
def test_a_file_of_somebody_else_is_neither_emptied_nor_offered_to_be(tmp_path, text, options):
    write_rows(tmp_path / "in", [{"n": 1}])
    (tmp_path / "out").write_text(text)
    ended = run_map(tmp_path, "double", *options)
    assert ended.exit_code == 2
    assert "name another file" in ended.output
    assert "--restart" not in ended.output
    assert (tmp_path / "out").read_text() == text


@pytest.mark.parametrize("options", [(), ("--restart",)])
def test_a_torn_only_line_of_a_map_is_run_again(tmp_path, options):
    write_rows(tmp_path / "in", [{"n": 1}])
    run_map(tmp_path, "double")
    whole = (tmp_path / "out").read_bytes()
    (tmp_path / "out").write_bytes(whole[:-5])
    assert run_map(tmp_path, "double", *options).exit_code == 0
    assert (tmp_path / "out").read_bytes() == whole


@pytest.mark.parametrize("options", [(), ("--restart",), ("--retry-failed",)])
@pytest.mark.parametrize("kind", ["name", "symlink", "hardlink", "part"])
def test_an_input_that_is_the_output_too_is_refused_and_stays_as_it_is(tmp_path, kind, options):
    source = write_rows(tmp_path / "self.jsonl", [{"n": 1}])
    before = source.read_bytes()
    result = {"name": source, "part": tmp_path / "out"}.get(kind, tmp_path / "other.jsonl")
    if kind == "symlink":
        result.symlink_to(source)
    elif kind == "hardlink":
        result.hardlink_to(source)
    elif kind == "part":
        source = source.rename(tmp_path / "out.part")
    words = ["--input", str(source), "--output", str(result), *options]
    ended = CliRunner().invoke(main, ["map", f"{MODULE}:double", *words])
    assert ended.exit_code == 2
    assert "would overwrite the input" in ended.output
    assert source.read_bytes() == before


def test_when_all_rows_fail_the_first_error_is_told_once_with_how_to_go_on(tmp_path):
    write_rows(tmp_path / "in", [{"n": 1}, {"n": 2}, {"n": 3}])
    ended = run_map(tmp_path, "double", "--arg", "unknown=1")
    assert ended.exit_code == 1
    assert ended.output.count("invalid_arguments: ") == 1
    assert ended.output.count("unknown") == 1
    assert "--retry-failed" in ended.output
    (tmp_path / "out").unlink()
    write_rows(tmp_path / "in", [{"n": 1}, {"m": 2}])
    assert "--retry-failed" not in run_map(tmp_path, "double").output


def test_two_runs_never_write_to_one_output(tmp_path):
    first = Output(tmp_path / "out")
    with pytest.raises(ConfigurationError, match="another map"):
        Output(tmp_path / "out")
    first.close()
    Output(tmp_path / "out").close()


def test_a_tool_that_is_not_there_ends_the_run_with_nothing_written(tmp_path):
    write_rows(tmp_path / "in", [{"n": n} for n in range(100)])
    ended = run_map(tmp_path, "no_such")
    assert ended.exit_code == 5
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["no_such", "double"])
def test_a_restart_costs_no_results_when_the_run_fails_before_its_first_row(tmp_path, name):
    write_rows(tmp_path / "in", [{"n": 1}])
    run_map(tmp_path, "double")
    before = (tmp_path / "out").read_bytes()
    module = MODULE if name == "no_such" else tmp_path / "no_such.py"
    assert run_map(tmp_path, name, "--restart", module=module).exit_code == 5
    assert (tmp_path / "out").read_bytes() == before


def test_a_restart_over_no_rows_empties_the_output(tmp_path):
    write_rows(tmp_path / "in", [{"n": 1}])
    run_map(tmp_path, "double")
    write_rows(tmp_path / "in", [])
    assert run_map(tmp_path, "double", "--restart").exit_code == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_a_value_with_a_lone_surrogate_is_written_as_json_can_say_it(tmp_path):
    output = Output(tmp_path / "out")
    output.write(0, "x", "ok", {"value": "\ud800ü"})
    output.close()
    assert records(tmp_path / "out")[0]["value"] == "\ud800ü"


def test_a_line_nested_too_deeply_is_a_problem_of_its_row():
    assert "no JSON" in parse(0, b"[" * 100_000, {}).problem


def test_ctrl_c_loses_nothing_and_the_same_command_goes_on(tmp_path):
    write_rows(tmp_path / "in", [{"n": n} for n in range(ROWS)])
    process = start_map(tmp_path, "slow")
    wait_for_lines(tmp_path / "out", process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in told
    before = (tmp_path / "out").read_bytes()
    assert 0 < len(numbers(tmp_path / "out")) < ROWS
    ended = run_map(tmp_path, "slow")
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "out").read_bytes().startswith(before)
    assert numbers(tmp_path / "out") == list(range(ROWS))


def test_a_run_that_was_killed_goes_on_where_its_output_ends(tmp_path):
    write_rows(tmp_path / "in", [{"n": n} for n in range(ROWS)])
    process = start_map(tmp_path, "slow")
    wait_for_lines(tmp_path / "out", process)
    process.kill()
    process.communicate(timeout=60)
    ended = run_map(tmp_path, "slow")
    assert ended.exit_code == 0, ended.output
    assert numbers(tmp_path / "out") == list(range(ROWS))


def test_rows_whose_workers_are_killed_run_again_and_are_told_once(tmp_path):
    write_rows(tmp_path / "in", [{"n": n, "seconds": 0.002} for n in range(ROWS)])
    output = Output(tmp_path / "out")
    chance = random.Random(1)
    with SandboxPool(8, policy=Policy(profile="native"), limits=Limits(wall_s=20)) as pool:
        over = threading.Event()

        def kill_workers():
            while not over.wait(0.02):
                victims = workers_of(pool.process_ids())
                for victim in chance.sample(victims, min(2, len(victims))):
                    kill(victim)

        killer = threading.Thread(target=kill_workers)
        runner = Runner(
            pool, pool.load(f"{MODULE}:slow"), tmp_path / "in", output, window=16, retries=20, fixed={},
            fields_of=lambda outcome: {"value": outcome.value},
        )  # fmt: skip
        killer.start()
        try:
            assert runner.run()
        finally:
            over.set()
            killer.join()
            output.close()
    assert runner.counts.statuses == {"ok": ROWS}
    assert sorted(record["value"] for record in records(tmp_path / "out")) == list(range(ROWS))


def test_a_row_whose_end_was_an_accident_runs_again_and_tells_how_often(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir(mode=0o777)
    marks.chmod(0o777)
    write_rows(tmp_path / "in", [{"path": str(marks / name)} for name in "ab"])
    ended = run_map(tmp_path, "hang_once", "--write", str(marks), "--timeout", "1")
    assert ended.exit_code == 0, ended.output
    assert "2 retried" in ended.output
    assert [record["attempts"] for record in records(tmp_path / "out")] == [2, 2]


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_on_a_terminal_a_bar_shows_rate_and_failures_and_honours_no_color(tmp_path, no_colour):
    write_rows(tmp_path / "in", [{"n": n} for n in range(40)])
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "elf_pysandbox", "map", f"{MODULE}:slow", "--profile", "native"]
    command += ["--input", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--workers", "2"]
    environ = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": no_colour}
    process = subprocess.Popen(command, cwd=ROOT, stderr=theirs, env=environ)
    os.close(theirs)
    shown = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
    os.close(ours)
    assert process.wait(60) == 0
    assert re.search(r"\d+/40.* \d+/s .*0 failed", shown)
    assert ("\x1b[32m" in shown) == (not no_colour)
    assert "40 of 40 rows" in shown


def read_terminal(descriptor):
    """Read what there is; a terminal whose other end is closed answers EIO."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_a_pipe_is_refused_at_once(tmp_path, option):
    os.mkfifo(tmp_path / "pipe")
    write_rows(tmp_path / "in", [{"n": 1}])
    places = {
        "--input": str(tmp_path / "in"),
        "--output": str(tmp_path / "out"),
        option: str(tmp_path / "pipe"),
    }
    words = [word for pair in places.items() for word in pair]
    command = [sys.executable, "-m", "elf_pysandbox", "map", f"{MODULE}:echo", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"{option} {tmp_path / 'pipe'} is a pipe or a device" in done.stderr
