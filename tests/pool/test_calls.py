"""What a call returns, and every way it can end."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from elf_pysandbox import (
    BadResultError,
    Hint,
    InvalidArgumentsError,
    ItemEvent,
    Limits,
    Policy,
    SandboxPool,
    ToolNotFoundError,
    ToolRaised,
)

MODULE = "fixtures/engine/behaviours.py"


def tool(pool: SandboxPool, name: str):
    return pool.load(f"{MODULE}:{name}")


def test_a_call_returns_the_value_with_positional_and_keyword_arguments(native_pool):
    assert native_pool.call(tool(native_pool, "add"), 1, b=2) == 3


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        2**70,
        1.5,
        float("inf"),
        "ü\n",
        b"\x00",
        [1, [2]],
        (1, (2,)),
        {"a": {1: 2}},
        {1, 2},
        1j,
    ],
    ids=repr,
)
def test_a_value_comes_back_as_it_was_sent_with_its_exact_type(native_pool, value):
    returned = native_pool.call(tool(native_pool, "echo"), value)
    assert returned == value
    assert type(returned) is type(value)


_WITH_TIMEOUT = """
import socket
socket.setdefaulttimeout(0.05)
from elf_pysandbox import Policy, SandboxPool, PythonSecurityValidator
source = '''
import time
def wait(data):
    time.sleep(0.2)
    return data
def count(number):
    for item in range(number):
        time.sleep(0.1)
        yield item
'''
with SandboxPool(2, policy=Policy(profile="native")) as pool:
    wait, count = pool.load_source(source, "wait"), pool.load_source(source, "count")
    large = b"x" * 30_000_000
    print(pool.call(wait, large) == large, pool.submit(wait, 1).result(), len(list(pool.stream(count, 3))))
    print(pool.with_options(policy=Policy()).outcome(pool.load_source("import os", "run")).status)
print(len(PythonSecurityValidator().check("import os")))
"""


def test_a_default_timeout_of_the_host_programs_sockets_changes_nothing():
    done = subprocess.run([sys.executable, "-c", _WITH_TIMEOUT], capture_output=True, text=True, check=False)
    assert done.stdout == "True 1 4\ndenied\n1\n", done.stderr


def test_each_call_sees_the_module_as_it_was_right_after_import(native_pool):
    remember = tool(native_pool, "remember")
    assert [native_pool.call(remember, i) for i in range(5)] == [[i] for i in range(5)]


def test_each_call_has_a_process_of_its_own(native_pool):
    pid = tool(native_pool, "own_pid")
    pids = [native_pool.call(pid) for _ in range(10)]
    assert len(set(pids)) == 10


def test_random_numbers_differ_between_calls(native_pool):
    numbers = [native_pool.call(tool(native_pool, "random_numbers")) for _ in range(5)]
    for kind in zip(*numbers, strict=True):
        assert len(set(kind)) == 5


def test_an_async_tool_is_awaited(native_pool):
    assert native_pool.call(tool(native_pool, "add_later"), 1, 2) == 3


@pytest.mark.parametrize("name", ["count", "count_later"])
def test_a_generator_called_gives_the_list_of_its_items(native_pool, name):
    assert native_pool.call(tool(native_pool, name), 3) == [0, 1, 2]


def test_what_is_written_past_pythons_own_streams_is_lost_and_harms_nobody(native_pool):
    source = """
import faulthandler, os
def write(): return os.write(1, b"lost"), os.write(2, b"lost"), os.read(0, 9), print("kept")
def enable(): faulthandler.enable()
"""
    outcome = native_pool.outcome(native_pool.load_source(source, "write"))
    assert (outcome.value, outcome.stdout, outcome.stderr) == ((4, 4, b"", None), "kept\n", "")
    refused = native_pool.outcome(native_pool.load_source(source, "enable"))
    assert (refused.error.info.type, refused.error.info.message) == ("UnsupportedOperation", "fileno")


def test_the_outcome_of_a_stream_of_items_has_no_value(native_pool):
    *events, outcome = native_pool.stream(tool(native_pool, "count"), 3)
    items = [event.value for event in events if isinstance(event, ItemEvent)]
    assert (items, outcome.status, outcome.value) == ([0, 1, 2], "ok", None)


_RETURNED = """
import asyncio
async def items(number):
    for item in range(number):
        await asyncio.sleep(0)
        print(item)
        yield item
async def late(number):
    print("late")
    return number
async def fails(number):
    raise ValueError(number)
async def items_that_fail(number):
    yield number
    raise ValueError(number)
def plain_items(number): return items(number)
def plain_late(number): return late(number)
async def late_items(number): return items(number)
async def late_generator(number): return (item for item in range(number))
def plain_fails(number): return fails(number)
def plain_items_that_fail(number): return items_that_fail(number)
"""


@pytest.mark.parametrize(
    ("name", "value", "output"),
    [
        ("plain_items", [0, 1, 2], "0\n1\n2\n"),
        ("late_items", [0, 1, 2], "0\n1\n2\n"),
        ("late_generator", [0, 1, 2], ""),
        ("plain_late", 3, "late\n"),
    ],
)
def test_what_a_function_of_another_kind_returns_is_run_as_well(native_pool, name, value, output):
    made = native_pool.load_source(_RETURNED, name)
    outcome = native_pool.outcome(made, 3)
    assert (outcome.status, outcome.value, outcome.stdout) == ("ok", value, output)
    streamed = list(native_pool.stream(made, 3))
    items = [event.value for event in streamed if isinstance(event, ItemEvent)]
    assert (streamed[-1].status, items or streamed[-1].value) == ("ok", value)


@pytest.mark.parametrize("name", ["plain_fails", "plain_items_that_fail"])
def test_what_a_function_of_another_kind_returns_may_raise(native_pool, name):
    with pytest.raises(ValueError, match="3") as caught:
        native_pool.call(native_pool.load_source(_RETURNED, name), 3)
    assert caught.value.info.traceback[-1].source == "raise ValueError(number)"


def test_output_is_kept_apart_by_stream(native_pool):
    outcome = native_pool.outcome(tool(native_pool, "speak"))
    assert (outcome.stdout, outcome.stderr) == ("hello\n", "and an error\n")


def test_bytes_written_to_the_buffer_of_standard_output_arrive_as_text(native_pool):
    source = """
import sys
def speak():
    sys.stdout.buffer.write("é".encode())
    print(" and text")
    sys.stderr.buffer.write(b"\\xff")
    sys.stderr.buffer.flush()
"""
    outcome = native_pool.outcome(native_pool.load_source(source, "speak"))
    assert (outcome.status, outcome.stdout, outcome.stderr) == ("ok", "é and text\n", "\\xff")


def test_a_builtin_exception_of_the_tool_is_caught_by_its_own_class(native_pool):
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        native_pool.call(tool(native_pool, "divide"), 1, 0)
    assert isinstance(caught.value, ToolRaised)
    assert caught.value.outcome.status == "raised"
    frames = caught.value.info.traceback
    assert [(frame.function, frame.source) for frame in frames] == [("divide", "return a / b")]


def test_an_exception_of_the_tools_own_crosses_as_data_with_notes_and_cause(native_pool):
    outcome = native_pool.outcome(tool(native_pool, "raise_own"))
    info = outcome.error.info
    assert (info.type, info.message, info.notes) == ("OwnError", "no luck", ("a note",))
    assert info.cause.type == "ZeroDivisionError"
    assert "division by zero" in info.format()


@pytest.mark.parametrize(
    "hostile",
    [
        "class Meta(type):\n    __name__ = property(lambda _: 1 / 0)\nclass Odd(Exception, metaclass=Meta): ...\n",
        "class Odd(Exception):\n    __class__ = property(lambda self: 1 / 0)\n",
        "class Odd(OSError):\n    errno = property(lambda self: 1 / 0)\n",
        "class Module(str):\n    __str__ = lambda self: 1 / 0\nclass Odd(Exception):\n    __module__ = Module()\n",
    ],
    ids=["metaclass", "class", "errno", "module"],
)
def test_an_exception_that_lies_about_itself_is_raised_under_its_own_name(native_pool, hostile):
    outcome = native_pool.outcome(native_pool.load_source(f"{hostile}def fail():\n    raise Odd()\n", "fail"))
    assert outcome.status == "raised"
    assert outcome.error.info.type == "Odd"


def test_an_exception_group_names_its_parts(native_pool):
    outcome = native_pool.outcome(tool(native_pool, "raise_group"))
    assert outcome.status == "raised"
    assert "ValueError: one" in outcome.error.info.message


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("leave", (3,), "raised"),
        ("leave_hard", (3,), "crashed"),
        ("leave_hard", (0,), "crashed"),
        ("segfault", (), "crashed"),
        ("recurse", (), "raised"),
        ("return_function", (), "bad_result"),
        ("break_after", (3,), "raised"),
        ("no_such", (), "not_found"),
        ("CALLS", (), "not_found"),
        ("add", (), "invalid_arguments"),
        ("add", (1, 2, 3), "invalid_arguments"),
        ("write_to_channel", (b"\xff" * 64,), "crashed"),
        ("write_to_channel", (b"\x05\x00\x00\x00\x00\x00\x00\x00\x91\xa5ready",), "crashed"),
    ],
)
def test_a_call_ends_with_the_status_of_its_cause_and_the_pool_serves_on(
    native_pool, name, arguments, status
):
    outcome = native_pool.outcome(tool(native_pool, name), *arguments)
    assert outcome.status == status
    assert outcome.error is not None
    assert native_pool.call(tool(native_pool, "add"), 1) == 2


@pytest.mark.parametrize(
    "name", ["spin", "spin_in_c", "wait_for_ever", "sleep", "close_channel", "stop_self"]
)
def test_a_call_that_does_not_end_is_killed_at_its_limit(native_pool, name):
    pool = native_pool.with_options(limits=Limits(wall_s=0.3))
    arguments = [60] if name == "sleep" else []
    outcome = pool.outcome(tool(pool, name), *arguments)
    assert outcome.status in ("timeout", "crashed")
    assert (outcome.status == "crashed") == (name == "close_channel")
    assert outcome.retryable == (outcome.status == "timeout")


def test_cpu_time_is_limited_apart_from_wall_time(native_pool):
    pool = native_pool.with_options(limits=Limits(wall_s=20, cpu_s=0.2))
    assert pool.outcome(tool(pool, "spin")).status == "cpu_limit"
    assert pool.outcome(tool(pool, "sleep"), 0.5).status == "ok"


@pytest.mark.parametrize(
    ("name", "limits", "status", "least"),
    [
        ("spin", Limits(wall_s=0.5), "timeout", 0.01),
        ("spin", Limits(cpu_s=0.2), "cpu_limit", 0.2),
        (
            "spin",
            Limits(cpu_s=1),
            "cpu_limit",
            1,
        ),  # the kernel's own clock counts whole seconds, and may be first
        ("speak_for_ever", Limits(output_bytes=1 << 20), "output_limit", 0),  # less than a tick of its clock
    ],
)
def test_what_a_call_used_until_the_host_stopped_it_is_told(native_pool, name, limits, status, least):
    pool = native_pool.with_options(limits=limits)
    outcome = pool.outcome(tool(pool, name))
    assert outcome.status == status
    assert outcome.usage.cpu_s >= least
    assert outcome.usage.peak_memory_mb > 1 or least == 1
    if status == "cpu_limit":
        assert str(outcome.error).startswith(
            f"the call used more than cpu_s={limits.cpu_s:g} s of CPU and was killed"
        )


def test_output_past_its_limit_ends_the_call_and_keeps_what_fits(native_pool):
    pool = native_pool.with_options(limits=Limits(output_bytes=5000))
    outcome = pool.outcome(tool(pool, "speak_for_ever"))
    assert outcome.status == "output_limit"
    assert len(outcome.stdout) == 5000


def test_a_result_past_its_limit_is_a_bad_result(native_pool):
    pool = native_pool.with_options(limits=Limits(result_bytes=100_000))
    with pytest.raises(BadResultError):
        pool.call(tool(pool, "return_much"), 200_000)
    assert len(pool.call(tool(pool, "return_much"), 90_000)) == 90_000


def test_an_endless_generator_called_ends_at_the_result_limit(native_pool):
    pool = native_pool.with_options(limits=Limits(result_bytes=10_000))
    assert pool.outcome(tool(pool, "count_for_ever")).status == "bad_result"


def test_a_bad_result_names_the_path_inside_the_value(native_pool):
    outcome = native_pool.outcome(tool(native_pool, "return_function"))
    assert "['rows'][1]" in str(outcome.error)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_bad_item_of_a_generator_is_named_by_its_place_in_the_row(native_pool, kind):
    items = native_pool.load_source(f"{kind} items():\n    yield 1\n    yield {{'x': [object()]}}\n", "items")
    outcome = native_pool.outcome(items)
    assert outcome.status == "bad_result"
    assert "items[1]['x'][0] is of type object" in str(outcome.error)


def test_arguments_that_cannot_be_sent_are_refused_before_any_process_is_used(native_pool):
    with pytest.raises(InvalidArgumentsError, match="cannot be sent"):
        native_pool.call(tool(native_pool, "echo"), {"f": open})


def test_arguments_past_the_limit_are_refused_with_the_name_of_the_limit_and_how_to_raise_it(native_pool):
    pool = native_pool.with_options(limits=Limits(result_bytes=1000))
    outcome = pool.outcome(tool(pool, "echo"), "x" * 1001)
    assert (outcome.status, outcome.error.hints) == ("invalid_arguments", (Hint("result_bytes"),))
    assert "larger than 1000 bytes when written out (reached at args[0]): result_bytes bounds" in str(
        outcome.error
    )
    assert "Limits(result_bytes=" in str(outcome.error)
    assert outcome.error.problems[0][0] == "args[0]"


def test_a_missing_function_is_named_with_the_nearest_one(native_pool):
    with pytest.raises(ToolNotFoundError, match="did you mean 'add'"):
        native_pool.call(tool(native_pool, "addd"))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def f(:", "SyntaxError"),
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("1/0", "ZeroDivisionError"),
        (b"# coding: nonsense\ndef f(): pass", "nonsense"),
        (b"def f(): return '\xff'", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("import os; os._exit(4)", "exit code 4"),
        ("import ctypes; ctypes.string_at(0)", "signal 11"),
        ("x = " + "(" * 5000 + ")" * 5000, ""),
        ("\0", ""),
    ],
)
def test_a_module_that_does_not_load_is_load_failed_with_the_reason(native_pool, source, text):
    outcome = native_pool.outcome(native_pool.load_source(source, "f", name="broken"))
    assert outcome.status == "load_failed"
    assert text in str(outcome.error) + (outcome.error.info.format() if outcome.error.info else "")


def test_a_module_that_never_finishes_importing_is_load_failed():
    limits = Limits(load_s=0.5)
    with SandboxPool(1, policy=Policy(profile="native"), limits=limits) as pool:
        outcome = pool.outcome(pool.load_source("while True: pass", "f", name="endless"))
        assert outcome.status == "load_failed"
        assert "load_s" in str(outcome.error)


def test_a_relative_traceback_shows_the_tools_own_lines_only(native_pool):
    outcome = native_pool.outcome(native_pool.load_source("def f():\n    return [][0]\n", "f", name="m"))
    assert [frame.source for frame in outcome.error.info.traceback] == ["return [][0]"]


def test_the_traceback_of_a_module_that_does_not_load_begins_with_the_tools_own_line(native_pool):
    outcome = native_pool.outcome(native_pool.load_source("import no_such_module\n", "f", name="m"))
    assert [frame.source for frame in outcome.error.info.traceback] == ["import no_such_module"]


@pytest.mark.parametrize("profile", ["restricted", "native"])
def test_an_unknown_encoding_is_told_without_a_line_that_nobody_can_read(native_pool, profile):
    pool = native_pool.with_options(policy=Policy(profile=profile))
    outcome = pool.outcome(pool.load_source("# coding: nosuch\ndef f(): ...\n", "f", name="odd"))
    assert outcome.status == "load_failed"
    assert outcome.error.info.message == "unknown encoding: nosuch (<source odd>)"
    assert outcome.error.info.traceback == ()


OPENING = """
def read(path):
    with open(path) as file:
        return file.read()

def hoard():
    files = []
    while True:
        files.append(open("/dev/null"))
"""


def test_what_would_let_a_refused_file_through_is_a_hint_also_where_the_tool_raised(native_pool):
    outcome = native_pool.outcome(native_pool.load_source(OPENING, "read", name="m"), "/nowhere/a.txt")
    error = outcome.error
    assert outcome.status == "raised"
    assert error.hints == (Hint("read", "/nowhere/a.txt"),)
    assert str(error) == "[Errno 2] No such file or directory: '/nowhere/a.txt'"
    assert error.__notes__[-1] == "To change that: Policy(files=Files(read=('/nowhere/a.txt',)))"


def test_a_tool_that_has_too_many_files_open_is_told_the_limit(native_pool):
    outcome = native_pool.outcome(native_pool.load_source(OPENING, "hoard", name="m"))
    assert (outcome.status, outcome.error.hints) == ("raised", (Hint("open_files"),))


@pytest.mark.parametrize("kind", ["message", "notes", "causes", "name"])
def test_an_exception_of_absurd_size_is_reported_cut_to_size(native_pool, kind):
    outcome = native_pool.outcome(tool(native_pool, "raise_huge"), kind)
    assert outcome.status == "raised"
    assert len(outcome.error.info.format()) < 300_000


@pytest.mark.parametrize("name", ["count", "count_later"])
def test_a_generator_that_yields_nothing_gives_an_empty_list(native_pool, name):
    assert native_pool.call(tool(native_pool, name), 0) == []


@pytest.mark.parametrize("size", [100_000, 1_000_000, 3_000_001])
@pytest.mark.parametrize("door", ["call", "submit"])
def test_large_arrays_and_bytes_cross_whole_in_both_doors(native_pool, size, door):
    import numpy

    echo = tool(native_pool, "echo")
    for value in (bytes(size), bytearray(size), numpy.arange(size), [bytes(size), numpy.ones(size)]):
        returned = (
            native_pool.call(echo, value) if door == "call" else native_pool.submit(echo, value).result()
        )
        assert type(returned) is type(value)
        assert (
            numpy.array_equal(returned[-1], value[-1]) if isinstance(value, list) else len(returned) == size
        )


def test_a_recursion_without_end_is_told_in_a_few_lines_as_python_does(native_pool):
    tool = native_pool.load_source("def down(n):\n    return down(n + 1)\n", "down")
    with pytest.raises(RecursionError) as caught:
        native_pool.call(tool, 0)
    lines = caught.value.info.format().splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert sum(line.endswith("in down") for line in lines) == 3
    assert re.fullmatch(r"  \[Previous line repeated \d+ more times\]", lines[-2])


@pytest.mark.parametrize("value", ["t", b"b", bytearray(b"a")])
def test_arguments_that_do_not_fit_into_memory_are_a_memory_limit(native_pool, value):
    pool = native_pool.with_options(limits=Limits(memory_mb=32))
    assert pool.outcome(tool(pool, "echo"), value * 30_000_000).status == "memory_limit"
    assert pool.outcome(tool(pool, "echo"), value).status == "ok"
