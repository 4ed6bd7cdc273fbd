"""The third door: what only a worker can lose, right after its fork.

Decided here and nowhere else: what a call may not do that its template may. This is on the path of every
worker, so all that can be made before the fork is made before it; after it there are only bound functions and
plain ints.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import errno
import os
import resource
import struct
import sys
from collections.abc import Callable

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation import bpf, landlock, libc, rlimits
from elf_pysandbox_worker.isolation.burst import Burst, Call
from elf_pysandbox_worker.isolation.burst import error as failed
from elf_pysandbox_worker.isolation.context import Context
from elf_pysandbox_worker.isolation.mount_namespace import SCRATCH_ROOT
from elf_pysandbox_worker.isolation.rules import CLONE_THREAD
from elf_pysandbox_worker.isolation.seccomp import SocketFilter
from elf_pysandbox_worker.isolation.syscalls import NUMBERS
from elf_pysandbox_worker.wire.messages import Confinement

NO_SCRATCH = -1
_LAST_DESCRIPTOR = (1 << 32) - 1
_ANY_PID = 0x7FFFFFFF
_SET_MODE_FILTER = 1
_AT_FDCWD = (1 << 64) - 100


def prepare_worker(context: Context, close_from: int | None = None) -> Callable[[int], None]:
    """Return the function that confines a fresh worker; for the template, before it forks the first.

    Parameters
    ----------
    context : Context
        As the second door left it.
    close_from : int, optional
        Close this descriptor and all above before anything else happens: the template's channel, and those of other
        workers.

    Returns
    -------
    callable
        `confine_worker(slot)`: to be called first thing after the fork, with the number of the worker's
        scratch directory or -1. Raises OSError if the kernel refuses, and then the worker must end.
    """
    spec = context.spec
    closing = [] if close_from is None else [Call("close_range", (close_from, _LAST_DESCRIPTOR, 0))]
    if closing and not _can_close_ranges():
        assert close_from is not None
        return _close_one_by_one(prepare_worker(context), close_from)
    calls, keep = _calls(context)
    if not spec.scratch_mb:
        calls = closing + calls
    burst = Burst(calls, keep).run
    if not spec.scratch_mb:
        return _bind(burst, None if context.holds("pid_namespace") else os.getpid())
    scratch = _Scratch(context, closing)

    def confine_with_scratch(slot: int) -> None:
        scratch.enter(slot)
        if burst() is not None:
            raise failed()

    return confine_with_scratch


def _can_close_ranges() -> bool:
    """Whether the kernel has close_range(2), as Linux has from 5.9 on."""
    try:
        libc.call("close_range", _LAST_DESCRIPTOR, _LAST_DESCRIPTOR, 0)
    except OSError:
        return False
    return True


def _close_one_by_one(confine: Callable[[int], None], close_from: int) -> Callable[[int], None]:
    def confine_worker(slot: int = NO_SCRATCH) -> None:
        os.closerange(close_from, 1 << 20)
        confine(slot)

    return confine_worker


def _calls(context: Context) -> tuple[list[Call], list[object]]:
    """Return the system calls every worker makes, and what must live as long as they do."""
    calls: list[Call] = []
    keep: list[object] = []
    if not context.holds("pid_namespace"):
        # Without one the template's death would leave its workers behind.
        calls.append(Call("prctl", (libc.PR_SET_PDEATHSIG, signal.SIGKILL)))
    if context.holds("rlimits"):
        for kind, limit in _limits(context.spec):
            calls.append(Call("prlimit64", (0, kind, cdata.addressof(limit), 0)))
            keep.append(limit)
    if context.spec.processes and context.holds("pid_namespace"):
        # Its own process group, by which the template ends what the call leaves behind.
        calls.append(Call("setpgid", (0, 0)))
    if context.holds("seccomp"):
        # Last: it takes away calls that the others need.
        filter_, pid_word = _filter(context.spec.processes > 0)
        calls.append(Call("getpid", (), store=pid_word))
        calls.append(Call("seccomp", (_SET_MODE_FILTER, 0, cdata.addressof(filter_.buffer))))
        keep.append(filter_)
    return calls, keep


def _bind(burst: Callable[[], object], template: int | None) -> Callable[[int], None]:
    getppid = os.getppid

    def confine_worker(slot: int = NO_SCRATCH) -> None:
        if burst() is not None:
            raise failed()
        if template is not None and getppid() != template:
            os._exit(1)  # The template died between the fork and the signal that tells of it.

    return confine_worker


def _limits(spec: Confinement) -> list[tuple[int, cdata.Array[cdata.c_char]]]:
    """Return (resource, `struct rlimit64`) of a worker.

    Its CPU time starts from 0 at the fork, so these are the call's own seconds.
    """
    files = min(spec.open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    values = ((resource.RLIMIT_CPU, rlimits.worker_cpu_s(spec)), (resource.RLIMIT_NOFILE, (files, files)))
    return [(kind, cdata.create_string_buffer(struct.pack("=2Q", *pair), 16)) for kind, pair in values]


def _filter(processes: bool) -> tuple[SocketFilter, int]:
    """Return the worker's filter and the address of the word in it that takes the worker's pid.

    One pid in the program is all that differs between workers. There is no check of the architecture: the
    template's filter has made that one first.
    """
    instructions = _worker_program(processes).assemble()
    filter_ = SocketFilter(instructions)
    place = instructions.rindex(struct.pack("=I", _ANY_PID))
    return filter_, cdata.addressof(filter_.instructions) + place


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


class _Scratch:
    """Leaves a worker its own scratch directory and hides the others'."""

    def __init__(self, context: Context, closing: list[Call]) -> None:
        version = landlock.abi() if context.holds("landlock") else 0
        self._own = cdata.create_string_buffer(64)
        self._keep: list[object] = [self._own]
        calls: list[Call] = [*closing]
        if version:
            calls += self._restrict(context, version)
        calls.append(Call("chdir", (cdata.addressof(self._own),)))
        self._burst = Burst(calls, self._keep).run

    def enter(self, slot: int) -> None:
        own = f"{SCRATCH_ROOT}/{slot}"
        self._own.value = own.encode()
        if self._burst() is not None:
            raise failed()
        os.environ["TMPDIR"] = own
        if (tempfile := sys.modules.get("tempfile")) is not None:
            tempfile.tempdir = None  # type: ignore[attr-defined]  # It caches the template's answer.

    def _restrict(self, context: Context, version: int) -> list[Call]:
        """Return the calls of a further Landlock ruleset.

        A rule cannot deny, so it allows all other top directories whole; what the template may not do there
        stays denied by its own ruleset. The ruleset gets a descriptor that is known beforehand, the last one
        that the worker may have, so that all rows can name it.
        """
        attributes = landlock.attributes_of(version)
        wish = cdata.create_string_buffer(attributes, len(attributes))
        rules = context.spec.open_files - 1
        self._keep.append(wish)
        calls = [
            Call("landlock_create_ruleset", (cdata.addressof(wish), len(attributes), 0), first_of=(1,)),
            Call("dup3", (0, rules, os.O_CLOEXEC), first_of=()),
        ]
        paths = [cdata.create_string_buffer(os.fsencode(path)) for path in context.tops]
        self._keep += paths
        handled = landlock.files_handled(version)
        for path in (*paths, self._own):
            calls += self._allow(path, rules, handled)
        calls.append(Call("landlock_restrict_self", (rules, 0)))
        return calls

    def _allow(self, path: cdata.Array[cdata.c_char], rules: int, rights: int) -> list[Call]:
        is_directory = path is self._own or os.path.isdir(path.value)
        rule, parent = landlock.rule(rights if is_directory else rights & landlock.OF_A_FILE)
        self._keep.append(rule)
        flags = os.O_PATH | os.O_CLOEXEC
        return [
            Call("openat", (_AT_FDCWD, cdata.addressof(path), flags, 0), store=parent, first_of=(2,)),
            Call("landlock_add_rule", (rules, 1, cdata.addressof(rule), 0)),
            Call("close", (0,)),
        ]
