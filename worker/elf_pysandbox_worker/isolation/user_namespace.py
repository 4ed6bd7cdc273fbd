"""Layer `user_namespace`: an owner for the other namespaces, and ids that mean nothing outside
(user_namespaces(7)).

Decided here and nowhere else: which ids exist inside. An ordinary user maps one id, 1000, to itself. A root
host maps two: 0 to its own root, so that the private root can be set up from files only root may reach (a
Python under /root with mode 0700), and 1000 to 65534; the template ends as 1000, which owns nothing outside.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from elf_pysandbox_worker.isolation import libc, namespaces, remedies
from elf_pysandbox_worker.isolation.context import NOBODY, TOOL_ID, Context, Door
from elf_pysandbox_worker.isolation.errors import Missing, Unavailable
from elf_pysandbox_worker.wire.messages import Confinement


class UserNamespace:
    """Enters a new user namespace and gives it its maps."""

    name = "user_namespace"
    doors: tuple[Door, ...] = ("keeper",)

    def available(self, spec: Confinement) -> Missing | None:
        missing = namespaces.missing_kind("user")
        if missing is None and _read("/proc/sys/user/max_user_namespaces").strip() == "0":
            return Missing("sysctl user.max_user_namespaces is 0", remedies.namespaces())
        return missing

    def apply(self, context: Context, door: Door) -> str:
        outside_user, outside_group = os.geteuid(), os.getegid()
        nobody_user, nobody_group = unowned("uid"), unowned("gid")
        if context.privileged and nobody_user is not None and nobody_group is not None:
            _enter_mapped_from_outside(
                f"0 {outside_user} 1\n{TOOL_ID} {nobody_user} 1\n",
                f"0 {outside_group} 1\n{TOOL_ID} {nobody_group} 1\n",
            )
            context.mapped = True
            return f"uid {TOOL_ID} inside is {nobody_user} outside"
        namespaces.unshare(namespaces.CLONE_NEWUSER, "user namespace")
        try:
            # While a process is not dumpable (it changed its uid, say), the files below belong to root.
            libc.prctl(libc.PR_SET_DUMPABLE, 1)
            # Without this an ordinary user may not write gid_map: setgroups(2) would let a process shed a
            # group that denies it access.
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{TOOL_ID} {outside_user} 1")
            _write("/proc/self/gid_map", f"{TOOL_ID} {outside_group} 1")
        except OSError as error:
            raise _unmappable(error) from None
        return f"uid {TOOL_ID} inside is {outside_user} outside"


def _enter_mapped_from_outside(users: str, groups: str) -> None:
    """Enter a user namespace whose maps a short-lived child that stays outside writes.

    Only a process with CAP_SETUID in the *parent* namespace may map more than its own id.
    """
    keeper = os.getpid()
    entered_read, entered_write = os.pipe()
    mapped_read, mapped_write = os.pipe()

    def write_maps() -> None:
        # These copies must go first: the read below ends only when every writer is closed.
        os.close(entered_write)
        os.close(mapped_read)
        if os.read(entered_read, 1):
            _write(f"/proc/{keeper}/uid_map", users)
            _write(f"/proc/{keeper}/gid_map", groups)
            os.write(mapped_write, b"1")

    mapper = _fork_once(write_maps)
    os.close(mapped_write)
    os.close(entered_read)
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER, "user namespace")
        os.write(entered_write, b"1")
        if not os.read(mapped_read, 1):
            raise _unmappable(None)
    finally:
        os.close(entered_write)
        os.close(mapped_read)
        os.waitpid(mapper, 0)


def _fork_once(work: Callable[[], None]) -> int:
    """Fork a child that does one thing and ends; return its pid."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        # Not sys.exit: the child must not run the keeper's exit handlers or return into its caller.
        os._exit(status)


def unowned(kind: str) -> int | None:
    """Return an id that exists in this user namespace and is not root's, 65534 if there is one such.

    In a container with few ids 65534 may not be mapped; then the last mapped one is the least likely to own
    files.
    """
    known = spans(kind)
    if any(first <= NOBODY < end for first, end in known):
        return NOBODY
    last = max((end - 1 for _, end in known), default=0)
    return last or None


def spans(kind: str) -> list[tuple[int, int]]:
    """Return the ranges (first, end) of the ids that exist in this user namespace."""
    ranges = [line.split() for line in _read(f"/proc/self/{kind}_map").splitlines()]
    return [(int(first), int(first) + int(count)) for first, _, count in ranges]


def make_for_maps(users: str, groups: str) -> int:
    """Return the descriptor of a user namespace that holds no process: a pair of maps for mount_setattr(2).

    Raises
    ------
    Unavailable, OSError
    """
    entered_read, entered_write = os.pipe()
    done_read, done_write = os.pipe()

    def enter_and_wait() -> None:
        os.close(done_write)
        libc.call("unshare", namespaces.CLONE_NEWUSER)
        os.write(entered_write, b"1")
        os.read(done_read, 1)

    child = _fork_once(enter_and_wait)
    os.close(entered_write)
    try:
        if not os.read(entered_read, 1):
            raise Unavailable("the kernel refuses a user namespace", remedies.namespaces())
        _write(f"/proc/{child}/uid_map", users)
        _write(f"/proc/{child}/gid_map", groups)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (entered_read, done_read, done_write):
            os.close(descriptor)
        os.waitpid(child, 0)


def _unmappable(error: OSError | None) -> Unavailable:
    why = f" ({error.strerror})" if error is not None else ""
    return Unavailable(f"the maps of the new user namespace cannot be written{why}", remedies.namespaces())


def _write(path: str, text: str) -> None:
    # One write(2) call: the kernel takes a map only whole.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


LAYER = UserNamespace()
