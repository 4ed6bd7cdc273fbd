"""Layer `mount_namespace`: a root that holds the granted paths and nothing else (mount_namespaces(7)).

Decided here and nowhere else: what the tool's file tree looks like. Granted paths appear where they are
outside, read-only unless granted for writing; a symbolic link on the way to one is made again, so that every
granted path resolves as it does outside. There is no /proc, no /sys, no /tmp, no /dev/shm; /dev has four
harmless devices.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from elf_pysandbox_worker.isolation import mounts, namespaces
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing, Unavailable
from elf_pysandbox_worker.wire.messages import Confinement

DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
SCRATCH_ROOT = "/scratch"

# Directories and links on the way to the grants; a tree that needs more is not a sensible grant.
_SKELETON = "size=4m,nr_inodes=16384,mode=0755"
# Where the new root is put together: any directory that exists and that this process may search will do. What
# it hides while that lasts does not matter, the grants were copied before.
_BUILDING_SITES = ("/tmp", "/run", "/var", "/mnt", "/usr", "/etc")
_INODES_PER_MB = 64
_LINKS_FOLLOWED = 40  # as the kernel's own limit (path_resolution(7))


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
        try:
            trees = _copy_grants(context.spec)
            # Before the new root covers anything: what lies below its place is outside too.
            links = [
                link for path in (*context.spec.read, *context.spec.write) for link in _links_on_the_way(path)
            ]
            site = _open_site()
        except OSError as error:
            raise Unavailable(
                f"mounting is refused ({error.filename}: {error.strerror})", namespaces.REMEDY
            ) from None
        # The tool is another user than the one that builds: whatever umask the host had must not lock it out.
        os.umask(0o022)
        _Builder(site).build(trees, links, context)
        mounts.become_root(site)
        context.tops = [f"/{name}" for name in os.listdir("/") if f"/{name}" != SCRATCH_ROOT]
        return f"private root with {len(trees) - len(DEVICES)} granted paths" + (
            f", {context.spec.scratch_slots} scratch directories" if context.spec.scratch_mb else ""
        )


LAYER = MountNamespace()


def _copy_grants(spec: Confinement) -> list[tuple[str, int]]:
    """Return (path, descriptor of its copy) for every grant that exists, parents before what lies below
    them."""
    mounts.make_private()
    written = _real(spec.write)
    # What is granted for writing is not granted again for reading only: the wider grant holds.
    read = [path for path in _real(spec.read) if not _below(path, written)]
    read = [path for path in read if not _below(os.path.dirname(path), read) or path == "/"]
    wishes = [(path, mounts.RDONLY | mounts.NOSUID | mounts.NODEV) for path in read]
    wishes += [(path, mounts.NOSUID | mounts.NODEV | mounts.NOEXEC) for path in written]
    wishes += [(path, mounts.NOSUID | mounts.NOEXEC) for path in DEVICES if os.path.exists(path)]
    return [(path, mounts.copy_tree(path, attributes)) for path, attributes in sorted(wishes)]


def _real(paths: Iterable[str]) -> list[str]:
    return sorted({os.path.realpath(path) for path in paths if os.path.exists(path)})


def _below(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def _open_site() -> str:
    site = next((path for path in _BUILDING_SITES if os.path.isdir(path)), "/tmp")
    mounts.tmpfs(site, _SKELETON)
    return site


class _Builder:
    """Puts the new root together at `site`."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._mounted: list[str] = []

    def build(self, trees: list[tuple[str, int]], links: list[tuple[str, str]], context: Context) -> None:
        for path, tree in trees:
            self._make_place(path, tree)
            mounts.attach(tree, self._site + path)
            os.close(tree)
            self._mounted.append(path)
        for path, target in links:
            self._make_link(path, target)
        if context.spec.scratch_mb:
            self._make_scratch(context.spec, context.tool_user())
        root = os.open(self._site, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounts.set_attributes(root, mounts.RDONLY)
        os.close(root)

    def _make_place(self, path: str, tree: int) -> None:
        place = self._site + path
        if _below(path, self._mounted):
            return  # It exists: it lies inside a tree that is already there.
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))

    def _make_link(self, path: str, target: str) -> None:
        place = self._site + path
        if _below(path, self._mounted) or os.path.lexists(place):
            return
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(target, place)

    def _make_scratch(self, spec: Confinement, owner: int) -> None:
        size = f"size={spec.scratch_mb}m,nr_inodes={max(256, spec.scratch_mb * _INODES_PER_MB)}"
        for slot in range(spec.scratch_slots):
            place = f"{self._site}{SCRATCH_ROOT}/{slot}"
            os.makedirs(place)
            mounts.tmpfs(place, f"{size},mode=0700,uid={owner},gid={owner}")


def _links_on_the_way(path: str) -> list[tuple[str, str]]:
    """Return every symbolic link (path, target) that resolving `path` goes through."""
    found: list[tuple[str, str]] = []
    rest = [part for part in path.split("/") if part]
    done = ""
    while rest and len(found) < _LINKS_FOLLOWED:
        part = rest.pop(0)
        if part == "..":
            done = os.path.dirname(done).rstrip("/")
            continue
        here = f"{done}/{part}"
        if not os.path.islink(here):
            done = here
            continue
        target = os.readlink(here)
        found.append((here, target))
        rest = [piece for piece in target.split("/") if piece not in ("", ".")] + rest
        if target.startswith("/"):
            done = ""
    return found
