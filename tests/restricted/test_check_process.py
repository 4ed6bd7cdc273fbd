"""The processes that check source: confined like a call, and believed as little, with the parser taken over."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from elf_pysandbox import LayerUnavailableError, Policy, PythonSecurityValidator, SandboxFaultError
from elf_pysandbox._host import checker
from elf_pysandbox._policy import LAYER_NAMES
from tests.isolation.driver import answer

ROOT = Path(__file__).parents[2]
BOOT = (
    f"import sys; sys.path.extend([*sys.argv[1:], {str(ROOT)!r}]); "
    "from tests.restricted.taken_over import main; main()"
)
OFF = Policy(layers=dict.fromkeys(LAYER_NAMES, "off"))
STOPPED = (
    "read a file", "write a file", "make a socket", "fork", "execute a program", "signal its parent", "take 2 GiB",
    "read the environment",
)  # fmt: skip
NO_ANSWER = ("forge two answers", "flood", "end without an answer", "die", "spin")


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "_BOOT", BOOT)


def said(*acts: str, policy: Policy | None = None) -> list[str]:
    """Return what came of each act, all in one check."""
    validator = PythonSecurityValidator(policy=policy)
    files = [(act, f"act {act}".encode(), ()) for act in acts]
    return [found[0].message for _, found in validator._check(files)]


@pytest.mark.usefixtures("taken_over")
def test_a_parser_that_was_taken_over_reaches_nothing():
    results = dict(zip(STOPPED, said(*STOPPED), strict=True))
    assert {act: text for act, text in results.items() if not text.startswith("stopped")} == {}


@pytest.mark.usefixtures("taken_over")
def test_without_the_layers_the_same_acts_succeed():
    acts = [act for act in STOPPED if act not in ("read the environment", "execute a program")]
    try:
        assert {text.partition(":")[0] for text in said(*acts, policy=OFF)} == {"done"}
    finally:
        Path("/tmp/pysandbox-check").unlink()


@pytest.mark.usefixtures("taken_over")
def test_it_sees_nothing_but_three_descriptors_and_a_few_files_of_the_interpreter():
    descriptors, root, user = said("tell its descriptors", "list the root", "tell its user")
    assert descriptors == "done: [0, 1, 2]"
    assert root.startswith("stopped") or "etc" not in root
    assert user != "done: 0"


@pytest.mark.usefixtures("taken_over")
@pytest.mark.parametrize("act", NO_ANSWER)
def test_a_file_that_ends_its_process_or_lies_takes_no_answer_of_another(act):
    files = {"before": b"import os\n", "hostile": f"act {act}".encode(), "after": b"import sys\n"}
    found = dict(PythonSecurityValidator()._check([(name, source, ()) for name, source in files.items()]))
    assert [(d.rule, d.path) for d in found["before"]] == [("PSB301", "before")]
    assert [(d.rule, d.path) for d in found["hostile"]] == [("PSB002", "hostile")]
    assert [(d.rule, d.path) for d in found["after"]] == [("PSB301", "after")]


@pytest.mark.usefixtures("taken_over")
def test_a_check_that_never_answers_is_ended_and_the_others_are_made(monkeypatch):
    monkeypatch.setattr(checker, "_ANSWER_S", 2.0)
    files = [("waits", b"act wait", ()), ("after", b"import os\n", ())]
    found = dict(PythonSecurityValidator()._check(files))
    assert {path: [d.rule for d in each] for path, each in found.items()} == {
        "waits": ["PSB002"],
        "after": ["PSB301"],
    }


def in_a_child(act: Callable[[], str]) -> str:
    """Return what `act` returns in a fork, whose filters stay its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, act().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.parametrize(
    ("layer", "failing", "calls"),
    [
        ("seccomp", errno.EINVAL, ("seccomp",)),
        ("network_namespace", errno.EPERM, ("unshare",)),
        ("landlock", errno.ENOSYS, ("landlock_create_ruleset",)),
    ],
)
def test_a_required_layer_that_is_missing_means_that_nothing_is_parsed(layer, failing, calls):
    modes = dict.fromkeys(("user_namespace", "identity", "landlock"), "prefer") | {layer: "require"}

    def act() -> str:
        answer(failing, *calls)()
        try:
            PythonSecurityValidator(policy=Policy(layers=modes)).check("import os")
        except LayerUnavailableError as error:
            return f"{error.layer}: {bool(error.remedy)}"
        return "checked"

    assert in_a_child(act) == f"{layer}: True"


def test_the_command_says_which_layer_is_missing_and_ends_as_a_fault():
    def act() -> str:
        answer(errno.EINVAL, "seccomp")()
        command = [sys.executable, "-m", "elf_pysandbox", "check", "examples/text_tools.py"]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        return f"{ended.returncode} {ended.stdout}{ended.stderr}"

    assert in_a_child(act).startswith("125 fault: layer 'seccomp' is required but not available")


def test_a_program_that_does_not_start_is_a_fault_of_the_sandbox(monkeypatch):
    monkeypatch.setattr(checker, "_BOOT", "raise ImportError('broken')")
    with pytest.raises(SandboxFaultError, match="broken"):
        PythonSecurityValidator().check("x = 1")


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        (b"# coding: euc_jp\nx = '\xa4\xa2'.__code__\n", ["PSB201"]),
        (b"# coding: latin-1\nx = '\xe9'\n", []),
        (b"# coding: cp1252\nx = '\x80'\n", []),
        (b"x = '\\N{GREEK SMALL LETTER ALPHA}'\n", []),
        ("ﬁ = 1\nfi.__globals__\n".encode(), ["PSB201"]),
        (b"x = '\\d'\n", []),
    ],
)
def test_what_the_interpreter_reads_to_decode_source_can_be_read(source, rules):
    assert [found.rule for found in PythonSecurityValidator().check(source)] == rules


HOST = """
import sys
from elf_pysandbox import PythonSecurityValidator
from elf_pysandbox._host import checker
checker._BOOT = sys.argv[1]
for path, found in PythonSecurityValidator()._check([("a", b"x = 1", ()), ("b", b"act wait", ())]):
    print(path, flush=True)
"""


def test_when_the_host_is_killed_its_checking_processes_end():
    host = subprocess.Popen([sys.executable, "-c", HOST, BOOT], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    with host:
        assert host.stdout
        assert host.stdout.readline() == "a\n"
        until = time.monotonic() + 20
        while len(found := children(host.pid)) < 3:
            assert time.monotonic() < until, "keeper, template and the worker that waits"
        pidfds = [os.pidfd_open(pid) for pid in found]
        host.send_signal(signal.SIGKILL)
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], 20.0)[0], "it lives on"
            os.close(pidfd)


def children(pid: int) -> list[int]:
    """Return the processes below one, without it."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found += [int(entry), *children(int(entry))]
    return found
