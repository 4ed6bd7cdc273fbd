"""The forbidden act of each layer: what a process can do without it and cannot with it.

Decided here and nowhere else: what counts as proof. Each act is one that the layer stops by itself; the layers it
`needs` to be applied at all are on in both trials. An act returns if it succeeded and raises if it was stopped.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import tempfile
import termios
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from elf_pysandbox_worker.isolation import libc, namespaces

_SECRET_NAME = "PYSANDBOX_PROOF"
_IPC_CREAT, _IPC_RMID, _IPC_PRIVATE_LIKE = 0o1000, 0, 0x5A9D
THREADS_OF_A_BOMB = 300
"""More than `tasks_allowed` of the proof's confinement, far less than any host's own limit."""
MEMORY_PROOF_MB = 1024


class Proof(NamedTuple):
    """How one layer is proven.

    Attributes
    ----------
    layer : str
    act : str
        What is tried, in words.
    attempt : callable or None
        Runs in the confined template; None where the layer has nothing to take away on this host.
    lost : str
        What a tool could do if only this layer were missing.
    needs : tuple of str
        Layers without which this one cannot be applied.
    before : callable or None
        Runs in the keeper, before its door: what the process would have inherited.
    """

    layer: str
    act: str
    attempt: Callable[[], object] | None
    lost: str
    needs: tuple[str, ...] = ()
    before: Callable[[], None] | None = None


@dataclass
class Stage:
    """What the acts are about: things of this process that a confined one should not reach."""

    pipe: int
    terminal: str
    port: int
    queue_key: int
    folder: str
    hidden: str
    owned: str
    host_pid: int
    host_name: str
    user_namespace: str


def set_stage(stack: ExitStack) -> Stage:
    """Make the pipe, terminal, listener, message queue and files that the acts try to reach."""
    read, write = os.pipe()
    leader, follower = os.openpty()
    for descriptor in (read, write, leader, follower):
        stack.callback(os.close, descriptor)
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    os.chmod(folder, 0o755)
    for name, mode in (("hidden", 0o644), ("owned", 0o600)):
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write("secret")
        os.chmod(file.name, mode)
    key = _IPC_PRIVATE_LIKE << 16 | os.getpid() & 0xFFFF
    queue = libc.call("msgget", key, _IPC_CREAT | 0o666)
    stack.callback(libc.call, "msgctl", queue, _IPC_RMID, None)
    return Stage(
        write, os.ttyname(follower), listener.getsockname()[1], key, folder, f"{folder}/hidden", f"{folder}/owned",
        os.getpid(), os.uname().nodename, os.readlink("/proc/self/ns/user"),
    )  # fmt: skip


def proofs(stage: Stage) -> list[Proof]:
    """Return the proof of every layer, for this stage, in their order."""
    return [*_of_surroundings(stage), *_of_the_process(stage)]


def _of_surroundings(stage: Stage) -> list[Proof]:
    """What the process has around it."""
    owner = () if os.geteuid() == 0 else ("user_namespace",)
    return [
        Proof(
            "descriptors", "write to a pipe the host program has open", lambda: os.write(stage.pipe, b"x"),
            "write to files and sockets that the host program has open",
        ),
        Proof(
            "session", "open the terminal of the session", lambda: os.open("/dev/tty", os.O_RDWR),
            "type commands into the terminal the host program was started from",
            before=lambda: _take_terminal(stage.terminal),
        ),
        Proof(
            "environment", "read a variable of the host program", lambda: os.environ[_SECRET_NAME],
            "read the host program's environment, with the keys and tokens in it",
            before=lambda: os.environ.__setitem__(_SECRET_NAME, "secret"),
        ),
        Proof(
            "user_namespace", "be in the user namespace of the host", lambda: _same_user_namespace(stage),
            "keep the ids of the host; the other namespaces may not be available to an ordinary user",
        ),
        Proof(
            "pid_namespace", "find a process of the host", lambda: os.kill(stage.host_pid, 0),
            "see process ids of the host, and leave processes behind that outlive the template", owner,
        ),
        Proof(
            "mount_namespace", "see a file that was not granted", lambda: os.stat(stage.hidden),
            "see which files there are; without Landlock too, read all files of the host's user", owner,
        ),
        Proof(
            "ipc_namespace", "open a message queue of the host", lambda: libc.call("msgget", stage.queue_key, 0),
            "share System V and POSIX queues with programs outside", owner,
        ),
        Proof(
            "uts_namespace", "read the name of the host",
            lambda: _require(os.uname().nodename == stage.host_name, "it is another"),
            "read the host's name", owner,
        ),
        Proof(
            "network_namespace", "connect to a server on the host",
            lambda: socket.create_connection(("127.0.0.1", stage.port), 5).close(),
            "reach the host's network, if system call filter and Landlock fail too", owner,
        ),
        Proof(
            "cgroup", f"start {THREADS_OF_A_BOMB} threads", lambda: _start_threads(THREADS_OF_A_BOMB),
            "use as many tasks and as much memory as all processes of a template may together",
        ),
    ]  # fmt: skip


def _of_the_process(stage: Stage) -> list[Proof]:
    """What the process itself may do."""
    root = os.geteuid() == 0
    readable = ("user_namespace", "mount_namespace") if root else ()
    return [
        Proof(
            "rlimits", f"allocate {MEMORY_PROOF_MB} MiB", _allocate,
            "use all memory, CPU time and file space of the host",
        ),
        Proof(
            "identity", "read a file that only the host's user may read", _read(stage.owned) if root else None,
            "act as the host's root over every file that is granted", readable,
        ),
        Proof(
            "capabilities", "enter a namespace of its own", lambda: libc.call("unshare", namespaces.CLONE_NEWUTS),
            "mount file systems and set up networks inside the namespaces, a large part of the kernel to attack",
            ("user_namespace",),
        ),
        Proof(
            "no_new_privs", "be able to gain privileges from a program",
            lambda: _require(libc.prctl(libc.PR_GET_NO_NEW_PRIVS) == 0, "no_new_privs is set"),
            "gain the privileges of a set-user-id program",
        ),
        Proof(
            "landlock", "read a file that was not granted", _read(stage.hidden),
            "reach files, TCP ports, abstract sockets and processes outside, if the namespaces fail too",
            ("no_new_privs",),
        ),
        Proof(
            "seccomp", "make a socket", lambda: socket.socket().close(),
            "use every system call: sockets, tracing, io_uring, keyrings, running programs",
            ("no_new_privs",),
        ),
    ]  # fmt: skip


def _read(path: str) -> Callable[[], object]:
    def attempt() -> bytes:
        with open(path, "rb") as file:
            return file.read()

    return attempt


def _require(fact: bool, otherwise: str) -> None:
    if not fact:
        raise PermissionError(1, otherwise)


def _same_user_namespace(stage: Stage) -> None:
    _require(os.readlink("/proc/self/ns/user") == stage.user_namespace, "it is another one")


def _take_terminal(name: str) -> None:
    os.setsid()
    terminal = os.open(name, os.O_RDWR)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def _allocate() -> None:
    # Private, as malloc(3) does it; nothing is touched, so it costs the host nothing.
    mmap.mmap(-1, MEMORY_PROOF_MB << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def _start_threads(count: int) -> None:
    threading.stack_size(64 << 10)
    gate = threading.Event()
    try:
        for _ in range(count):
            threading.Thread(target=gate.wait, daemon=True).start()
    finally:
        gate.set()
