"""The third door: what only a worker can lose, right after its fork.

Decided here and nowhere else: what a call may not do that its template may. This is on the path of every
worker, so all that can be made before the fork is made before it; after it there are only bound functions and
plain ints.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable

from elf_pysandbox_worker.isolation import bpf, landlock, libc, rlimits
from elf_pysandbox_worker.isolation.context import Context
from elf_pysandbox_worker.isolation.mount_namespace import SCRATCH_ROOT
from elf_pysandbox_worker.isolation.rules import CLONE_THREAD
from elf_pysandbox_worker.isolation.seccomp import SocketFilter
from elf_pysandbox_worker.isolation.syscalls import NUMBERS
from elf_pysandbox_worker.wire.messages import Confinement

NO_SCRATCH = -1
_ANY_PID = 0x7FFFFFFF


def prepare_worker(context: Context) -> Callable[[int], None]:
    """Return the function that confines a fresh worker; for the template, before it forks the first.

    Parameters
    ----------
    context : Context
        As the second door left it.

    Returns
    -------
    callable
        `confine_worker(slot)`: to be called first thing after the fork, with the number of the worker's
        scratch directory or -1. Raises OSError if the kernel refuses, and then the worker must end.
    """
    steps: list[Callable[[int], None]] = []
    if not context.holds("pid_namespace"):
        steps.append(_die_with_template())
    if context.holds("rlimits"):
        steps.append(_lower_limits(context.spec))
    if context.spec.processes and context.holds("pid_namespace"):
        steps.append(lambda slot: os.setpgid(0, 0))
    if context.spec.scratch_mb:
        steps.append(_enter_scratch(context))
    if context.holds("seccomp"):
        # Last: the steps before it use calls that this one takes away.
        steps.append(_load_filter(context.spec))
    prepared = tuple(steps)

    def confine_worker(slot: int = NO_SCRATCH) -> None:
        for step in prepared:
            step(slot)

    return confine_worker


def _die_with_template() -> Callable[[int], None]:
    """Without a PID namespace the template's death would leave its workers behind."""
    template, prctl = os.getpid(), libc.raw_prctl
    option, killed = libc.PR_SET_PDEATHSIG, signal.SIGKILL.value

    def step(slot: int) -> None:
        prctl(option, killed, 0, 0, 0)
        if os.getppid() != template:  # It died between the fork and the line above.
            os._exit(1)

    return step


def _lower_limits(spec: Confinement) -> Callable[[int], None]:
    cpu, files = rlimits.worker_cpu_s(spec), (spec.open_files, spec.open_files)
    setrlimit, kind_cpu, kind_files = resource.setrlimit, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE
    hard_files = resource.getrlimit(kind_files)[1]
    if hard_files != resource.RLIM_INFINITY and hard_files < spec.open_files:
        files = (hard_files, hard_files)

    def step(slot: int) -> None:
        # The worker's CPU time starts from 0 at its fork, so these are the call's own seconds.
        setrlimit(kind_cpu, cpu)
        setrlimit(kind_files, files)

    return step


def _load_filter(spec: Confinement) -> Callable[[int], None]:
    """Return the step that takes away processes and signals to others.

    No check of the architecture: the template's filter has made that one first.
    """
    program = _worker_program(spec.processes > 0)
    instructions = bytearray(program.assemble())
    place = instructions.rindex(struct.pack("=I", _ANY_PID))
    filter_ = SocketFilter(bytes(instructions))
    pid_word = ctypes.c_uint32.from_buffer(filter_.instructions, place)
    arguments = (
        ctypes.c_long(NUMBERS["seccomp"]), ctypes.c_long(1), ctypes.c_long(0),
        ctypes.c_void_p(ctypes.addressof(filter_.buffer)),
    )  # fmt: skip
    load, getpid = libc.raw_syscall, os.getpid

    def step(slot: int) -> None:
        # One pid in the program is the only difference between workers: one word is patched.
        pid_word.value = getpid()
        if load(*arguments) != 0:
            raise OSError(errno.EPERM, "the worker's filter cannot be loaded", "seccomp")
        filter_.instructions  # noqa: B018 - keeps the buffer alive as long as this step

    return step


def _worker_program(processes: bool) -> bpf.Program:
    """Threads but no processes (unless granted), signals to itself only.

    As short as can be: the kernel runs it once for every system call number when it is loaded.
    """
    program = bpf.Program()
    program.load(bpf.NUMBER)
    program.equal(NUMBERS["tgkill"], then="signal")
    if processes:
        for name in ("kill", "setpgid"):
            program.equal(NUMBERS[name], then="deny")
    else:
        program.equal(NUMBERS["clone"], then="clone")
        if "fork" in NUMBERS:
            program.equal(NUMBERS["fork"], then="deny")
    program.label("allow")
    program.allow()
    if not processes:
        program.label("clone")
        program.load(bpf.low(0))
        program.any_bit(CLONE_THREAD, then="allow clone")
    program.label("deny")
    program.fail(errno.EPERM)
    program.label("allow clone")
    program.allow()
    program.label("signal")
    program.load(bpf.low(0))
    program.equal(_ANY_PID, then="allow signal")
    program.fail(errno.EPERM)
    program.label("allow signal")
    program.allow()
    return program


def _enter_scratch(context: Context) -> Callable[[int], None]:
    """Return the step that leaves a worker its own scratch directory and hides the others'."""
    version = landlock.abi() if context.holds("landlock") else 0
    handled = landlock.files_handled(version) if version else 0
    # A rule cannot deny, so the ruleset allows all other top directories whole; what the template may not do
    # there stays denied by its own ruleset, of which this one is a further restriction.
    tops = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in context.tops] if version else []

    def step(slot: int) -> None:
        if slot < 0:
            return
        own = f"{SCRATCH_ROOT}/{slot}"
        if version:
            _leave_only(own, tops, version, handled)
        os.chdir(own)
        os.environ["TMPDIR"] = own
        if (tempfile := sys.modules.get("tempfile")) is not None:
            tempfile.tempdir = None  # type: ignore[attr-defined]  # It caches the template's answer.

    return step


def _leave_only(own: str, tops: list[int], version: int, handled: int) -> None:
    with landlock.ruleset(version) as rules:
        for descriptor in tops:
            landlock.add(rules, descriptor, handled)
        landlock.allow(rules, own, handled)
        libc.call("landlock_restrict_self", rules, 0)
