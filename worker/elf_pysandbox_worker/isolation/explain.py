"""Why something was refused: which layer, which system call or path, and which setting would allow it.

Decided here and nowhere else: the wording of refusals. The kernel only gives an errno, so this is a reading of it
with what the policy granted: it is told to the tool's author as a note and decides nothing.
"""

from __future__ import annotations

import errno
import linecache
import os
import re
from collections.abc import Collection
from types import TracebackType
from typing import NamedTuple

from elf_pysandbox_worker.isolation.context import Context
from elf_pysandbox_worker.isolation.grants import below

_NETWORK = "tools have no network"
_PROGRAMS = "tools start no programs; there is no setting for it"
_PROCESSES = "allow processes with Limits(processes=N)"
_OTHERS = "tools do not act on other processes; there is no setting for it"
_METADATA = "it needs a place to write to (Files.write or scratch_mb) and the mount namespace"
_NOTHING = "there is no setting for it"


class _Refusal(NamedTuple):
    words: str
    call: str
    setting: str


# The first entry whose words stand in the line that failed is the reading; the particular before the general.
_REFUSALS = (
    _Refusal("getaddrinfo|gethostbyname|gethostbyaddr", "looking up a host's name", _NETWORK),
    _Refusal(
        "_fork_exec|posix_spawn|spawn\\w*|Popen|subprocess|system",
        "starting a program (execve(2))",
        _PROGRAMS,
    ),
    _Refusal("exec[lv]\\w*|fexecve", "execve(2)", _PROGRAMS),
    _Refusal("socketpair", "socketpair(2) of this kind", "only connected stream pairs are allowed"),
    _Refusal("setsockopt|getsockopt", "this socket option", _NOTHING),
    _Refusal("socket|create_connection|create_server|connect|bind", "socket(2)", _NETWORK),
    _Refusal("fork|forkpty|Process|Pool|ProcessPoolExecutor", "fork(2)", _PROCESSES),
    _Refusal(
        "pidfd_open|pidfd_send_signal|kill|killpg|pthread_kill|prlimit|setpriority|sched_\\w+",
        "that",
        _OTHERS,
    ),
    _Refusal(
        "chmod|fchmod|lchmod|utime|chown|lchown|fchown|setxattr|removexattr", "changing metadata", _METADATA
    ),
    _Refusal(
        "flock|lockf|F_SETLK\\w*|F_OFD\\w*", "locking files", "grant a place to write to with Files(write=…)"
    ),
    _Refusal("memfd_create", "memfd_create(2)", "use bytes, or a scratch directory (Files(scratch_mb=N))"),
    _Refusal("mkfifo|mknod", "mknod(2)", _NOTHING),
    _Refusal("ioctl|fcntl|prctl|unshare|setns|mount|chroot|ptrace", "this system call", _NOTHING),
    _Refusal("set\\w*[ug]id|setgroups|initgroups|setsid|setpgid", "changing identity or session", _NOTHING),
)

_SHARED_MEMORY = re.compile("SemLock|shm_open|SharedMemory|sem_open")

_LIMITS = {
    errno.ENOSPC: "the scratch directory is full: raise Files(scratch_mb=…)",
    errno.EDQUOT: "the scratch directory is full: raise Files(scratch_mb=…)",
    errno.EFBIG: "layer rlimits: the file is larger than allowed: raise Limits(file_mb=…)",
    errno.EMFILE: "layer rlimits: too many open files: raise Limits(open_files=…)",
    errno.ENOMEM: "layer rlimits: out of memory: raise Limits(memory_mb=…)",
    errno.EAGAIN: "layer rlimits: too many processes or threads at once",
}


def explain_error(error: BaseException, context: Context | None = None) -> str | None:
    """Say which layer refused what and which setting would allow it.

    Parameters
    ----------
    error : BaseException
        As the tool's code met it; with its traceback, which tells the function that was called.
    context : Context, optional
        What was granted; the one of this process if None.

    Returns
    -------
    str or None
        None if the error does not look like a refusal of the sandbox.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return None
    context = context or _of_this_process()
    words = _words_of(error.__traceback__)
    if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM) and any(map(_SHARED_MEMORY.fullmatch, words)):
        return _explain_shared_memory(context)
    path = _path_of(error)
    if path is not None and context is not None:
        return explain_path(error.errno, path, context)
    if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        return explain_call(words)
    if error.errno == errno.EAGAIN and not words & {"fork", "start_new_thread", "_start_joinable_thread"}:
        return None  # A non-blocking read, most likely.
    return _LIMITS.get(error.errno)


def _explain_shared_memory(context: Context | None) -> str:
    layer = "mount_namespace" if context is not None and context.holds("mount_namespace") else "landlock"
    return (
        f"layer {layer}: tools have no /dev/shm, so no POSIX semaphores and shared memory (multiprocessing.Lock, "
        "Queue and Pool, ProcessPoolExecutor): use threading.Lock, queue.Queue and ThreadPoolExecutor, with "
        "Limits(processes=N) also multiprocessing.Process and Pipe; there is no setting for it"
    )


def explain_call(words: Collection[str]) -> str | None:
    """Explain a refused system call by the words of the line that made it."""
    for refusal in _REFUSALS:
        pattern = re.compile(refusal.words)
        if any(pattern.fullmatch(word) for word in words):
            return f"layer seccomp: {refusal.call} is not allowed: {refusal.setting}"
    return "layer seccomp: the system call behind this is not allowed in the sandbox"


def explain_path(number: int, path: str, context: Context) -> str | None:
    """Explain what happened to a path by what was granted."""
    spec = context.spec
    path = os.path.abspath(path)
    written = _within(path, [*spec.write, *(["/scratch"] if spec.scratch_mb else [])])
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE):
        return _LIMITS[number]
    if number == errno.EACCES and (foreign := _within(os.path.realpath(path), context.foreign)):
        return f"{foreign} is granted, but {context.foreign[foreign]}"
    if bent := _within(path, context.grants.bent):
        return (
            f"the grant {bent} leads through a link that a tool could have planted: grant what it points to"
        )
    if number not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT) or written:
        return None
    if _within(path, spec.read):
        if number == errno.ENOENT:
            return None  # It would be missing outside as well.
        return f"{path} may be read only: grant it with Files(write=({path!r},))"
    layer = "mount_namespace" if context.holds("mount_namespace") else "landlock"
    if number == errno.ENOENT:
        if not context.holds("mount_namespace"):
            return None
        return f"layer {layer}: {path} is not granted, if it exists: Files(read=({path!r},)) shows it"
    return (
        f"layer {layer}: {path} is not granted: Files(read=({path!r},)) or Files(write=({path!r},)) grants it"
    )


def _within(path: str, tops: Collection[str]) -> str | None:
    """Return the nearest of `tops` that `path` is or lies below."""
    return max((top for top in tops if below(path, (top,))), key=len, default=None)


def _path_of(error: OSError) -> str | None:
    name = error.filename
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    # The names of system calls stand there too, where this package raised the error.
    return name if isinstance(name, str) and ("/" in name or os.path.lexists(name)) else None


def _words_of(traceback: TracebackType | None) -> set[str]:
    """Return the identifiers of the line that failed, and the function it stands in."""
    last = None
    while traceback is not None:
        last, traceback = traceback, traceback.tb_next
    if last is None:
        return set()
    code = last.tb_frame.f_code
    line = linecache.getline(code.co_filename, last.tb_lineno or 0, last.tb_frame.f_globals)
    return {code.co_name, *(re.findall(r"\w+", line) or code.co_names)}


def _of_this_process() -> Context | None:
    from elf_pysandbox_worker import isolation

    return isolation.current()
