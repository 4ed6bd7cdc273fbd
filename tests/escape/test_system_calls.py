"""System calls that open up large parts of the kernel: each answers EPERM under the filter and only then.

The arguments are such that nothing happens where the call is allowed: a null pointer, an impossible
descriptor, a question.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal

import pytest

from elf_pysandbox_worker.isolation import libc
from elf_pysandbox_worker.isolation.syscalls import LAST_KNOWN, MACHINE, NUMBERS
from tests.escape.matrix import ROOT
from tests.isolation.driver import Raised, confinement, only, run

NULL, BAD = 0, 0xFFFF
_CLONE_NEWUSER = 0x10000000
CALLS: dict[str, tuple[int, ...]] = {
    # tracing and other processes
    "ptrace": (0x4206, 0, 0, 0), "process_vm_readv": (0, 0, 0, 0, 0, 0),
    "process_vm_writev": (0, 0, 0, 0, 0, 0), "pidfd_open": (BAD, BAD), "pidfd_getfd": (BAD, 0, 0),
    "pidfd_send_signal": (BAD, 0, 0, 0), "process_madvise": (BAD, 0, 0, 0, 0), "process_mrelease": (BAD, 0),
    "kcmp": (0, 0, BAD, 0, 0), "move_pages": (0, 0, 0, 0, 0, BAD), "migrate_pages": (0, BAD, 0, 0),
    "rt_sigqueueinfo": (0, 0, 0), "rt_tgsigqueueinfo": (0, 0, 0, 0), "kill": (0x7FFFFFFF, 0),
    "tkill": (0, 0), "setpgid": (0x7FFFFFFF, 0),
    # asynchronous and programmable parts of the kernel
    "io_uring_setup": (0, 0), "io_uring_enter": (BAD, 0, 0, 0, 0, 0), "io_uring_register": (BAD, 0, 0, 0),
    "io_setup": (0, 0), "bpf": (BAD, 0, 0), "perf_event_open": (0, 0, 0, 0, 0), "userfaultfd": (BAD,),
    # keys
    "keyctl": (BAD, 0, 0, 0, 0), "add_key": (0, 0, 0, 0, 0), "request_key": (0, 0, 0, 0),
    # namespaces and mounts
    "unshare": (1,), "setns": (BAD, 0), "mount": (0, 0, 0, 0, 0), "umount2": (0, 0), "pivot_root": (0, 0),
    "chroot": (0,), "fsopen": (0, 0), "fsmount": (BAD, 0, 0), "fspick": (BAD, 0, 0),
    "fsconfig": (BAD, 0, 0, 0, 0), "move_mount": (BAD, 0, BAD, 0, 0), "open_tree": (BAD, 0, 0),
    "mount_setattr": (BAD, 0, 0, 0, 0),
    # programs
    "execve": (0, 0, 0), "execveat": (BAD, 0, 0, 0, 0), "memfd_create": (0, 0), "memfd_secret": (BAD,),
    # the machine
    "reboot": (0, 0, 0, 0), "init_module": (0, 0, 0), "finit_module": (BAD, 0, 0), "delete_module": (0, 0),
    "kexec_load": (0, BAD, 0, 0), "swapon": (0, 0), "swapoff": (0,), "syslog": (10, 0, 0),
    "settimeofday": (1, 0), "clock_settime": (0, 0), "clock_adjtime": (0, 0), "adjtimex": (0,),
    "sethostname": (0, 1), "setdomainname": (0, 1), "iopl": (BAD,), "ioperm": (BAD, 1, 0),
    "modify_ldt": (0, 0, 0), "quotactl": (0, 0, 0, 0), "vhangup": (), "sysfs": (BAD, 0, 0), "ustat": (0, 0),
    "lookup_dcookie": (0, 0, 0), "personality": (0x0040000,),
    # shared memory and queues
    "shmget": (0, 4096, 0o600), "msgget": (0, 0o600), "semget": (0, 1, 0o600), "mq_open": (0, 0, 0, 0),
    # files by other ways
    "open_by_handle_at": (BAD, 0, 0), "name_to_handle_at": (BAD, 0, 0, 0, 0), "fanotify_init": (BAD, BAD),
    "inotify_init1": (BAD,), "mknodat": (BAD, 0, 0, 0), "splice": (BAD, 0, BAD, 0, 0, 0),
    "tee": (BAD, BAD, 1, 0), "vmsplice": (BAD, 0, 1, 0), "fchown": (BAD, 0, 0),
    "fsetxattr": (BAD, 0, 0, 0, 0),
    # sockets
    "socket": (2, 1, 0), "connect": (BAD, 0, 0), "bind": (BAD, 0, 0), "listen": (BAD, 0),
    "accept4": (BAD, 0, 0, 0), "setsockopt": (BAD, 1, 1, 0, 0), "sendmmsg": (BAD, 0, 0, 0),
    # identities
    "setuid": (0,), "setgid": (0,), "setgroups": (0, 0), "setresuid": (0, 0, 0), "capset": (0, 0),
    "setsid": (),
}  # fmt: skip
ALWAYS_REFUSED = {"lookup_dcookie", "ustat", "sysfs", "vhangup", "kexec_load", "setsid", "quotactl", "tkill"}
"""Calls that some kernels do not have, or that answer EPERM for reasons of their own."""


def _call_all() -> dict[str, int]:
    """Return name -> errno, 0 if it succeeded."""
    answers = {}
    for name, arguments in CALLS.items():
        if name not in NUMBERS:
            continue
        try:
            libc.call(name, *arguments)
            answers[name] = 0
        except OSError as error:
            answers[name] = error.errno or -1
    return answers


def test_each_is_refused_by_the_filter() -> None:
    answers = run(_call_all, confinement(only("no_new_privs", "seccomp")), "template").value
    assert {name: code for name, code in answers.items() if code != errno.EPERM} == {}


@pytest.mark.skipif(not ROOT, reason="an ordinary user is refused many of them by the kernel itself")
def test_each_is_let_through_without_the_filter() -> None:
    answers = run(_call_all, confinement(only()), "template").value
    assert {name for name, code in answers.items() if code == errno.EPERM} - ALWAYS_REFUSED == set()


def _errno_of(number: int) -> int:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function(ctypes.c_long(number), ctypes.c_long(-1), ctypes.c_long(-1), ctypes.c_long(-1))
    return ctypes.get_errno()


def test_calls_that_libraries_can_do_without_answer_as_if_they_did_not_exist() -> None:
    for name in ("clone3", "openat2"):
        assert run(lambda name=name: _errno_of(NUMBERS[name])).value == errno.ENOSYS


def test_calls_that_did_not_exist_when_the_list_was_made_answer_as_if_they_did_not_exist() -> None:
    def ask() -> set[int]:
        return {_errno_of(number) for number in range(LAST_KNOWN + 1, LAST_KNOWN + 40)}

    assert run(ask).value == {errno.ENOSYS}


@pytest.mark.parametrize("sharing", [0x21, 0x23], ids=["shared", "shared_validate"])
def test_memory_of_no_file_that_a_module_would_share_with_its_calls_is_refused(sharing: int) -> None:
    def act() -> None:
        libc.call("mmap", 0, 4096, 3, sharing, -1, 0)

    layers = "no_new_privs", "seccomp"
    stopped = run(act, confinement(only(*layers)), "template").value
    assert isinstance(stopped, Raised)
    private = run(lambda: bool(mmap.mmap(-1, 4096, mmap.MAP_PRIVATE)), confinement(only(*layers)), "template")
    assert private.value is True
    if sharing == mmap.MAP_SHARED | mmap.MAP_ANONYMOUS:  # the other form is for files only (mmap(2))
        assert not isinstance(run(act, confinement(only()), "template").value, Raised)


def test_a_new_user_namespace_by_clone_is_refused() -> None:
    def act() -> None:
        # As raw as can be; a child that is born all the same ends at once.
        if libc.call("clone", _CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0) == 0:
            os._exit(0)

    assert not isinstance(run(act, confinement(only()), "template").value, Raised)
    stopped = run(act, confinement(only("no_new_privs", "seccomp")), "template").value
    assert isinstance(stopped, Raised)
    assert stopped.errno == errno.EPERM


def _run_machine_code(code: bytes) -> int:
    executable = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE, executable)
    page.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return function()


needs_x86 = pytest.mark.skipif(MACHINE != "x86_64", reason="the other machines have no second call table")
_INT_80 = b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3"  # push rbx; mov eax, 20 (i386 getpid); int 0x80; …; ret
_X32 = b"\xb8\x27\x00\x00\x40\x0f\x05\xc3"  # mov eax, 39 | 1 << 30 (x32 getpid); syscall; ret


@needs_x86
@pytest.mark.parametrize("code", [_INT_80, _X32], ids=["int 0x80", "x32"])
def test_the_other_call_tables_kill(code: bytes) -> None:
    free = run(lambda: _run_machine_code(code), confinement(only()), "template")
    assert isinstance(free.value, int)
    killed = run(lambda: _run_machine_code(code), confinement(only("no_new_privs", "seccomp")), "template")
    assert killed.value is None
    assert os.WTERMSIG(killed.status or 0) == signal.SIGSYS


def test_a_filter_cannot_be_replaced_or_watched() -> None:
    def listen() -> int:
        return libc.call("seccomp", 1, 8, b"")  # SECCOMP_FILTER_FLAG_NEW_LISTENER

    stopped = run(listen).value
    assert isinstance(stopped, Raised)
    assert stopped.errno == errno.EPERM


@pytest.mark.parametrize("option", [4, 22, 26, 28, 59, 0x59616D61], ids=lambda option: f"prctl {option}")
def test_process_options_that_weaken_are_refused(option: int) -> None:
    """PR_SET_DUMPABLE, SECCOMP, TSC, SECUREBITS, SYSCALL_USER_DISPATCH, PTRACER."""
    stopped = run(lambda: libc.prctl(option, 1)).value
    assert isinstance(stopped, Raised)
    assert stopped.errno == errno.EPERM


def test_a_worker_cannot_outlive_its_template_by_clearing_its_death_signal() -> None:
    stopped = run(lambda: libc.prctl(libc.PR_SET_PDEATHSIG, 0)).value
    assert isinstance(stopped, Raised)
    assert run(lambda: libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)).value == 0
