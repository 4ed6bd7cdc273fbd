"""Layer `mount_namespace`: a root that holds the granted paths and nothing else (mount_namespaces(7)).

Decided here and nowhere else: what the tool's file tree looks like. Granted paths appear where they are
outside, read-only unless granted for writing; a symbolic link on the way to one is made again, so that every
granted path resolves as it does outside. There is no /proc, no /sys, no /tmp, no /dev/shm; /dev has three
harmless devices.
"""

from __future__ import annotations

import errno
import os
import stat

from elf_pysandbox_worker.isolation import mounts, namespaces, remedies
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing, Unavailable
from elf_pysandbox_worker.isolation.grants import below
from elf_pysandbox_worker.wire.messages import Confinement

# Not /dev/zero: mapped and shared, it is memory in which a module could keep what one call leaves for the next.
DEVICES = ("/dev/null", "/dev/random", "/dev/urandom")
SCRATCH_ROOT = "/scratch"

# Directories and links on the way to the grants; a tree that needs more is not a sensible grant.
_SKELETON = "size=4m,nr_inodes=16384,mode=0755"
# Where the new root is put together: any directory that exists and that this process may search will do. What
# it hides while that lasts does not matter, the grants were copied before.
_BUILDING_SITES = ("/tmp", "/run", "/var", "/mnt", "/usr", "/etc")
_INODES_PER_MB = 64
_TAKEN_AWAY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class MountNamespace:
    """Enters a mount namespace with the keeper; the template builds and enters its private root."""

    name = "mount_namespace"
    doors: tuple[Door, ...] = ("keeper", "template")

    def available(self, spec: Confinement) -> Missing | None:
        return namespaces.missing_kind("mnt")

    def apply(self, context: Context, door: Door) -> str:
        if door == "keeper":
            namespaces.unshare(namespaces.CLONE_NEWNS, "mount namespace")
            return "entered"
        mapped = len(context.owned)
        try:
            trees = _copy_grants(context)
            site = _open_site()
        except OSError as error:
            raise Unavailable(
                f"mounting is refused ({error.filename}: {error.strerror})", remedies.namespaces()
            ) from None
        # The tool is another user than the one that builds: whatever umask the host had must not lock it out.
        os.umask(0o022)
        _Builder(site).build(trees, context)
        mounts.become_root(site)
        context.tops = [f"/{name}" for name in os.listdir("/") if f"/{name}" != SCRATCH_ROOT]
        return (
            f"private root with {len(context.grants.read) + len(context.grants.write)} granted paths"
            + (f", {mapped} of them with their owner's rights" if mapped else "")
            + (f", {context.spec.scratch_slots} scratch directories" if context.spec.scratch_mb else "")
        )


LAYER = MountNamespace()


def _copy_grants(context: Context) -> list[tuple[str, int]]:
    """Return (path, descriptor of its copy) for every grant, parents before what lies below them."""
    mounts.make_private()
    wishes = dict.fromkeys(context.grants.read, mounts.READ_ONLY)
    wishes |= dict.fromkeys(context.grants.write, mounts.WRITABLE)
    wishes |= {path: mounts.NOSUID | mounts.NOEXEC for path in DEVICES if os.path.exists(path)}
    return [
        (path, context.owned.pop(path) if path in context.owned else mounts.copy_tree(path, attributes))
        for path, attributes in sorted(wishes.items())
    ]


def _open_site() -> str:
    site = next((path for path in _BUILDING_SITES if os.path.isdir(path)), "/tmp")
    mounts.tmpfs(site, _SKELETON)
    return os.path.realpath(site)


class _Builder:
    """Puts the new root together at `site`."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._mounted: list[str] = []

    def build(self, trees: list[tuple[str, int]], context: Context) -> None:
        for path, tree in trees:
            self._make_place(path, tree)
            try:
                mounts.attach(tree, self._site + path)
                self._mounted.append(path)
            except OSError as error:
                # A tool that may write around it took it away since it was copied: then it grants nothing.
                if error.errno not in _TAKEN_AWAY or not below(path, self._mounted):
                    raise
            finally:
                os.close(tree)
        for path, target in context.grants.links:
            self._make_link(path, target)
        if context.spec.scratch_mb:
            self._make_scratch(context.spec, context.tool_user())
        root = os.open(self._site, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounts.set_attributes(root, mounts.RDONLY)
        os.close(root)

    def _make_place(self, path: str, tree: int) -> None:
        place = self._site + path
        if below(path, self._mounted):
            return  # It exists: it lies inside a tree that is already there.
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))

    def _make_link(self, path: str, target: str) -> None:
        place = self._site + path
        if below(path, self._mounted) or os.path.lexists(place):
            return
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(target, place)

    def _make_scratch(self, spec: Confinement, owner: int) -> None:
        size = f"size={spec.scratch_mb}m,nr_inodes={max(256, spec.scratch_mb * _INODES_PER_MB)}"
        for slot in range(spec.scratch_slots):
            place = f"{self._site}{SCRATCH_ROOT}/{slot}"
            os.makedirs(place)
            mounts.tmpfs(place, f"{size},mode=0700,uid={owner},gid={owner}")
