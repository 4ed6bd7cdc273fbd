"""Prepared system calls, by machine code and by ctypes alike."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import sys
from typing import Any

import pytest

from elf_pysandbox_worker.isolation import burst, libc
from elf_pysandbox_worker.isolation.burst import Burst, Call
from elf_pysandbox_worker.isolation.syscalls import MACHINE


@pytest.fixture(params=["native", "ctypes"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "ctypes":
        monkeypatch.setattr(burst, "MACHINE", "another")
    elif MACHINE != "x86_64":
        pytest.skip("there is machine code for x86-64 only")
    return Burst


def test_machine_code_is_used_where_there_is_some() -> None:
    assert Burst([Call("getpid", ())]).native == (MACHINE == "x86_64")


def test_calls_are_made_in_order_and_results_stored(make: Any) -> None:
    words = (ctypes.c_uint32 * 2)()
    address = ctypes.addressof(words)
    made = make([Call("getpid", (), store=address), Call("getppid", (), store=address + 4)])
    assert made.run() is None
    assert list(words) == [os.getpid(), os.getppid()]


def test_a_result_becomes_the_first_argument_of_a_later_call(make: Any) -> None:
    path = ctypes.create_string_buffer(b"/dev/null")
    flags = os.O_RDONLY | os.O_CLOEXEC
    before = os.listdir("/proc/self/fd")
    made = make([
        Call("openat", ((1 << 64) - 100, ctypes.addressof(path), flags, 0), first_of=(2,)), Call("getpid", ()),
        Call("close", (0,)),
    ], [path])  # fmt: skip
    assert made.run() is None
    assert os.listdir("/proc/self/fd") == before


def test_the_first_failure_ends_it_and_is_told(make: Any) -> None:
    word = ctypes.c_uint32(7)
    made = make([Call("close", (1 << 20,)), Call("getpid", (), store=ctypes.addressof(word))])
    assert made.run() is False
    assert word.value == 7


def test_what_it_walks_lives_as_long_as_the_function(make: Any) -> None:
    run = make([Call("getpid", ())] * 20).run
    gc.collect()
    [bytearray(4096) for _ in range(200)]
    assert run() is None


def test_counting_references_right_it_can_be_called_for_ever(make: Any) -> None:
    run = make([Call("getpid", ())]).run
    before = sys.getrefcount(None)
    for _ in range(1000):
        run()
    assert abs(sys.getrefcount(None) - before) < 100


def test_a_host_without_executable_memory_gets_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    call = libc.call

    def refuse(name: str, *arguments: Any) -> int:
        if name == "mprotect":
            raise OSError(errno.EACCES, "no executable memory", name)
        return call(name, *arguments)

    monkeypatch.setattr(libc, "call", refuse)
    made = Burst([Call("getpid", ())])
    assert not made.native
    assert made.run() is None
