"""Errors and outcomes are data as well: they can be copied, and sent to another process."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from elf_pysandbox import CallError, Outcome, Policy, SandboxError, SandboxPool

AGAIN: list[Callable[[Any], Any]] = [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy]
WAYS = pytest.mark.parametrize("again", AGAIN, ids=["pickle", "copy", "deepcopy"])
ENDINGS = {
    "key": "def run(): raise KeyError('k')",
    "os": "def run(): raise FileNotFoundError(2, 'No such file or directory', '/gone')",
    "import": "def run(): import no_such_module",
    "group": "def run(): raise ExceptionGroup('several', [ValueError('one')])",
    "own": "class Odd(Exception): ...\ndef run(): raise Odd('odd')",
    "noted": "def run():\n e = ValueError('v'); e.add_note('a note'); raise e",
    "denied": "def run(): open('/etc/hostname')",
    "arguments": "def run(needed): ...",
    "load": "def run(:",
    "memory": "def run(): bytearray(1 << 40)",
    "result": "def run(): return run",
    "missing": "def other(): ...",
}


def looks(error: BaseException) -> tuple[Any, ...]:
    assert isinstance(error, CallError)
    traceback = error.info and error.info.format()
    notes = getattr(error, "__notes__", None)
    return type(error), error.args, str(error), error.status, error.hints, error.info, traceback, notes


@WAYS
@pytest.mark.parametrize("source", ENDINGS.values(), ids=ENDINGS)
def test_an_outcome_and_its_error_are_the_same_after_a_copy(
    native_pool: SandboxPool, source: str, again: Callable[[Any], Any]
) -> None:
    outcome = native_pool.outcome(native_pool.load_source(source, "run"))
    assert isinstance(outcome.error, CallError)
    copied: Outcome = again(outcome)
    assert (copied.status, copied.usage, copied.layers) == (outcome.status, outcome.usage, outcome.layers)
    assert copied.error is not None
    assert looks(copied.error) == looks(outcome.error)
    assert looks(again(outcome.error)) == looks(outcome.error)


def test_a_pickled_error_keeps_its_outcome_and_the_outcome_its_error(native_pool: SandboxPool) -> None:
    outcome = native_pool.outcome(native_pool.load_source(ENDINGS["key"], "run"))
    error = pickle.loads(pickle.dumps(outcome.error))
    assert error.outcome.error is error
    read = pickle.loads(pickle.dumps(outcome))
    assert read.error.outcome is read


def test_an_outcome_can_be_read_by_a_process_that_has_made_no_call(native_pool: SandboxPool) -> None:
    outcome = native_pool.outcome(native_pool.load_source(ENDINGS["key"], "run"))
    code = (
        "import pickle, sys\n"
        "try:\n    pickle.load(sys.stdin.buffer).unwrap()\n"
        "except KeyError as error:\n    print(type(error).__name__, error.status)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=pickle.dumps(outcome), capture_output=True, check=True)
    assert done.stdout == b"ToolKeyError raised\n"


@WAYS
def test_a_layer_that_is_missing_is_told_after_a_copy_as_well(again: Callable[[Any], Any]) -> None:
    from elf_pysandbox import ConfigurationError, LayerUnavailableError

    missing = LayerUnavailableError("seccomp", "the kernel has none", "Build one.")
    copied = again(missing)
    assert (str(copied), copied.layer, copied.remedy) == (str(missing), "seccomp", "Build one.")
    with pytest.raises(ConfigurationError) as caught:
        Policy(profile="none")  # type: ignore[arg-type]
    error: SandboxError = caught.value
    assert (str(again(error)), vars(again(error))) == (str(error), vars(error))


def test_every_builtin_exception_that_is_mirrored_can_be_sent_on() -> None:
    import builtins

    from elf_pysandbox import ErrorInfo
    from elf_pysandbox._mirrors import raised_class

    kinds = [
        kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert len(kinds) > 40
    for kind in kinds:
        error = raised_class(ErrorInfo(kind.__name__, "builtins", "why"))("why").with_hints()
        copied = pickle.loads(pickle.dumps(error))
        assert (type(copied), copied.args, vars(copied)) == (type(error), error.args, vars(error))
