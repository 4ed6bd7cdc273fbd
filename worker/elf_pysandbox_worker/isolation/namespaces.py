"""Layers `pid_namespace`, `ipc_namespace`, `uts_namespace`, `network_namespace` (unshare(2), namespaces(7)).

Decided here and nowhere else: what a refusal of unshare(2) means and what to do about it. The user namespace
has its own file because it needs maps; the mount namespace because it needs a root.
"""

from __future__ import annotations

import os

from elf_pysandbox_worker.isolation import libc, remedies
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing, Unavailable
from elf_pysandbox_worker.wire.messages import Confinement

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

HOST_NAME = "sandbox"


def unshare(flag: int, what: str) -> None:
    """Enter a new namespace; raises Unavailable with the reason and the remedy."""
    try:
        libc.call("unshare", flag)
    except OSError as error:
        raise Unavailable(f"the kernel refuses a {what} ({error.strerror})", remedies.namespaces()) from None


def missing_kind(kind: str) -> Missing | None:
    """Say whether the kernel was built without this kind of namespace (as far as /proc tells)."""
    if os.path.exists("/proc/self/ns") and not os.path.exists(f"/proc/self/ns/{kind}"):
        return Missing(f"this kernel has no {kind} namespaces", "Use a kernel with CONFIG_NAMESPACES")
    return None


class Namespace:
    """A namespace that only has to be entered."""

    doors: tuple[Door, ...] = ("keeper",)

    def __init__(self, name: str, kind: str, flag: int, what: str) -> None:
        self.name, self._kind, self._flag, self._what = name, kind, flag, what

    def available(self, spec: Confinement) -> Missing | None:
        return missing_kind(self._kind)

    def apply(self, context: Context, door: Door) -> str:
        unshare(self._flag, self.name.replace("_", " "))
        if self._flag == CLONE_NEWUTS:
            # A new UTS namespace starts as a copy: the host's name would still be readable.
            libc.call("sethostname", HOST_NAME.encode(), len(HOST_NAME))
            libc.call("setdomainname", b"", 0)
        return self._what


PID = Namespace("pid_namespace", "pid", CLONE_NEWPID, "PID namespace: the template is its PID 1")
IPC = Namespace("ipc_namespace", "ipc", CLONE_NEWIPC, "IPC namespace: no shared System V or POSIX queues")
UTS = Namespace("uts_namespace", "uts", CLONE_NEWUTS, f"UTS namespace: the host is called {HOST_NAME!r}")
NETWORK = Namespace("network_namespace", "net", CLONE_NEWNET, "network namespace without any device up")
