"""Programs about memory, each run by an interpreter of its own with the modules of the confined side."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

_ROOTS = [str(Path(__file__).parents[2] / "worker"), str(Path(msgspec.__file__).parents[1])]
_KERNEL = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
_START = """
import sys; sys.path.extend(sys.argv[1:])
import ctypes, hashlib, mmap, os, resource, signal, threading
from elf_pysandbox_worker import hugedata, hugelibs, hugetext, ownfiles
from elf_pysandbox_worker.isolation import bpf, libc, no_new_privs, seccomp, syscalls
from pathlib import Path

def deny(name):
    program = bpf.Program()
    program.load(bpf.NUMBER)
    program.equal(syscalls.NUMBERS[name], then="deny")
    program.allow()
    program.label("deny")
    program.fail(1)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(program.assemble())

def smaps():
    return Path("/proc/self/smaps").read_bytes()

def flags(start):
    found = False
    for line in smaps().decode().splitlines():
        key, *values = line.split()
        if not key.endswith(":"):
            found = int(key.split("-")[0], 16) == start
        elif found and key == "VmFlags:":
            return values
"""


def needs_huge_pages(*kernel: int) -> pytest.MarkDecorator:
    """Return what skips a test on other machines and on kernels before this one."""
    return pytest.mark.skipif(
        os.uname().machine != "x86_64"
        or kernel > _KERNEL
        or not Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").exists(),
        reason=f"x86-64 and Linux {'.'.join(map(str, kernel))} with huge pages only",
    )


def run(start: str, code: str) -> str:
    """Return what a program prints."""
    program = _START + start + textwrap.dedent(code)
    command = [sys.executable, "-I", "-S", "-c", program, *_ROOTS]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
