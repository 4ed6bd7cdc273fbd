"""Why something was refused: which layer, which system call or path, and which setting would allow it.

Decided here and nowhere else: the wording of refusals. The kernel only gives an errno, so this is a reading of it
with what the policy granted: it is told to the tool's author as a note and decides nothing.
"""

from __future__ import annotations

import errno
import linecache
import os
import re
import sys
from collections.abc import Collection
from types import TracebackType
from typing import NamedTuple

from elf_pysandbox_worker.intent import folder_asked_for, wanted_to_write
from elf_pysandbox_worker.isolation.context import Context
from elf_pysandbox_worker.isolation.grants import below
from elf_pysandbox_worker.report.origin import innermost

Hints = tuple[tuple[str, str], ...]
"""Settings that would allow it, each with its value or "": alternatives, in the words of no front."""


class Explanation(NamedTuple):
    """What was refused by which layer, and the settings that would allow it."""

    text: str
    hints: Hints = ()


_NETWORK = "tools have no network"
_NO_ANSWER = frozenset({-2, -3, -4, -5, -11})
"""Of getaddrinfo(3): EAI_NONAME, _AGAIN, _FAIL, _NODATA, _SYSTEM. The others are about its arguments."""
_LOOKUP = "looking up a host's name"
_PROGRAMS = "tools start no programs; there is no setting for it"
_OTHERS = "tools do not act on other processes; there is no setting for it"
_METADATA = "it needs a place to write to and the mount namespace"
_NOTHING = "there is no setting for it"
_TO_WRITE: Hints = (("write", ""), ("scratch_mb", ""))


class _Refusal(NamedTuple):
    words: str
    call: str
    why: str
    hints: Hints = ()


# The first entry whose words stand in the line that failed is the reading; the particular before the general.
_REFUSALS = (
    _Refusal("getaddrinfo|gethostbyname|gethostbyaddr", _LOOKUP, _NETWORK),
    _Refusal(
        "_fork_exec|posix_spawn|spawn\\w*|Popen|subprocess|system",
        "starting a program (execve(2))",
        _PROGRAMS,
    ),
    _Refusal("exec[lv]\\w*|fexecve", "execve(2)", _PROGRAMS),
    _Refusal("socketpair", "socketpair(2) of this kind", "only connected stream pairs are allowed"),
    _Refusal("setsockopt|getsockopt", "this socket option", _NOTHING),
    _Refusal("socket|create_connection|create_server|connect|bind", "socket(2)", _NETWORK),
    _Refusal(
        "fork|forkpty|Process|Pool|ProcessPoolExecutor",
        "fork(2)",
        "no processes are granted",
        (("processes", ""),),
    ),
    _Refusal(
        "pidfd_open|pidfd_send_signal|kill|killpg|pthread_kill|prlimit|setpriority|sched_\\w+",
        "that",
        _OTHERS,
    ),
    _Refusal(
        "chmod|fchmod|lchmod|utime|chown|lchown|fchown|setxattr|removexattr",
        "changing metadata",
        _METADATA,
        _TO_WRITE,
    ),
    _Refusal(
        "flock|lockf|F_SETLK\\w*|F_OFD\\w*", "locking files", "it needs a place to write to", (("write", ""),)
    ),
    _Refusal("memfd_create", "memfd_create(2)", "use bytes, or a scratch directory", (("scratch_mb", ""),)),
    _Refusal(
        "mmap", "shared memory of no file", "pass flags=mmap.MAP_PRIVATE: memory is no way from call to call"
    ),
    _Refusal("mkfifo|mknod", "mknod(2)", _NOTHING),
    _Refusal("ioctl|fcntl|prctl|unshare|setns|mount|chroot|ptrace", "this system call", _NOTHING),
    _Refusal("set\\w*[ug]id|setgroups|initgroups|setsid|setpgid", "changing identity or session", _NOTHING),
)

_SHARED_MEMORY = re.compile("SemLock|shm_open|SharedMemory|sem_open")
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = Explanation("the scratch directory is full", (("scratch_mb", ""),))
_NO_TEMPORARY = Explanation(
    "tools have no temporary folder, unless they are given one of their own", (("scratch_mb", ""),)
)
_LIMITS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: Explanation("layer rlimits: the file is larger than allowed", (("file_mb", ""),)),
    errno.EMFILE: Explanation("layer rlimits: too many open files", (("open_files", ""),)),
    errno.ENOMEM: Explanation("layer rlimits: out of memory", (("memory_mb", ""),)),
    errno.EAGAIN: Explanation("layer rlimits: too many processes or threads at once"),
}


def explain_error(error: BaseException, context: Context | None = None) -> Explanation | None:
    """Say which layer refused what and which settings would allow it.

    Parameters
    ----------
    error : BaseException
        As the tool's code met it; with its traceback, which tells the function that was called.
    context : Context, optional
        What was granted; the one of this process if None.

    Returns
    -------
    Explanation or None
        None if the error does not look like a refusal of the sandbox.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return None
    context = context or _of_this_process()
    if is_refused_lookup(error, context):
        return _explain_lookup(context)
    words = _words_of(error.__traceback__)
    if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM) and any(map(_SHARED_MEMORY.fullmatch, words)):
        return _explain_shared_memory(context)
    if error.errno == errno.ENOENT and "_get_default_tempdir" in words:
        return _NO_TEMPORARY
    path = _path_of(error)
    if path is not None and context is not None:
        return explain_path(error.errno, path, context, writing=wanted_to_write(error))
    if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        return explain_call(words)
    if error.errno == errno.EAGAIN and not words & {"fork", "start_new_thread", "_start_joinable_thread"}:
        return None  # A non-blocking read, most likely.
    return _LIMITS.get(error.errno)


def is_refused_lookup(error: BaseException, context: Context | None = None) -> bool:
    """Whether a host's name could not be looked up for want of a network: such an error has a number of its own."""
    socket = sys.modules.get("_socket")
    if socket is None or not isinstance(error, (socket.gaierror, socket.herror)):
        return False
    context = context or _of_this_process()
    if context is None or not (context.holds("seccomp") or context.holds("network_namespace")):
        return False
    if isinstance(error, socket.herror):
        return True
    last = innermost(error.__traceback__)
    flags = last.tb_frame.f_locals.get("flags") if last is not None else 0
    asked_whether_address = isinstance(flags, int) and flags & socket.AI_NUMERICHOST
    return error.errno in _NO_ANSWER and not asked_whether_address


def is_about_network(explanation: Explanation) -> bool:
    """Whether it was the network that was refused."""
    return explanation.text.endswith(_NETWORK)


def _explain_lookup(context: Context | None) -> Explanation:
    layer = "network_namespace" if context is not None and not context.holds("seccomp") else "seccomp"
    return Explanation(f"layer {layer}: {_LOOKUP} is not allowed: {_NETWORK}")


def _explain_shared_memory(context: Context | None) -> Explanation:
    layer = "mount_namespace" if context is not None and context.holds("mount_namespace") else "landlock"
    return Explanation(
        f"layer {layer}: tools have no /dev/shm, so no POSIX semaphores and shared memory (multiprocessing.Lock, "
        "Queue and Pool, ProcessPoolExecutor): use threading.Lock, queue.Queue and ThreadPoolExecutor, where "
        "processes are granted also multiprocessing.Process and Pipe; there is no setting for it"
    )


def explain_call(words: Collection[str]) -> Explanation:
    """Explain a refused system call by the words of the line that made it."""
    for refusal in _REFUSALS:
        pattern = re.compile(refusal.words)
        if any(pattern.fullmatch(word) for word in words):
            return Explanation(f"layer seccomp: {refusal.call} is not allowed: {refusal.why}", refusal.hints)
    return Explanation("layer seccomp: the system call behind this is not allowed in the sandbox")


def explain_path(number: int, path: str, context: Context, *, writing: bool = False) -> Explanation | None:
    """Explain what happened to a path by what was granted, and by whether it was to be written."""
    spec = context.spec
    relative, path = path, os.path.abspath(path)
    written = _within(path, [*spec.write, *(["/scratch"] if spec.scratch_mb else [])])
    if not os.path.isabs(relative) and (number == errno.ENOENT or (number in _CLOSED and not written)):
        return _explain_relative(relative, context, writing=writing)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE):
        return _LIMITS[number]
    if number == errno.EACCES and (foreign := _within(os.path.realpath(path), context.foreign)):
        return Explanation(f"{foreign} is granted, but {context.foreign[foreign]}")
    if bent := _within(path, context.grants.bent):
        return Explanation(
            f"the grant {bent} leads through a link that a tool could have planted: grant what it points to"
        )
    if number not in (*_CLOSED, errno.ENOENT) or written:
        return None
    layer = "mount_namespace" if context.holds("mount_namespace") else "landlock"
    if _within(path, spec.read):
        if number != errno.ENOENT:
            return Explanation(f"{path} may be read only", (("write", path),))
        real = os.path.realpath(path)
        if _within(real, [*spec.read, *spec.write]):
            return None  # It would be missing outside as well.
        text = f"layer {layer}: {path} leads by a link to {real}, which is not granted, if it exists"
        return Explanation(text, (("read", real),))
    if number == errno.ENOENT and not context.holds("mount_namespace"):
        return None
    if writing:
        return Explanation(f"layer {layer}: {path} is not granted", (("write", path),))
    if number == errno.ENOENT:
        return Explanation(f"layer {layer}: {path} is not granted, if it exists", (("read", path),))
    return Explanation(f"layer {layer}: {path} is not granted", (("read", path), ("write", path)))


def _explain_relative(path: str, context: Context, *, writing: bool) -> Explanation | None:
    """Explain a relative path that leads nowhere: it was most likely meant from where the host program runs."""
    spec = context.spec
    meant = [os.path.join(os.path.dirname(grant), path) for grant in (*spec.grants_read, *spec.write)]
    found = next((each for each in meant if os.path.exists(each)), None)
    if found is None and spec.scratch_mb:
        return None  # Its folder is the tool's own: the file may as well be the tool's.
    why = f"a relative path counts from the call's own folder ({os.getcwd()}): pass an absolute path"
    if found is not None:
        return Explanation(f"{why}, here {os.path.abspath(found)}")
    if writing:
        return Explanation(f"{why}, or ask for a folder of its own", (("scratch_mb", ""), ("write", "")))
    return Explanation(f"{why}, of what is granted", (("read", ""),))


def _within(path: str, tops: Collection[str]) -> str | None:
    """Return the nearest of `tops` that `path` is or lies below."""
    return max((top for top in tops if below(path, (top,))), key=len, default=None)


def _path_of(error: OSError) -> str | None:
    name = error.filename
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if not isinstance(name, str) or not name:
        return None
    # The names of system calls stand there too, where this package raised the error.
    if os.path.isabs(name) and (folder := folder_asked_for(error)) and below(folder, (name,)):
        return folder
    return (
        name if error.errno in (errno.ENOENT, errno.EROFS) or "/" in name or os.path.lexists(name) else None
    )


def _words_of(traceback: TracebackType | None) -> set[str]:
    """Return the identifiers of the line that failed, and the function it stands in."""
    last = innermost(traceback)
    if last is None:
        return set()
    code = last.tb_frame.f_code
    line = linecache.getline(code.co_filename, last.tb_lineno or 0, last.tb_frame.f_globals)
    return {code.co_name, *(re.findall(r"\w+", line) or code.co_names)}


def _of_this_process() -> Context | None:
    from elf_pysandbox_worker import isolation

    return isolation.current()
