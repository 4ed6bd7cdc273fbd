"""What a root host grants, with its owner's rights: id-mapped mounts (mount_setattr(2), MOUNT_ATTR_IDMAP).

Decided here and nowhere else: who owns what in a granted tree. A tool of a root host is user 65534 outside and would be
nobody in a folder of root. In an id-mapped copy of that folder its owner on disk appears as the tool and the
tool as that owner: the tool reads what the owner may read, and what it makes belongs to the owner on disk. Everyone
else stays who they are.

Only the initial user namespace's root may do it, so it is done before the first namespace. No one gains an identity:
the tool stays 65534 for everything but this tree, which ignores set-user-id and devices. A tree to write to is mapped
only if `seccomp` is required, the layer that keeps a tool from making a set-user-id program of that owner.
"""

from __future__ import annotations

import os

from elf_pysandbox_worker.isolation import mounts, user_namespace
from elf_pysandbox_worker.isolation.context import Context
from elf_pysandbox_worker.isolation.errors import Unavailable
from elf_pysandbox_worker.isolation.grants import resolve

_OLD = "the file system or the kernel does not offer id-mapped mounts"


def take(context: Context) -> None:
    """Resolve the grants; for a root host, take a copy of each of the user's with its owner mapped to the tool.

    A tree that cannot be mapped is granted as it is: `context.foreign` says why.
    """
    context.grants = resolve(context.spec)
    if not context.privileged:
        return
    tool = (user_namespace.unowned("uid"), user_namespace.unowned("gid"))
    made: dict[tuple[int, int], int] = {}
    try:
        for path in sorted(context.grants.of_user):
            _take_one(context, path, tool, made)
    finally:
        for namespace in made.values():
            os.close(namespace)


def _take_one(
    context: Context, path: str, tool: tuple[int | None, int | None], made: dict[tuple[int, int], int]
) -> None:
    user, group = tool
    # Of the path itself: whoever put a link there since it was resolved must not choose whose rights are given.
    status = os.stat(path, follow_symlinks=False)
    owner = status.st_uid, status.st_gid
    if user is None or group is None or owner == tool:
        return
    refused = _refused(context, path)
    if refused is None:
        try:
            if owner not in made:
                made[owner] = user_namespace.make_for_maps(
                    _swap(owner[0], user, "uid"), _swap(owner[1], group, "gid")
                )
            context.owned[path] = _mapped_copy(path, path in context.grants.write, made[owner])
            return
        except Unavailable as error:
            refused = str(error)
        except OSError as error:
            refused = f"{_OLD} ({error.strerror})"
    context.foreign[path] = (
        f"it belongs to uid {owner[0]}, and tools of a root host run as {user}: chown or chmod it ({refused})"
    )


def _refused(context: Context, path: str) -> str | None:
    modes = context.spec.layers
    if modes.get("mount_namespace") == "off":
        return "layer mount_namespace is off"
    if path in context.grants.write and modes.get("seccomp", "require") != "require":
        return "only with layer seccomp required do tools write as another user"
    return None


def _mapped_copy(path: str, writable: bool, namespace: int) -> int:
    tree = mounts.copy_tree(path, mounts.WRITABLE if writable else mounts.READ_ONLY)
    try:
        mounts.map_ids(tree, namespace)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _swap(one: int, other: int, kind: str) -> str:
    """Return a map in which `one` and `other` change places and every other id stays."""
    lines: list[str] = []
    for first, end in user_namespace.spans(kind):
        at = first
        for swapped, shown in sorted(((one, other), (other, one))):
            if first <= swapped < end and one != other:
                lines += [f"{at} {at} {swapped - at}"] if swapped > at else []
                lines.append(f"{swapped} {shown} 1")
                at = swapped + 1
        lines += [f"{at} {at} {end - at}"] if end > at else []
    return "".join(f"{line}\n" for line in lines)
