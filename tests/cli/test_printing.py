"""What a terminal gets of a tool's text, and what becomes of an output that cannot be written."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from elf_pysandbox._cli import main

ROOT = Path(__file__).parents[2]
TEXT = str(ROOT / "examples" / "text_tools.py")
TOOLS = """
def lone():
    return "\\ud800"

def bell(fail=False):
    if fail:
        raise ValueError("a\\x1b[2Jb")
    return "a\\x1b]0;title\\x07\\tb\\x9b"
"""

FLOW = """
functions:
  python_functions:
    - {name: one, file: ./tool.py, function: value}
"""


@pytest.fixture
def tools(tmp_path: Path) -> str:
    (tmp_path / "odd.py").write_text(TOOLS)
    return str(tmp_path / "odd.py")


def pysandbox(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def on_a_terminal(*words: str) -> str:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "elf_pysandbox", *words], cwd=ROOT, stdout=follower, stderr=follower
    ) as process:
        os.close(follower)
        seen = b""
        try:
            while part := os.read(leader, 4096):
                seen += part
        except OSError:  # EIO: the other side is closed.
            pass
        process.wait()
    os.close(leader)
    return seen.decode()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_lone_surrogate_is_printed_as_its_escape(tools: str, options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "elf_pysandbox", "run", f"{tools}:lone", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\\ud800" in done.stdout


def test_a_terminal_obeys_no_control_character_of_a_value(tools: str) -> None:
    assert on_a_terminal("run", f"{tools}:bell") == "a\\x1b]0;title\\x07\tb\\x9b\r\n"


@pytest.mark.parametrize("command", ["run", "inspect", "check"])
def test_a_terminal_obeys_nothing_that_a_source_or_its_tool_says(tmp_path: Path, command: str) -> None:
    source = tmp_path / "o\x9b5mdd.py"
    source.write_text("def odd(name='\\x9b2J'):\n    'Says \\x9b5m.'\n    return name or name.__globals__\n")
    target = str(source) if command == "check" else f"{source}:odd"
    seen = on_a_terminal(command, target, *(["--json"] if command == "run" else []))
    assert "\\x9b" in seen
    assert "\x9b" not in seen


def test_an_error_message_has_its_control_characters_escaped_everywhere(tools: str) -> None:
    done = pysandbox("run", f"{tools}:bell", "--arg", "fail=true")
    assert done.exit_code == 1
    assert "a\\x1b[2Jb" in done.output


def test_a_program_gets_the_value_as_it_is(tools: str) -> None:
    command = [sys.executable, "-m", "elf_pysandbox", "run", f"{tools}:bell"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "\x07\tb\x9b" in done.stdout


@pytest.mark.parametrize(
    "expression", ["10**6000", "[10**6000]", "{10**6000: {10**6000}}", "range(10**6000)"]
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_number_that_python_does_not_write_in_decimal_is_printed_all_the_same(
    tmp_path: Path, expression: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "large.py").write_text(f"def large():\n    return {expression}\n")
    done = pysandbox("run", f"{tmp_path}/large.py:large", *options)
    assert done.exit_code == 0, done.output
    assert (hex(10**6000) in done.output) or "too long to write" in done.output
    assert not options or json.loads(done.output)["status"] == "ok"


def test_a_value_that_json_has_no_word_for_is_printed_as_python_shows_it(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text("def f():\n    return [float('nan'), float('inf'), None]\n")
    assert pysandbox("run", f"{tmp_path}/tool.py:f").stdout == "[nan, inf, None]\n"


@pytest.mark.parametrize("name", ["lines", "text"])
def test_a_reader_that_went_away_is_not_told_as_a_tool_that_raised(tmp_path: Path, name: str) -> None:
    (tmp_path / "tool.py").write_text(
        "def lines():\n    while True:\n        print('x' * 100)\n\ndef text():\n    return 'x' * 1_000_000\n"
    )
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "elf_pysandbox", "run", f"{tmp_path}/tool.py:{name}"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_set_that_cannot_be_saved_is_told_by_the_name_given() -> None:
    done = pysandbox("save", TEXT, "-o", "/nope/x.json")
    assert done.exit_code == 2
    assert done.output == "error: cannot write /nope/x.json: No such file or directory\n"


def test_pages_that_cannot_be_written_are_told() -> None:
    done = pysandbox("docs", TEXT, "--no-run", "-o", "/proc/x")
    assert done.exit_code == 2
    assert "error: cannot write /proc/x" in done.output


def test_a_full_standard_output_is_told() -> None:
    command = [sys.executable, "-m", "elf_pysandbox", "completion", "bash"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    "words",
    [
        ["run", "{}:value"],
        ["run", "{}:value", "--json"],
        ["run", "{}:says"],
        ["learn", "{}:value"],
        ["profile", "{}:value", "--repeat", "1"],
        ["call", "{}.set", "value"],
        ["workflow", "run", "{}.yaml"],
    ],
    ids=" ".join,
)
def test_a_full_standard_output_is_no_slip_of_the_command_line_once_the_tool_has_run(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "tool.py").write_text("def value():\n    return 1\n\ndef says():\n    print('a')\n")
    tool = f"{tmp_path}/tool.py"
    Path(f"{tool}.yaml").write_text(FLOW)
    assert pysandbox("save", tool, "-o", f"{tool}.set").exit_code == 0
    command = [sys.executable, "-m", "elf_pysandbox", *(word.format(tool) for word in words)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 6
        assert "error: cannot write the output: No space left on device\n" in done.stderr
        usage = [*command, "--no-such-option"]
        done = subprocess.run(usage, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize(("function", "code"), [("fails", 6), ("no name", 2)])
def test_a_full_standard_error_is_no_tool_that_raised(tmp_path: Path, function: str, code: int) -> None:
    (tmp_path / "tool.py").write_text("def fails():\n    raise ValueError\n")
    command = [sys.executable, "-m", "elf_pysandbox", "run", f"{tmp_path}/tool.py:{function}"]
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, cwd=ROOT, stderr=full, check=False).returncode == code


def test_a_page_that_cannot_be_written_after_the_calls_is_told_as_that(tmp_path: Path) -> None:
    done = pysandbox("profile", f"{TEXT}:shout", "--arg", "text=a", "--repeat", "1", "--html", "/nope/f.html")
    assert done.exit_code == 6
    assert done.stderr == "error: cannot write /nope/f.html: No such file or directory\n"


def test_an_empty_path_grants_nothing() -> None:
    done = pysandbox("run", f"{TEXT}:shout", "--arg", "text=a", "--read", "")
    assert done.exit_code == 2
    assert "empty path" in done.output


def test_an_empty_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"")
    done = pysandbox("save", TEXT, "-o", str(tmp_path / "x.json"), "--key-file", str(tmp_path / "key"))
    assert done.exit_code == 2
    assert "no key" in done.output
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("command", ["check", "list"])
@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
def test_a_pipe_or_device_is_refused(tmp_path: Path, command: str, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = pysandbox(command, str(tmp_path / place))
    assert done.exit_code == 2
    assert "neither a file nor a folder" in done.output


def test_a_memory_limit_that_python_leaves_unsaid_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text("def take(n):\n    return len(bytearray(n))\n")
    done = pysandbox("run", f"{tmp_path}/big.py:take", "--arg", "n=1000000000", "--memory", "128")
    assert done.exit_code == 137
    assert "--memory MIB" in done.output


def test_a_pipe_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "fine.py").write_text("def one():\n    return 1\n")
    done = pysandbox("check", str(tmp_path))
    assert done.exit_code == 0
    assert "1 file checked" in done.output


def test_a_package_that_cannot_be_written_is_told() -> None:
    done = pysandbox("new", "x", "--into", "/proc/nope")
    assert done.exit_code == 2
    assert "error: cannot write /proc/nope" in done.output


@pytest.mark.parametrize(
    "words",
    [
        ["run", f"{TEXT}:shout", "--args", "{bad", "--json"],
        ["run", f"{TEXT}:shout", "--no-such-option", "--json"],
        ["run", TEXT, "--json"],
        ["run", f"{TEXT}:shout", "--json", "--timeout", "-1"],
        ["verify", "/nowhere/set.json", "--json"],
        ["call", "/nowhere/set.json", "shout", "--json"],
        ["config", "no_such_setting", "--json"],
    ],
)
def test_a_slip_on_the_command_line_is_json_for_programs_and_text_for_people(words: list[str]) -> None:
    done = pysandbox(*words)
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert (told["status"], told["value"]) == ("usage", None)
    assert told["error"]["message"].splitlines()[0] in done.stderr
    people = pysandbox(*(word for word in words if word != "--json"))
    assert (people.exit_code, people.stdout) == (2, "")


def test_a_command_that_has_no_json_prints_none() -> None:
    assert pysandbox("schema", TEXT, "--json").stdout == ""
