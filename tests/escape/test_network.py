"""Sockets of every family, and the ways around a filter of socket(2)."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.escape.matrix import Attack, Matrix
from tests.isolation.driver import Raised, confinement, run, without

FAMILIES = range(1, 46)
"""Every address family Linux has had, AF_UNIX to AF_MCTP."""
_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
SERVER = {"tcp": 0, "udp": 0}
FOLDER = Path(tempfile.gettempdir()) / f"pysandbox-sockets-{os.getpid()}"
ABSTRACT = f"\0pysandbox-{os.getpid()}"
_SO_PEERPIDFD = 77


@pytest.fixture(autouse=True)
def servers() -> Iterator[None]:
    """Servers of the host that the attacks try to reach."""
    FOLDER.mkdir(exist_ok=True)
    FOLDER.chmod(0o755)
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    named, abstract, datagram = (socket.socket(socket.AF_UNIX, kind) for kind in (1, 1, socket.SOCK_DGRAM))
    named.bind(str(FOLDER / "server"))
    (FOLDER / "server").chmod(0o777)
    abstract.bind(ABSTRACT)
    datagram.bind(ABSTRACT + "-datagram")
    for server in (named, abstract):
        server.listen()
    SERVER.update(tcp=tcp.getsockname()[1], udp=udp.getsockname()[1])
    yield
    for server in (tcp, udp, named, abstract, datagram):
        server.close()
    (FOLDER / "server").unlink()
    FOLDER.rmdir()


def connect(family: int, address: Callable[[], object]) -> Callable[[], None]:
    def act() -> None:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.connect(address())  # type: ignore[arg-type]

    return act


def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", SERVER["udp"]))


def readdress_a_pair() -> None:
    """Send to the host from one end of a pair: the pair needs no socket(2)."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"x", ABSTRACT + "-datagram")


def take_the_peers_pidfd() -> None:
    one, other = socket.socketpair()
    with one, other:
        os.close(one.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD))


def listen() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


def listen_to_the_kernel() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))


FILTER = {"seccomp": errno.EPERM}
ATTACKS = [
    Attack(
        "connect to the host by TCP", connect(socket.AF_INET, lambda: ("127.0.0.1", SERVER["tcp"])),
        {"network_namespace": errno.ENETUNREACH, "landlock": errno.EACCES, **FILTER},
    ),
    Attack("send the host a datagram", send_datagram, {"network_namespace": errno.ENETUNREACH, **FILTER}),
    Attack("offer a service", listen, {"landlock": errno.EACCES, **FILTER}),
    Attack(
        "connect to a socket file", connect(socket.AF_UNIX, lambda: str(FOLDER / "server")),
        {"mount_namespace": errno.ENOENT, **FILTER},
    ),
    Attack(
        "connect to an abstract socket", connect(socket.AF_UNIX, lambda: ABSTRACT),
        {"network_namespace": errno.ECONNREFUSED, "landlock": errno.EPERM, **FILTER},
    ),
    Attack(
        "send from a pair to the host", readdress_a_pair,
        {"network_namespace": errno.ECONNREFUSED, "landlock": errno.EPERM, **FILTER},
    ),
    Attack("ask the kernel for its network", listen_to_the_kernel, FILTER),
    Attack("take the pidfd of the peer of a channel", take_the_peers_pidfd, FILTER),
]  # fmt: skip


class TestNetwork(Matrix):
    attacks = ATTACKS


def _open_every_family() -> dict[int, int]:
    """Return family -> 0 if a socket of any kind was had, else the errno."""
    found = {}
    for family in FAMILIES:
        for kind in _KINDS:
            try:
                socket.socket(family, kind).close()
                found[family] = 0
                break
            except OSError as error:
                found[family] = error.errno or -1
    return found


def test_no_socket_of_any_family_is_had_and_each_is_refused_by_the_filter() -> None:
    filtered = run(_open_every_family).value
    assert filtered == dict.fromkeys(FAMILIES, errno.EPERM)
    free = run(_open_every_family, confinement(without("seccomp"))).value
    had = {family for family, code in free.items() if code == 0}
    assert {socket.AF_UNIX, socket.AF_INET, socket.AF_NETLINK} <= had


def _use_a_pair() -> bytes:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"asyncio needs this")
        return other.recv(100)


def test_a_connected_pair_works_because_asyncio_needs_it() -> None:
    assert run(_use_a_pair).value == b"asyncio needs this"


def test_names_cannot_be_resolved() -> None:
    assert isinstance(run(lambda: socket.getaddrinfo("example.org", 80)).value, Raised)
