"""Layer `landlock`: the granted files and nothing else, no TCP, no signals and abstract sockets outward
(landlock(7)).

Decided here and nowhere else: which Landlock right a grant becomes. Everything the kernel's ABI knows is
handled, so what is not granted is denied. Landlock has no rule for stat, chmod, utime or watching files:
mount namespace and seccomp stand beside it.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.isolation import libc, mounts, no_new_privs
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.isolation.mount_namespace import DEVICES, SCRATCH_ROOT
from elf_pysandbox_worker.wire.messages import Confinement

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_13 = (1 << 13) - 1

_FILES_OF_ABI = {
    1: _FIRST_13,
    2: _FIRST_13 | _REFER,
    3: _FIRST_13 | _REFER | _TRUNCATE,
    4: _FIRST_13 | _REFER | _TRUNCATE,
    5: _FIRST_13 | _REFER | _TRUNCATE | _IOCTL_DEV,
}
_NEWEST_KNOWN = max(_FILES_OF_ABI)
_TCP = 0b11  # BIND_TCP and CONNECT_TCP, ABI 4
_SCOPES = 0b11  # abstract unix sockets and signals, ABI 6
SIGNAL_SCOPE_ABI = 6
TRUNCATE_ABI = 3

# EXECUTE is in none of them: mapping a library needs no such right, running a program does.
_READ = READ_FILE | READ_DIR
_WRITE = (_FIRST_13 | _REFER | _TRUNCATE) & ~(EXECUTE | _MAKE_CHAR | _MAKE_SOCK | _MAKE_BLOCK)
_DEVICE = READ_FILE | WRITE_FILE
_UNREACHABLE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP)
OF_A_FILE = READ_FILE | WRITE_FILE | _TRUNCATE | EXECUTE | _IOCTL_DEV

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1


def abi() -> int:
    """Return the kernel's Landlock version, 0 if there is none."""
    try:
        return libc.call("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


class Landlock:
    """Restricts this process and all that it will start to the grants of the policy."""

    name = "landlock"
    doors: tuple[Door, ...] = ("template",)

    def available(self, spec: Confinement) -> Missing | None:
        if abi() == 0:
            return Missing(
                "this kernel does not offer Landlock",
                "Use Linux 5.13 or later with 'landlock' in the lsm= boot list; a container's seccomp "
                "profile must allow landlock_create_ruleset",
            )
        return None

    def apply(self, context: Context, door: Door) -> str:
        no_new_privs.demand()
        spec, version = context.spec, abi()
        handled = files_handled(version)
        with ruleset(version) as rules:
            for path in context.grants.read:
                allow(rules, path, _READ & handled)
            for path in (*context.grants.write, *([SCRATCH_ROOT] if spec.scratch_mb else [])):
                allow(rules, path, (_WRITE | _READ) & handled)
            for path in DEVICES:
                allow(rules, path, _DEVICE & handled)
            libc.call("landlock_restrict_self", rules, 0)
        return f"ABI {version}: {', '.join(_restricted(version))}"


def _restricted(version: int) -> Iterator[str]:
    yield "files"
    if version >= 4:
        yield "TCP"
    if version >= SIGNAL_SCOPE_ABI:
        yield "signals and abstract sockets"


def files_handled(version: int) -> int:
    """Return the rights over files that a kernel of this version can restrict."""
    return _FILES_OF_ABI[min(version, _NEWEST_KNOWN)]


@contextmanager
def ruleset(version: int) -> Iterator[int]:
    """Make a ruleset that denies all that `version` knows; the descriptor is closed at the end."""
    rules = create(version)
    try:
        yield rules
    finally:
        os.close(rules)


def create(version: int) -> int:
    """Return the descriptor of a new ruleset that handles all that `version` knows."""
    attributes = attributes_of(version)
    return libc.call(
        "landlock_create_ruleset",
        cdata.create_string_buffer(attributes, len(attributes)),
        len(attributes),
        0,
    )


def attributes_of(version: int) -> bytes:
    """Return `struct landlock_ruleset_attr` as long as this version knows it."""
    fields = [files_handled(version)]
    if version >= 4:
        fields.append(_TCP)
    if version >= SIGNAL_SCOPE_ABI:
        fields.append(_SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


def allow(rules: int, path: str, rights: int) -> None:
    """Grant `rights` over `path` and all below it; one that does not exist, or has become a link, grants nothing."""
    try:
        descriptor = mounts.open_real(path)
    except OSError as error:
        if error.errno in _UNREACHABLE:
            return  # What cannot be reached needs no right.
        raise
    try:
        add(rules, descriptor, rights)
    finally:
        os.close(descriptor)


def add(rules: int, descriptor: int, rights: int) -> None:
    """Grant `rights` over what `descriptor` stands for and all below it."""
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        rights &= OF_A_FILE  # The kernel refuses rights of directories over anything else.
    if rights:
        attributes, parent = rule(rights)
        cdata.c_int32.from_address(parent).value = descriptor
        libc.call("landlock_add_rule", rules, _RULE_PATH_BENEATH, attributes, 0)


def rule(rights: int) -> tuple[cdata.Array[cdata.c_char], int]:
    """Return a `struct landlock_path_beneath_attr`, which is packed, and the address of its descriptor."""
    attributes = cdata.create_string_buffer(struct.pack("=Qi", rights, -1), 12)
    return attributes, cdata.addressof(attributes) + 8


LAYER = Landlock()
