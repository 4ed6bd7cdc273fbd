"""Which system calls a template and its workers may make, and with which arguments.

Decided here and nowhere else: the allowlist. What is in no list is denied with EPERM, what did not exist when
the tables were written with ENOSYS, so that libraries take their fallback. The list was drawn up from what
CPython, glibc, numpy, pandas, pydantic, threads and asyncio do.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from msgspec import Struct

from elf_pysandbox_worker.isolation.bpf import Program, high, low


class Features(Struct, frozen=True):
    """What the allowlist depends on.

    Attributes
    ----------
    writing : bool
        There is a place the tool may write to.
    metadata : bool
        Modes and times may be changed: only where the mount namespace hides every path that was not granted,
        because Landlock has no rule for them.
    signals_stay : bool
        PID namespace or Landlock's scope keep signals inside, so that tgkill(2) cannot reach the host.
    signal_groups : bool
        The template may end the process group of a call: only where processes are allowed, in a PID
        namespace.
    hidden : bool
        The mount namespace hides every path that was not granted. Landlock has no rule for extended attributes, which
        hold data: without one they are not read by path.
    uncut : bool
        Mount namespace or Landlock (ABI 3) keep files that were not granted for writing from being truncated.
    """

    writing: bool
    metadata: bool
    signals_stay: bool
    signal_groups: bool
    hidden: bool
    uncut: bool


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED = _names(
    # memory: RLIMIT_DATA and RLIMIT_AS bound it
    "brk munmap mprotect mremap madvise msync mlock munlock membarrier get_mempolicy "
    # reading files, and the files that are open
    "read readv pread64 preadv preadv2 lseek open openat creat close close_range stat fstat lstat "
    "newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents "
    "getdents64 getcwd chdir fchdir fadvise64 readahead dup dup2 dup3 fgetxattr flistxattr "
    "umask "
    # writing to what is open; opening for writing is decided by mounts and Landlock
    "write writev pwrite64 pwritev pwritev2 ftruncate fsync fdatasync sync_file_range sendfile "
    "copy_file_range "
    # pipes, connected sockets, waiting
    "pipe pipe2 recvfrom recvmsg recvmmsg sendmsg shutdown getsockname getpeername poll ppoll select "
    "pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 epoll_ctl_old "
    "epoll_wait_old eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime signalfd signalfd4 "
    # time
    "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getitimer setitimer "
    "alarm pause timer_create timer_settime timer_gettime timer_getoverrun timer_delete "
    # threads and their memory
    "futex futex_waitv set_robust_list get_robust_list set_tid_address rseq arch_prctl gettid "
    "sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max "
    "sched_get_priority_min sched_rr_get_interval sched_getattr getcpu restart_syscall "
    # own signals: handling, not sending
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack "
    # asking about oneself
    "getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid "
    "getrusage getrlimit setrlimit getpriority sysinfo uname getrandom capget "
    # ending
    "exit exit_group wait4 waitid "
    # restricting oneself further
    "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
)

WRITING = _names(
    "truncate rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat symlink symlinkat "
    "fallocate flock"
)
"""Only where a place to write was granted. flock(2) is among them because it needs no right to write: a
reader could hold a lock that a program outside waits for."""

ATTRIBUTES = _names("getxattr lgetxattr listxattr llistxattr")

TIMES = _names("utime utimes futimesat utimensat")

ABSENT = _names("clone3 openat2 futex_wake futex_wait futex_requeue map_shadow_stack mseal io_pgetevents")
"""Answered with ENOSYS although known: each has an older form that libraries fall back to, and these take
their arguments in memory, where a filter cannot look (or are newer than the fallback)."""

_SET_ID_BITS = 0o6000
_O_CREAT_OR_TMPFILE = 0o100 | 0o20000000
_O_WRONLY, _O_RDWR, _O_TRUNC = 1, 2, 0o1000
# clone(2) flags no caller may use: new namespaces, tracing, a child of one's own parent, a shared signal
# table or memory without being a thread (checked apart).
_CLONE_NEW = 0x7E020080
_CLONE_TRACING = 0x2000 | 0x800000
_CLONE_PARENT = 0x8000
CLONE_THREAD = 0x10000
_CLONE_VM = 0x100

_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20

Check = Callable[[Program], None]


def _one_of(argument: int, *values: int) -> Check:
    """Allow only these values of an argument the kernel takes as an int."""

    def check(program: Program) -> None:
        program.load(low(argument))
        allowed = f"allowed {id(check)}"
        for value in values:
            program.equal(value, then=allowed)
        program.fail(errno.EPERM)
        program.label(allowed)
        program.allow()

    return check


def _all_of(*conditions: tuple[int, tuple[int, ...]]) -> Check:
    """Allow only where each (offset, values) holds."""

    def check(program: Program) -> None:
        for offset, values in conditions:
            program.load(offset)
            passed = f"passed {id(check)} {offset}"
            for value in values:
                program.equal(value, then=passed)
            program.fail(errno.EPERM)
            program.label(passed)
        program.allow()

    return check


def _without(argument: int, mask: int) -> Check:
    """Allow unless the argument has a bit of `mask`."""

    def check(program: Program) -> None:
        denied = f"denied {id(check)}"
        program.load(low(argument))
        program.any_bit(mask, then=denied)
        program.allow()
        program.label(denied)
        program.fail(errno.EPERM)

    return check


def _open(flags: int, mode: int, features: Features) -> Check:
    """Allow what Landlock knows for what it is: it looks at the right to read and to write, and at nothing else.

    The fourth access mode (both bits, open(2)) asks for neither; its descriptor gives extended attributes away.
    """

    def check(program: Program) -> None:
        known, kept, denied, fine = (f"{name} {id(check)}" for name in ("known", "kept", "denied", "fine"))
        program.load(low(flags))
        program.any_bit(_O_WRONLY, otherwise=known)
        program.any_bit(_O_RDWR, then=denied)
        program.label(known)
        if not features.uncut:
            program.any_bit(_O_TRUNC, otherwise=kept)
            program.any_bit(_O_WRONLY | _O_RDWR, otherwise=denied)
            program.label(kept)
        program.any_bit(_O_CREAT_OR_TMPFILE, otherwise=fine)
        program.load(low(mode))
        program.any_bit(_SET_ID_BITS, then=denied)
        program.label(fine)
        program.allow()
        program.label(denied)
        program.fail(errno.EPERM)

    return check


def _mmap(program: Program) -> None:
    """Memory of one's own and files; what a module shared with nobody's file, all calls of its template would share."""
    program.load(low(3))
    program.any_bit(_MAP_ANONYMOUS, otherwise="mmap allowed")
    program.any_bit(_MAP_SHARED, then="mmap denied")
    program.label("mmap allowed")
    program.allow()
    program.label("mmap denied")
    program.fail(errno.EPERM)


def _clone(program: Program) -> None:
    """Threads and plain forks; never a namespace, a tracer's child or shared memory between processes."""
    program.load(low(0))
    program.any_bit(_CLONE_NEW | _CLONE_TRACING | _CLONE_PARENT, then="clone denied")
    program.any_bit(CLONE_THREAD, then="clone allowed")
    program.any_bit(_CLONE_VM, then="clone denied")
    program.label("clone allowed")
    program.allow()
    program.label("clone denied")
    program.fail(errno.EPERM)


_FCNTL = (0, 1, 2, 3, 4, 9, 1027, 1028, 1030, 1032, 1033, 1034)
"""F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETOWN F_DUPFD_QUERY F_CREATED_QUERY F_DUPFD_CLOEXEC F_GETPIPE_SZ
F_ADD_SEALS F_GET_SEALS. Not F_SETOWN and F_SETSIG, which send any signal to any process; not leases and notifications,
which act on other programs' files; not F_SETPIPE_SZ: the pages of pipes are counted for all of a user (pipe(7))."""
_FCNTL_LOCKS = (5, 6, 7, 36, 37, 38)
_IOCTL = (0x541B, 0x5421, 0x5450, 0x5451, 0x5401, 0x802C542A, 0x5413)
"""FIONREAD FIONBIO FIONCLEX FIOCLEX TCGETS TCGETS2 TIOCGWINSZ: not TIOCSTI, FIOASYNC, FIOSETOWN or
FICLONE."""
_PRCTL = (15, 16, 0x53564D41, 3, 21, 23, 30, 39, 38, 41, 42, 2)
"""PR_SET_NAME PR_GET_NAME PR_SET_VMA PR_GET_DUMPABLE PR_GET_SECCOMP PR_CAPBSET_READ PR_GET_TIMERSLACK
PR_GET_NO_NEW_PRIVS PR_SET_NO_NEW_PRIVS PR_SET_THP_DISABLE PR_GET_THP_DISABLE PR_GET_PDEATHSIG."""
_GETSOCKOPT = (2, 3, 4, 7, 8, 9, 20, 21, 30, 38, 39)
"""SO_REUSEADDR SO_TYPE SO_ERROR SO_SNDBUF SO_RCVBUF SO_KEEPALIVE SO_RCVTIMEO SO_SNDTIMEO SO_ACCEPTCONN
SO_PROTOCOL SO_DOMAIN: none that names the peer, whose pidfd is the host's."""
_AF_UNIX, _SOL_SOCKET = 1, 1
# Stream and seqpacket, with or without SOCK_CLOEXEC and SOCK_NONBLOCK. Not datagrams: a datagram socket of a
# pair can still send to any address.
_PAIR_TYPES = tuple(kind | extra for kind in (1, 5) for extra in (0, 0o4000, 0o2000000, 0o2004000))


def _prctl(program: Program) -> None:
    """The harmless options; a parent-death signal only as SIGKILL, which nobody can use to live longer."""
    program.load(low(0))
    program.equal(1, otherwise="prctl other")
    program.load(low(1))
    program.equal(9, then="prctl allowed", otherwise="prctl denied")
    program.label("prctl other")
    for option in _PRCTL:
        program.equal(option, then="prctl allowed")
    program.label("prctl denied")
    program.fail(errno.EPERM)
    program.label("prctl allowed")
    program.allow()


def checks(features: Features) -> dict[str, Check]:
    """Return system call -> the check of its arguments."""
    found: dict[str, Check] = {
        "mmap": _mmap,
        "clone": _clone,
        "fork": lambda program: program.allow(),
        "prctl": _prctl,
        "ioctl": _one_of(1, *_IOCTL),
        "fcntl": _one_of(1, *_FCNTL, *(_FCNTL_LOCKS if features.writing else ())),
        "personality": _one_of(0, 0xFFFFFFFF),
        "socketpair": _all_of((low(0), (_AF_UNIX,)), (low(1), _PAIR_TYPES)),
        "getsockopt": _all_of((low(1), (_SOL_SOCKET,)), (low(2), _GETSOCKOPT)),
        # No address: only to the peer.
        "sendto": _all_of((low(4), (0,)), (high(4), (0,))),
        # Only one's own limits and priority; 0 is the caller.
        "prlimit64": _one_of(0, 0),
        "setpriority": _all_of((low(0), (0,)), (low(1), (0,))),
        # Leaving or entering the batch and idle classes needs no right and harms nobody.
        "sched_setscheduler": _all_of((low(0), (0,)), (low(1), (0, 3, 5))),
        # A further filter can only deny more; no flags: no listener, no other threads.
        "seccomp": _all_of((low(0), (1,)), (low(1), (0,))),
        # A file with set-user-id bits would be a program of the host's user.
        "open": _open(1, 2, features),
        "openat": _open(2, 3, features),
        "creat": _without(1, _SET_ID_BITS),
    }
    if features.metadata:
        found["chmod"] = found["fchmod"] = _without(1, _SET_ID_BITS)
        found["fchmodat"] = found["fchmodat2"] = _without(2, _SET_ID_BITS)
        found["mkdir"] = _without(1, _SET_ID_BITS)
        found["mkdirat"] = _without(2, _SET_ID_BITS)
    if not features.hidden:
        # As a file system without them answers: shutil.copy2 and the like go on.
        found |= dict.fromkeys(ATTRIBUTES, lambda program: program.fail(errno.EOPNOTSUPP))
    if features.signals_stay:
        found["tgkill"] = lambda program: program.allow()
    if features.signal_groups:
        found["kill"] = found["setpgid"] = lambda program: program.allow()
    return found


def allowed(features: Features) -> frozenset[str]:
    """Return the system calls that need no look at their arguments."""
    names = ALLOWED
    if features.writing:
        names |= WRITING if features.uncut else WRITING - {"truncate"}
    if features.metadata:
        names |= TIMES
    if features.hidden:
        names |= ATTRIBUTES
    return names
