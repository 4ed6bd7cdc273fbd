"""Layer `seccomp`: the system calls of the allowlist and no others (seccomp(2)).

Decided here and nowhere else: the shape of the program. It kills on a foreign architecture (int 0x80 reaches
the 32-bit calls, whose numbers mean something else) and on x32 numbers, then searches the number in a
balanced tree.
"""

from __future__ import annotations

import errno
import functools
import itertools
import struct

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation import bpf, landlock, libc, no_new_privs, rules
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.isolation.rules import Features
from elf_pysandbox_worker.isolation.syscalls import LAST_KNOWN, MACHINE, NUMBERS
from elf_pysandbox_worker.wire.messages import Confinement

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_RET_KILL_PROCESS = 0x80000000


class Seccomp:
    """Loads the filter of a template; workers add theirs to it."""

    name = "seccomp"
    doors: tuple[Door, ...] = ("template",)

    def available(self, spec: Confinement) -> Missing | None:
        if MACHINE not in _AUDIT_ARCH:
            return Missing(f"there is no system call table for {MACHINE}", "Use an x86_64 or aarch64 machine")
        try:
            libc.call("seccomp", _GET_ACTION_AVAIL, 0, struct.pack("=I", _RET_KILL_PROCESS))
        except OSError as error:
            return Missing(
                f"this kernel cannot filter system calls ({error.strerror})",
                "Use a kernel with CONFIG_SECCOMP_FILTER; a container's own profile must allow seccomp(2)",
            )
        return None

    def apply(self, context: Context, door: Door) -> str:
        no_new_privs.demand()
        features = features_of(context)
        filter_bytes = program(features)
        load(filter_bytes)
        return f"allowlist of {len(rules.allowed(features)) + len(rules.checks(features))} system calls"


LAYER = Seccomp()


def features_of(context: Context) -> Features:
    """Return what the filter depends on, for a template whose other layers are in place."""
    writing = context.grants_writing()
    in_pid_namespace = context.holds("pid_namespace")
    return Features(
        writing=writing,
        metadata=writing and context.holds("mount_namespace"),
        signals_stay=in_pid_namespace or "signals" in getattr(context.reports.get("landlock"), "detail", ""),
        signal_groups=in_pid_namespace and context.spec.processes > 0,
        hidden=context.holds("mount_namespace"),
        uncut=not context.holds("landlock")
        or context.holds("mount_namespace")
        or landlock.abi() >= landlock.TRUNCATE_ABI,
    )


@functools.cache
def program(features: Features) -> bytes:
    """Return the assembled filter; what `assemble` has made in the zygote, every template inherits."""
    built = bpf.Program()
    built.load(bpf.ARCHITECTURE)
    built.equal(_AUDIT_ARCH[MACHINE], otherwise="foreign")
    built.load(bpf.NUMBER)
    if MACHINE == "x86_64":
        built.at_least(_X32_BIT, then="foreign")
    built.jump("search")
    built.label("foreign")
    built.kill()
    built.label("search")
    checks = {name: check for name, check in rules.checks(features).items() if name in NUMBERS}
    leaves: dict[str, int | str] = {"allow": 0, "deny": errno.EPERM, "absent": errno.ENOSYS}
    leaves.update({f"check {name}": f"check {name}" for name in checks})
    bpf.decide(built, _intervals(features, frozenset(checks)), leaves)
    for name, check in checks.items():
        built.label(f"check {name}")
        check(built)
    return built.assemble()


def assemble() -> None:
    """Assemble the filters that nearly all templates take, with and without a place to write to; in the zygote."""
    if MACHINE in _AUDIT_ARCH:
        for writing in (False, True):
            program(
                Features(
                    writing, metadata=writing, signals_stay=True, signal_groups=False, hidden=True, uncut=True
                )
            )


def _intervals(features: Features, checked: frozenset[str]) -> list[tuple[int, str]]:
    """Return the number line as (first number, action), neighbours of one action joined."""
    actions = ["deny"] * (LAST_KNOWN + 1)
    for name in rules.allowed(features):
        if name in NUMBERS:
            actions[NUMBERS[name]] = "allow"
    for name in rules.ABSENT:
        if name in NUMBERS:
            actions[NUMBERS[name]] = "absent"
    for name in checked:
        actions[NUMBERS[name]] = f"check {name}"
    intervals: list[tuple[int, str]] = []
    first = 0
    for action, run in itertools.groupby([*actions, "absent"]):
        intervals.append((first, action))
        first += len(list(run))
    return intervals


def load(instructions: bytes) -> None:
    """Put a filter on this process; it needs no_new_privs. Raises OSError."""
    filter_ = SocketFilter(instructions)  # Named, so that it lives until the kernel has read it.
    libc.call("seccomp", _SET_MODE_FILTER, 0, filter_.buffer)


class SocketFilter:
    """A `struct sock_fprog` with the instructions it points to, kept alive together."""

    def __init__(self, instructions: bytes) -> None:
        self.instructions = cdata.create_string_buffer(instructions, len(instructions))
        address = cdata.addressof(self.instructions)
        self.buffer = cdata.create_string_buffer(struct.pack("@HP", len(instructions) // 8, address), 16)
