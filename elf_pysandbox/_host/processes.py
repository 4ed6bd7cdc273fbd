"""Socket pairs, pidfds and signals: the few kernel calls the host side makes.

Decided here: how the host learns which process is at the other end of a channel. The kernel says so: on
Linux 6.5 and later `SCM_PIDFD` brings a pidfd of the sender with its message, before that `SCM_CREDENTIALS`
its pid (unix(7)). The peer's own word is never used.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import _socket as socket
import array
import fcntl
import os
import resource
import select
import struct
from collections.abc import Sequence

from elf_pysandbox._host import sockets

_SO_PASSCRED = 16
_SO_PASSPIDFD = 76
_SCM_CREDENTIALS = 2
_SCM_PIDFD = 4
_MOST_DESCRIPTORS = 253  # of one message (SCM_MAX_FD, unix(7))
_READY_SPACE = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
_READY_BYTES = 64


def _kernel_passes_pidfd() -> bool:
    left, right = sockets.pair()
    try:
        left.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD, 1)
    except OSError:
        return False
    finally:
        left.close()
        right.close()
    return True


_PASSES_PIDFD = _kernel_passes_pidfd()


def worker_channel() -> tuple[socket.socket, socket.socket]:
    """Return (near, far): a stream socket pair whose near end learns who writes to it."""
    near, far = sockets.pair()
    # Before the far end is given away, so that no message can come without its sender.
    near.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD if _PASSES_PIDFD else _SO_PASSCRED, 1)
    return near, far


def receive_ready(sock: socket.socket) -> tuple[bytes, int]:
    """Receive a worker's first message without waiting: (data, pidfd of its sender, or minus the errno that denied it).

    Raises
    ------
    BlockingIOError
        Nothing is there yet.
    """
    data, ancillary, _flags, _address = sock.recvmsg(_READY_BYTES, _READY_SPACE, socket.MSG_DONTWAIT)
    pidfd = -1
    unwanted = array.array("i")
    for level, kind, payload in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            unwanted.frombytes(payload[: len(payload) - len(payload) % unwanted.itemsize])
        elif kind == _SCM_PIDFD:
            pidfd = struct.unpack("i", payload[:4])[0]
        elif kind == _SCM_CREDENTIALS:
            pidfd = _open_checked(struct.unpack("3i", payload[:12])[0])
    for descriptor in unwanted:
        os.close(descriptor)
    # An honest worker sends none. They come before the pidfd: with no room for both that one would be lost.
    return (b"\0" if unwanted else data), pidfd


def stop_asking(sock: socket.socket) -> None:
    """Stop the kernel from attaching the sender to each further message."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD if _PASSES_PIDFD else _SO_PASSCRED, 0)


def _open_checked(pid: int) -> int:
    # Between the message and here the process may have ended and its pid been given to another: a worker's
    # parent is a template, whose parent is a keeper, whose parent (or its own, once that died) is no shell
    # of the user.
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        return -(error.errno or 1)
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            if b"elf_pysandbox_worker" in stream.read(4096):
                return pidfd
    except OSError:
        pass
    os.close(pidfd)
    return -1


def send_some(sock: socket.socket, data: memoryview, descriptors: Sequence[int] = ()) -> int:
    """Send what there is room for, with descriptors riding on its first byte (SCM_RIGHTS); how many bytes that was.

    Raises
    ------
    BlockingIOError
        There is no room at all.
    """
    ancillary = [_rights(descriptors)] if descriptors else []
    return sock.sendmsg([data], ancillary, socket.MSG_DONTWAIT)


def receive_with_descriptors(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Return bytes and up to `most` descriptors that came with them; as `socket.recv_fds`."""
    found = array.array("i")
    data, ancillary, _flags, _address = sock.recvmsg(size, socket.CMSG_LEN(most * found.itemsize))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
    return data, list(found)


def _rights(descriptors: Sequence[int]) -> tuple[int, int, array.array[int]]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)


def kill(pidfd: int) -> None:
    """Send SIGKILL through a pidfd; a process that is gone already is no error."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        pass


def has_ended(pidfd: int) -> bool:
    """Whether the process behind a pidfd has ended (it is readable then, pidfd_open(2))."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def close(descriptor: int) -> None:
    """Close a descriptor; -1 stands for none."""
    if descriptor >= 0:
        os.close(descriptor)


def cpu_seconds(pidfd: int) -> float | None:
    """Return the CPU seconds a process has used (proc(5), stat fields 14 and 15); None when it is gone."""
    try:
        with open(f"/proc/{_pid_of(pidfd)}/stat", encoding="ascii", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_mb(pidfd: int) -> float | None:
    """Return the largest resident set of a process (proc(5), VmHWM of status); None when it has ended."""
    try:
        with open(f"/proc/{_pid_of(pidfd)}/status", encoding="ascii", errors="replace") as stream:
            size = _line_of(stream.read(), "VmHWM:").removesuffix(" kB")
    except OSError:
        return None
    return int(size) / 1024 if size.isdecimal() else None


def _pid_of(pidfd: int) -> str:
    """Return the pid behind a pidfd; raises OSError when the process is gone."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as stream:
        pid = _line_of(stream.read(), "Pid:")
    if not pid.isdecimal():  # -1: it has ended
        raise ProcessLookupError(f"no process is behind descriptor {pidfd}")
    return pid


def _line_of(text: str, key: str) -> str:
    """Return the rest of the line that starts with a key, without the space around it; "" if there is none."""
    return f"\n{text}".partition(f"\n{key}")[2].partition("\n")[0].strip()


def unread_by_peer(sock: socket.socket) -> int:
    """Return how many bytes sent on `sock` its peer has not read (SIOCOUTQ, unix(7))."""
    siocoutq = 0x5411
    size: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), siocoutq, b"\0\0\0\0"))[0]
    return size


def allow_descriptors(wanted: int) -> None:
    """Raise the soft limit of open descriptors towards `wanted`, at most to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
