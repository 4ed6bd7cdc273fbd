"""The paths a policy grants, resolved once, before the first namespace.

Decided here and nowhere else: which real path a grant stands for. A grant may go through symbolic links, but
never through one inside a place that tools may write to: a tool could plant it there, and the next template
would be given whatever it points to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from msgspec import Struct

from elf_pysandbox_worker.wire.messages import Confinement

_LINKS_FOLLOWED = 40  # as the kernel's own limit (path_resolution(7))


class Grants(Struct, frozen=True):
    """What a confinement grants, as real paths.

    Attributes
    ----------
    read : tuple of str
        To be read, parents before what lies below them; nothing that a wider grant covers as well.
    write : tuple of str
    of_user : frozenset of str
        Those of both that a user named, as against the interpreter's own.
    links : tuple of (str, str)
        Every symbolic link (path, target) that resolving the granted paths goes through.
    bent : tuple of str
        Granted paths that grant nothing, because a link inside a place to write to leads there.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    of_user: frozenset[str] = frozenset()
    links: tuple[tuple[str, str], ...] = ()
    bent: tuple[str, ...] = ()


def resolve(spec: Confinement) -> Grants:
    """Resolve what `spec` grants, as this process sees the file tree; a path that does not exist grants
    nothing."""
    # Each path is walked once: what a second walk finds, a tool that swaps a folder for a link may have changed.
    walked = {path: walk(path) for path in (*spec.read, *spec.write)}
    links = {path: found for path, (_, found) in walked.items()}
    roots = [walked[path][0] for path in spec.write]

    bent = tuple(path for path, found in links.items() if any(_inside(link, roots) for link, _ in found))

    def real(paths: Iterable[str]) -> set[str]:
        places = {walked[path][0] for path in paths if path not in bent}
        return {place for place in places if os.path.exists(place)}

    write = real(spec.write)
    named = real(spec.grants_read)
    own = real(set(spec.read) - set(spec.grants_read))
    # What is granted for writing is not granted again for reading only: the wider grant holds. Not so for the
    # interpreter's own: its libraries are mapped executable, which no place to write to allows.
    named = {path for path in named if not below(path, write)}
    read = {path for path in named if not below(os.path.dirname(path), named) or path == "/"}
    covered = {path for path in own if below(os.path.dirname(path), read | own) and not below(path, write)}
    read |= own - covered
    on_the_way = (link for found in links.values() for link in found if not _inside(link[0], roots))
    return Grants(
        tuple(sorted(read)),
        tuple(sorted(write)),
        frozenset(write | named),
        tuple(dict.fromkeys(on_the_way)),
        bent,
    )


def below(path: str, tops: Iterable[str]) -> bool:
    """Whether `path` is one of `tops` or lies below one."""
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def _inside(path: str, tops: Iterable[str]) -> bool:
    return any(path != top and below(path, (top,)) for top in tops)


def links_on_the_way(path: str) -> list[tuple[str, str]]:
    """Return every symbolic link (path, target) that resolving `path` goes through."""
    return walk(path)[1]


def walk(path: str) -> tuple[str, list[tuple[str, str]]]:
    """Return where `path` leads, and every symbolic link (path, target) on the way there, of one and the same walk.

    The place holds no link that this walk saw. One that has come since makes opening it fail: whoever opens it must
    follow none.
    """
    found: list[tuple[str, str]] = []
    rest = [part for part in path.split("/") if part]
    done = ""
    while rest and len(found) < _LINKS_FOLLOWED:
        part = rest.pop(0)
        if part in (".", ".."):
            done = os.path.dirname(done).rstrip("/") if part == ".." else done
            continue
        here = f"{done}/{part}"
        target = _target(here)
        if target is None:
            done = here
            continue
        found.append((here, target))
        rest = [piece for piece in target.split("/") if piece not in ("", ".")] + rest
        if target.startswith("/"):
            done = ""
    return "/".join((done, *rest)) or "/", found


def _target(path: str) -> str | None:
    """Return what a symbolic link points to, None for anything else: one system call, between which nothing changes."""
    try:
        return os.readlink(path)
    except OSError:
        return None
