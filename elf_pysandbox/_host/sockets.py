"""Sockets of the host: connected pairs that wait as long as they are told to, whatever the host program's others do.

`_socket` and not `socket`, here and in this whole room: that module makes enumerations of all the constants there are,
and a program's first call waits for it.
"""

from __future__ import annotations

import _socket


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Return two connected stream sockets (AF_UNIX).

    With `socket.setdefaulttimeout` a program gives all its new sockets a time, and with it O_NONBLOCK, which belongs to
    the open file (open(2)): the process that one end is handed to would find it set, and take "not yet" for an error.
    """
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    if first.gettimeout() is not None:
        first.settimeout(None)
        second.settimeout(None)
    return first, second


def at(descriptor: int) -> _socket.socket:
    """Return the stream socket (AF_UNIX) that a descriptor is, without a timeout."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    if sock.gettimeout() is not None:
        sock.settimeout(None)
    return sock
