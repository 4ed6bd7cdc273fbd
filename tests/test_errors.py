"""Errors and outcomes are data as well: they can be copied, and sent to another process."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from elf_pysandbox import CallError, Outcome, Policy, SandboxError, SandboxPool, ToolRaised

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
    from elf_pysandbox._mirrors import raised

    kinds = [
        kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert len(kinds) > 40
    for kind in kinds:
        error = raised(ErrorInfo(kind.__name__, "builtins", "why"))
        assert str(error).endswith("why")
        copied = pickle.loads(pickle.dumps(error))
        assert (type(copied), copied.args, vars(copied)) == (type(error), error.args, vars(error))


def error_of(pool: SandboxPool, statement: str) -> Any:
    return pool.outcome(pool.load_source(f"import os\ndef run():\n    {statement}\n", "run")).error


@pytest.mark.parametrize(
    ("statement", "caught_by"),
    [
        ("b'\\xff'.decode()", (UnicodeError, ValueError)),
        ("'\\udcff'.encode()", (UnicodeError, ValueError)),
        ("'x'.translate({120: '\\udcff'}).encode('ascii')", (UnicodeError, ValueError)),
        ("raise RecursionError", (RecursionError, RuntimeError)),
        ("import no_such_module", (ModuleNotFoundError, ImportError)),
    ],
)
def test_an_error_is_caught_by_its_builtin_class_or_the_nearest_that_can_be_had(
    native_pool: SandboxPool, statement: str, caught_by: tuple[type[Exception], ...]
) -> None:
    error = error_of(native_pool, statement)
    assert all(isinstance(error, kind) for kind in caught_by)
    assert str(error) == error.info.message


@pytest.mark.parametrize("statement", ["raise StopIteration(1)", "raise ExceptionGroup('g', [ValueError()])"])
def test_what_would_steer_the_caller_is_caught_as_raised_by_the_tool_only(
    native_pool: SandboxPool, statement: str
) -> None:
    error = error_of(native_pool, statement)
    assert type(error) is ToolRaised
    assert str(error).startswith(f"{error.info.type}: ")


@pytest.mark.parametrize(
    "key", ["k", "it's", "a\n\t\\", "ü\u2028\udcff\U0010ffff", "", b"\x00'", 0, -7, 10**17], ids=ascii
)
def test_a_key_that_was_missing_is_in_the_error(native_pool: SandboxPool, key: Any) -> None:
    error = error_of(native_pool, f"{{}}[{key!a}]")
    assert (error.args, str(error)) == ((key,), error.info.message)


def test_a_key_of_another_kind_is_text(native_pool: SandboxPool) -> None:
    error = error_of(native_pool, "{}[(1, 'a')]")
    assert (error.args, str(error)) == (("(1, 'a')",), "(1, 'a')")


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("open('/no/such')", (2, "No such file or directory", "/no/such", None)),
        ("open(b'/it is: \\'a\\'')", (2, "No such file or directory", b"/it is: 'a'", None)),
        (
            "raise OSError(2, os.strerror(2), '/no/a', None, '/no/b')",
            (2, "No such file or directory", "/no/a", "/no/b"),
        ),
        ("raise OSError(5, \"what: 'x'\", 'file')", (5, "what: 'x'", "file", None)),
        ("raise OSError(5, 'what')", (5, "what", None, None)),
        ("raise OSError('what')", (None, None, None, None)),
    ],
)
def test_an_os_error_has_what_its_text_tells(native_pool: SandboxPool, statement: str, seen: Any) -> None:
    error = error_of(native_pool, statement)
    assert (error.errno, error.strerror, error.filename, error.filename2) == seen
    assert (str(error), error.args) == (error.info.message, (error.info.message,))
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.errno, copied.strerror, copied.filename, copied.filename2) == seen


@pytest.mark.parametrize(
    "text",
    [
        "'" * 5000,
        "[Errno 2] " + ": '" * 1600,
        "[Errno 2] " + ": 'a' -> " * 500,
        "[Errno 2] " + "'a\\'" * 1000,
        "[Errno 999999999] x: '\\d'",
        "[Errno 2] x: '\\U00ffffff'",
        "'\x00'",
        "'\\N{BULLET}'",
        "'a' 'b'",
        "[Errno 2] x: " + "(" * 4000,
        "'" + "x" * (1 << 20) + "'",
        "-" * 5000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_whatever_a_worker_says_its_error_was_is_text_and_takes_no_time(text: str) -> None:
    from elf_pysandbox import ErrorInfo
    from elf_pysandbox._mirrors import raised

    begun = time.process_time()
    for kind in ("KeyError", "OSError", "FileNotFoundError"):
        error = raised(ErrorInfo(kind, "builtins", text))
        assert str(error) == text
        assert all(isinstance(value, (str, bytes, int)) for value in error.args)
    assert time.process_time() - begun < 1
