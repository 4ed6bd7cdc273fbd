"""Several prepared system calls made by one call of a builtin function.

Decided here and nowhere else: how system calls are made right after a fork. In a fresh fork every page is
touched for the first time, and one call through ctypes touches so many (its own, libffi's, each argument's)
that it costs 60 µs where the system call behind it costs 1; for a process that serves one call that is a
tenth of its life. So the calls are laid out as a table before the fork, and 100 bytes of machine code walk
it. They are bound as a builtin function of no arguments, which Python calls like any of its own.

Only x86-64 has such code. Elsewhere, or where a host forbids making memory executable, `Burst` does the same
through the C library of foreign functions (`cdata`).
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType

from msgspec import Struct

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.syscalls import MACHINE, NUMBERS


class Call(Struct, frozen=True):
    """One system call.

    Attributes
    ----------
    name : str
    arguments : sequence of int
        At most four.
    store : int
        Address of a 32-bit word that takes the result, 0 for none.
    first_of : tuple of int
        Positions, counted from this call, of later calls whose first argument is the result; at most one.
    """

    name: str
    arguments: Sequence[int]
    store: int = 0
    first_of: tuple[int, ...] = ()


# One row: number, four arguments, two addresses for the result. A negative number ends the table.
_ROW = struct.Struct("=q4Q2Q")
_FIRST_ARGUMENT = 8
_END = struct.pack("=q", -1)

_METH_NOARGS = 4
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_PRIVATE_ANONYMOUS = 0x02 | 0x20


class _MethodDefinition(cdata.Structure):
    """`PyMethodDef` (Python/C API, Common Object Structures)."""

    _fields_ = (
        ("name", cdata.c_char_p),
        ("function", cdata.c_void_p),
        ("flags", cdata.c_int),
        ("doc", cdata.c_char_p),
    )


class Burst:
    """Makes its calls in order, stops at the first that fails.

    Calling it returns None if all succeeded, False if one failed.
    """

    def __init__(self, calls: Sequence[Call], keep: Sequence[object] = ()) -> None:
        self._keep: list[object] = list(keep)
        self._calls = calls
        self.run: Callable[[], object] = self._bind_native() or self._bind_ctypes()

    @property
    def native(self) -> bool:
        """Whether the machine code is used."""
        return isinstance(self.run, BuiltinFunctionType)

    def _bind_native(self) -> Callable[[], object] | None:
        if MACHINE != "x86_64":
            return None
        table = cdata.create_string_buffer(_ROW.size * len(self._calls) + len(_END))
        for at, call in enumerate(self._calls):
            targets = [
                cdata.addressof(table) + (at + by) * _ROW.size + _FIRST_ARGUMENT for by in call.first_of
            ]
            row = (NUMBERS[call.name], *(*call.arguments, 0, 0, 0, 0)[:4], call.store, *(*targets, 0)[:1])
            _ROW.pack_into(table, at * _ROW.size, *row)
        cdata.memmove(cdata.addressof(table) + len(table) - len(_END), _END, len(_END))
        code = _machine_code(cdata.addressof(table))
        try:
            # For good: the tool's own process may not outlive it.
            address = libc.call("mmap", 0, len(code), _PROT_READ | _PROT_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
            cdata.memmove(address, code, len(code))
            # Never writable and executable at once.
            libc.call("mprotect", address, len(code), _PROT_READ | _PROT_EXEC)
        except OSError:
            return None
        definition = _MethodDefinition(b"burst", address, _METH_NOARGS, None)
        new = cdata.pythonapi.PyCFunction_NewEx
        new.restype, new.argtypes = cdata.py_object, [cdata.c_void_p, cdata.py_object, cdata.c_void_p]
        self._keep += [table, definition]
        # Bound to self, so that whoever holds the function holds what it walks.
        function: Callable[[], object] = new(cdata.addressof(definition), self, None)
        return function

    def _bind_ctypes(self) -> Callable[[], object]:
        rows = [
            [cdata.c_long(NUMBERS[call.name]), *(cdata.c_ulong(argument) for argument in call.arguments)]
            for call in self._calls
        ]
        words = [cdata.c_uint32.from_address(call.store) if call.store else None for call in self._calls]
        make = libc.raw_syscall

        def run() -> object:
            for at, arguments in enumerate(rows):
                result = make(*arguments)
                if result < 0:
                    return False
                word = words[at]
                if word is not None:
                    word.value = result
                for by in self._calls[at].first_of:
                    rows[at + by][1].value = result
            return None

        return run


def _machine_code(table: int) -> bytes:
    """Return the loop over the table at this address; the registers are those of the System V ABI."""
    # A new reference to what is returned: since 3.12 None and False are immortal and must not be counted.
    count = b"\x48\xff\x00" if sys.version_info < (3, 12) else b""  # inc qword [rax]
    finish = count + b"\x5b\xc3"  # pop rbx; ret
    step = (
        b"\x48\x8b\x7b\x08"  # mov rdi, [rbx+8]
        b"\x48\x8b\x73\x10"  # mov rsi, [rbx+16]
        b"\x48\x8b\x53\x18"  # mov rdx, [rbx+24]
        b"\x4c\x8b\x53\x20"  # mov r10, [rbx+32]
        b"\x0f\x05"  # syscall
        b"\x48\x85\xc0"  # test rax, rax
        b"\x78%b"  # js failed
        b"\x48\x8b\x4b\x28"  # mov rcx, [rbx+40]
        b"\x48\x85\xc9"  # test rcx, rcx
        b"\x74\x02"  # jz +2
        b"\x89\x01"  # mov [rcx], eax
        b"\x48\x8b\x4b\x30"  # mov rcx, [rbx+48]
        b"\x48\x85\xc9"  # test rcx, rcx
        b"\x74\x02"  # jz +2
        b"\x89\x01"  # mov [rcx], eax
        b"\x48\x83\xc3\x38"  # add rbx, 56
        b"\xeb%b"  # jmp loop
    )
    head = b"\x48\x8b\x03\x48\x85\xc0\x78%b"  # loop: mov rax, [rbx]; test rax, rax; js done
    done = b"\x48\xb8" + struct.pack("=Q", id(None)) + finish  # mov rax, None
    failed = b"\x48\xb8" + struct.pack("=Q", id(False)) + finish
    length = len(step % (b".", b"."))
    to_failed = length - step.index(b"\x78%b") - 2 + len(done)
    back = -(length + len(head % b"."))
    body = head % bytes([length]) + step % (bytes([to_failed]), struct.pack("=b", back))
    start = b"\x53\x48\xbb" + struct.pack("=Q", table)  # push rbx; mov rbx, table
    return start + body + done + failed


def error() -> OSError:
    """Return the error of a burst that failed; which call it was is not known, nothing may follow."""
    return OSError(1, os.strerror(1), "a system call right after the fork")
