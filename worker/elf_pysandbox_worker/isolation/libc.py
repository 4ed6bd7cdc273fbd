"""The one way to the kernel: libc by ctypes, functions bound before any fork.

Decided here and nowhere else: how a raw system call is made and how its failure becomes an `OSError`. A first
look-up of a libc function costs 0.1 ms in each child, so everything is bound when this module is imported.
"""

from __future__ import annotations

import os

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation.syscalls import NUMBERS

_libc = cdata.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = cdata.c_long

_raw = cdata.CDLL(None)
raw_syscall = _raw.syscall
"""`syscall(2)` without errno and conversions, for the path right after a fork: pass `cdata.c_long`
values."""
raw_syscall.restype = cdata.c_long
raw_prctl = _raw.prctl
"""`prctl(2)` likewise."""
raw_prctl.argtypes = [cdata.c_int] + [cdata.c_ulong] * 4

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_GET_SECCOMP = 21
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47

Argument = int | bytes | cdata.Array[cdata.c_char] | None


def call(name: str, *arguments: Argument) -> int:
    """Make the system call `name`.

    Parameters
    ----------
    name : str
        As in syscalls(2).
    *arguments : int, bytes, ctypes buffer or None
        `bytes` go as a NUL-terminated string, a buffer as its address, None as a null pointer.

    Returns
    -------
    int

    Raises
    ------
    OSError
        With the errno of the call and its name as `filename`; ENOSYS also for a machine without a table.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(38, f"no number for this system call on {os.uname().machine}", name)
    converted = [
        cdata.c_long(value)
        if isinstance(value, int)
        else (cdata.c_char_p(value) if isinstance(value, bytes) else value)
        for value in arguments
    ]
    result: int = _syscall(cdata.c_long(number), *converted)
    if result == -1:
        code = cdata.get_errno()
        raise OSError(code, os.strerror(code), name)
    return result


def prctl(option: int, second: int = 0, third: int = 0, fourth: int = 0, fifth: int = 0) -> int:
    """Call prctl(2); raises OSError."""
    return call("prctl", option, second, third, fourth, fifth)
