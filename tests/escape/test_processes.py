"""Other processes: seeing, signalling, tracing, starting and outliving them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import struct
import termios
from collections.abc import Callable, Iterator

import pytest

from elf_pysandbox_worker.isolation import libc
from tests.escape.matrix import ROOT, Attack, Matrix
from tests.isolation.driver import Raised, confinement, only, run, without

_PTRACE_SEIZE, _PTRACE_DETACH = 0x4206, 17
_SI_QUEUE = -1
VICTIM = {"pid": 0}
SECRET = ctypes.create_string_buffer(b"secret in memory")


@pytest.fixture(autouse=True)
def victim() -> Iterator[int]:
    """A process of the host, of the same user, that the attacks are aimed at."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    VICTIM["pid"] = pid
    yield pid
    os.close(write)
    os.waitpid(pid, 0)


def send(name: str, *arguments: int | bytes | Callable[[], int]) -> Callable[[], object]:
    """Return an act that makes a system call, with the victim's pid where an argument is a function."""
    return lambda: libc.call(name, *(value() if callable(value) else value for value in arguments))


def pid() -> int:
    return VICTIM["pid"]


def queue_signal() -> None:
    info = ctypes.create_string_buffer(struct.pack("=iii", 0, 0, _SI_QUEUE), 128)
    libc.call("rt_sigqueueinfo", pid(), 0, info)


def signal_by_pidfd() -> None:
    libc.call("pidfd_send_signal", os.pidfd_open(pid()), 0, None, 0)


def signal_by_owner() -> None:
    """Have the kernel send any signal to any process, for input on a pipe."""
    read, _ = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETOWN, pid())


def trace() -> None:
    libc.call("ptrace", _PTRACE_SEIZE, pid(), 0, 0)


def read_memory() -> None:
    buffer = ctypes.create_string_buffer(16)
    local = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), 16), 16)
    remote = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(SECRET), 16), 16)
    libc.call("process_vm_readv", pid(), local, 1, remote, 1, 0)
    assert buffer.raw == SECRET.raw[:16]


def start_a_program() -> None:
    child = os.fork()
    if child == 0:
        try:
            os.execv("/bin/true", ["true"])
        except OSError as error:
            os._exit(error.errno or 1)
    _, status = os.waitpid(child, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise OSError(code, os.strerror(code))


def fork_bomb() -> None:
    """Fork children that only wait; raises as soon as one cannot be had."""
    gate_read, gate_write = os.pipe()
    children: list[int] = []
    try:
        for _ in range(160):
            child = os.fork()
            if child == 0:
                os.close(gate_write)
                os.read(gate_read, 1)
                os._exit(0)
            children.append(child)
    finally:
        os.close(gate_write)
        for child in children:
            os.waitpid(child, 0)


SIGNALS = {"pid_namespace": errno.ESRCH, "seccomp": errno.EPERM, "landlock": errno.EPERM}
HIDES = {"pid_namespace": errno.ESRCH, "seccomp": errno.EPERM}
SMALL = {"workers": 1, "memory_mb": 512}
ATTACKS = [
    Attack("find a process of the host", send("kill", pid, 0), SIGNALS),
    Attack("signal a thread of the host", send("tgkill", pid, pid, 0), SIGNALS),
    Attack("signal a thread of the host by the older call", send("tkill", pid, 0), SIGNALS),
    Attack("queue a signal to the host", queue_signal, SIGNALS),
    Attack("signal the host by a descriptor", signal_by_pidfd, {**HIDES, "pid_namespace": errno.ESRCH}),
    Attack("have the kernel signal the host", signal_by_owner, HIDES),
    Attack("trace a process of the host", trace, {**SIGNALS, "user_namespace": errno.EPERM}),
    Attack("read the memory of the host", read_memory, {**SIGNALS, "user_namespace": errno.EPERM}),
    Attack("change a limit of the host", send("prlimit64", pid, 7, None, None), HIDES),
    Attack("change the priority of the host", lambda: os.setpriority(os.PRIO_PROCESS, pid(), 0), HIDES),
    Attack("compare with a process of the host", send("kcmp", os.getpid(), pid, 1, 0, 0), HIDES),
    Attack(
        "start a program", start_a_program,
        {"seccomp": errno.EPERM, "landlock": errno.EACCES, "mount_namespace": errno.ENOENT},
    ),
    Attack(
        "fork bomb", fork_bomb, {"rlimits": errno.EAGAIN, "cgroup": errno.EAGAIN},
        needs=("user_namespace", "mount_namespace", "identity"),
        changes=SMALL,
    ),
]  # fmt: skip


class TestProcesses(Matrix):
    attacks = ATTACKS


def _fork() -> str:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "forked"


def test_a_worker_forks_no_process_unless_granted() -> None:
    stopped = run(_fork).value
    assert isinstance(stopped, Raised)
    assert stopped.errno == errno.EPERM
    assert run(_fork, confinement(processes=2)).value == "forked"
    assert run(_fork, confinement(without("seccomp"))).value == "forked"


def _start_thread() -> str:
    import threading

    threading.Thread(target=lambda: None).start()
    return "started"


def test_a_worker_starts_threads() -> None:
    assert run(_start_thread).value == "started"


@pytest.mark.parametrize("number", [signal.SIGTERM, 0])
def test_a_worker_signals_neither_its_template_nor_a_sibling(number: int) -> None:
    # The template is PID 1 of its namespace, so it is also every sibling's neighbour: same rule, same filter.
    act = send("tgkill", 1, 1, int(number))
    stopped = run(act).value
    assert isinstance(stopped, Raised)
    assert stopped.errno == errno.EPERM
    assert run(act, confinement(without("seccomp"))).value == 0


def test_a_worker_may_signal_itself() -> None:
    result = run(lambda: signal.raise_signal(signal.SIGUSR1))
    assert result.status == signal.SIGUSR1


def test_the_terminal_takes_no_input_from_a_tool() -> None:
    leader, follower = os.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)

    def act() -> None:
        with open("/dev/tty", "rb+", buffering=0) as terminal:
            fcntl.ioctl(terminal, termios.TIOCSTI, b"x")

    try:
        modes = only()
        free = run(act, confinement(modes), "template", before=take_terminal).value
        if isinstance(free, Raised):
            assert free.errno == errno.EIO  # Linux 6.2 and later may refuse it to everybody: legacy_tiocsti.
        held = run(act, confinement(only("session")), "template", before=take_terminal).value
        assert isinstance(held, Raised)
        assert held.errno == errno.ENXIO
        filtered = run(
            act, confinement(only("no_new_privs", "seccomp")), "template", before=take_terminal
        ).value
        assert isinstance(filtered, Raised)
        assert filtered.errno == errno.EPERM
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.parametrize("layer", ["pid_namespace", "cgroup"])
def test_nothing_outlives_its_template(layer: str) -> None:
    if layer == "cgroup" and not ROOT:
        pytest.skip("this user has no writable cgroup")
    needs = () if ROOT else ("user_namespace",)
    assert _survives(only(*needs))
    assert not _survives(only(*needs, layer))


def _survives(modes: dict[str, str]) -> bool:
    """Whether a process that left its session is still there when the keeper has cleaned up; ends it then."""
    read, write = os.pipe()

    def act() -> None:
        ready_read, ready_write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.dup2(write, 0)
                os.write(0, struct.pack("=i", os.getpid()))
                os.write(ready_write, b"x")
                # Only the pipe of this test: the driver waits for the end of its own.
                os.closerange(1, 1 << 12)
                signal.pause()
            os._exit(0)
        os.wait()
        os.read(
            ready_read, 1
        )  # Else the template may end, and what it left with it, before that has said a word.

    result = run(act, confinement(modes), "template")
    assert not isinstance(result.value, Raised)
    os.close(write)
    try:
        (left_behind,) = struct.unpack("=i", os.read(read, 4))
        # End of file: no process holds the write end, which none but the one left behind inherited.
        survivor = not select.select([read], [], [], 1.0)[0]
        if survivor:
            os.kill(left_behind, signal.SIGKILL)  # It is in this process' namespace, or it would be gone.
        return survivor
    finally:
        os.close(read)
