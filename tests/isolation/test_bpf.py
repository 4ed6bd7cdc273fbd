"""The assembler and the search tree."""

from __future__ import annotations

import struct

import pytest

from elf_pysandbox_worker.isolation import bpf, rules, seccomp
from elf_pysandbox_worker.isolation.syscalls import LAST_KNOWN, NUMBERS

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
X86_64 = 0xC000003E


def interpret(
    instructions: bytes, number: int, architecture: int = X86_64, arguments: tuple[int, ...] = ()
) -> int:
    """Run a filter as the kernel would (BPF of seccomp(2)); return what it returns."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    rows = list(struct.iter_unpack("=HBBI", instructions))
    at = word = 0
    while True:
        code, then, otherwise, value = rows[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            word = struct.unpack_from("=I", data, value)[0]
        elif code == 0x05:
            at += value
        else:
            true = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[code]
            at += then if true else otherwise


FEATURES = [
    rules.Features(writing, metadata, stay, groups, hidden, uncut)
    for writing in (False, True)
    for metadata in (False, True)
    for stay in (False, True)
    for groups in (False, True)
    for hidden in (False, True)
    for uncut in (False, True)
]


@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_every_number_gets_the_answer_of_the_rules(features: rules.Features) -> None:
    program = seccomp.program(features)
    allowed = {NUMBERS[name] for name in rules.allowed(features) if name in NUMBERS}
    checked = {NUMBERS[name] for name in rules.checks(features) if name in NUMBERS}
    absent = {NUMBERS[name] for name in rules.ABSENT if name in NUMBERS} - checked
    for number in range(LAST_KNOWN + 1):
        answer = interpret(program, number)
        if number in absent:
            assert answer == ERRNO | 38, number
        elif number in allowed - checked:
            assert answer == ALLOW, number
        elif number not in checked:
            assert answer == ERRNO | 1, number
    assert interpret(program, LAST_KNOWN + 1) == ERRNO | 38


def test_foreign_architectures_and_x32_numbers_kill() -> None:
    program = seccomp.program(FEATURES[0])
    assert interpret(program, 0, architecture=0x40000003) == KILL
    assert interpret(program, 0x40000000) == KILL
    assert interpret(program, -1) == KILL


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("clone", (0x3D0F00,), True),  # pthread_create(3)
        ("clone", (0x1200011,), True),  # fork(3)
        ("clone", (0x10000000 | 17,), False),  # CLONE_NEWUSER
        ("clone", (0x80 | 17,), False),  # CLONE_NEWTIME
        ("clone", (0x8000 | 17,), False),  # CLONE_PARENT
        ("clone", (0x4100 | 17,), False),  # vfork(3): memory shared between processes
        ("socketpair", (1, 1 | 0o2000000), True),
        ("socketpair", (1, 2), False),  # datagrams
        ("socketpair", (2, 1), False),  # AF_INET
        ("sendto", (3, 0, 0, 0, 0), True),
        ("sendto", (3, 0, 0, 0, 1 << 32), False),  # an address in the high half
        ("ioctl", (0, 0x5412), False),  # TIOCSTI
        ("ioctl", (0, 0x5401), True),  # TCGETS
        ("fcntl", (0, 8), False),  # F_SETOWN
        ("fcntl", (0, 1030), True),  # F_DUPFD_CLOEXEC
        ("fcntl", (0, 1031), False),  # F_SETPIPE_SZ
        ("prctl", (15,), True),  # PR_SET_NAME
        ("prctl", (1, 9), True),  # PR_SET_PDEATHSIG SIGKILL
        ("prctl", (1, 0), False),
        ("prctl", (4, 1), False),  # PR_SET_DUMPABLE
        ("prlimit64", (0, 7), True),
        ("prlimit64", (1, 7), False),
        ("seccomp", (1, 0), True),
        ("seccomp", (1, 8), False),  # a listener
        ("getsockopt", (3, 1, 77), False),  # SO_PEERPIDFD
        ("getsockopt", (3, 1, 3), True),  # SO_TYPE
        ("personality", (0xFFFFFFFF,), True),
        ("personality", (0x40000,), False),
        ("openat", (0, 0, 0o101, 0o4755), False),  # O_CREAT with a set-user-id bit
        ("openat", (0, 0, 0o101, 0o755), True),
        ("openat", (0, 0, 0, 0o4755), True),  # no O_CREAT: the register holds anything
        ("openat", (0, 0, 3), False),  # neither to read nor to write
        ("open", (0, 3), False),
        ("openat", (0, 0, 2), True),  # O_RDWR
        ("openat", (0, 0, 0o1101, 0o644), True),  # as open(path, "w")
        ("openat", (0, 0, 0o1000), False),  # O_TRUNC without a right to write
    ],
)
def test_arguments_decide(name: str, arguments: tuple[int, ...], allowed: bool) -> None:
    answer = interpret(seccomp.program(FEATURES[0]), NUMBERS[name], arguments=arguments)
    assert answer == (ALLOW if allowed else ERRNO | 1)


def test_files_are_cut_by_path_only_where_another_layer_looks_at_that() -> None:
    for features in FEATURES:
        program = seccomp.program(features)
        assert interpret(program, NUMBERS["openat"], arguments=(0, 0, 0o1000)) == (
            ALLOW if features.uncut else ERRNO | 1
        )
        cut = interpret(program, NUMBERS["truncate"])
        assert cut == (ALLOW if features.uncut and features.writing else ERRNO | 1)


def test_a_jump_too_far_is_an_error_not_a_wrong_program() -> None:
    program = bpf.Program()
    program.equal(1, then="far")
    for _ in range(300):
        program.allow()
    program.label("far")
    program.kill()
    with pytest.raises(ValueError, match="too far"):
        program.assemble()


def test_the_search_is_shallow() -> None:
    """The kernel walks the program for each number when it is loaded."""
    program = seccomp.program(FEATURES[0])
    rows = len(program) // 8
    assert rows < 500
