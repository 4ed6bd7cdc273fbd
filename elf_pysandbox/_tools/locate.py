"""Where a module lies, found by looking at folders. Nothing is imported, no parent package runs.

`importlib.util.find_spec("a.b")` imports `a`; and `importlib`'s finders cache folder listings, so a file
written a moment ago can be missed. Looking at the folders themselves has neither fault.
"""

from __future__ import annotations

import _imp
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

Kind = Literal["source", "package", "namespace", "compiled"]
RESERVED = frozenset({"elf_pysandbox", "elf_pysandbox_worker", "msgspec", "RestrictedPython", "__main__"})
"""Names that the confined side needs for itself: a tool's own module never takes one of them."""

# What `importlib.machinery` tells, without the 2 ms of loading it.
EXTENSION_SUFFIXES = tuple(_imp.extension_suffixes())
_STDLIB_FOLDER = os.path.dirname(os.path.abspath(os.__file__))


class Located(msgspec.Struct, frozen=True):
    """A module on disk.

    Attributes
    ----------
    name : str
    kind : {"source", "package", "namespace", "compiled"}
    path : str
        The file; for a namespace package, its first folder.
    folders : tuple of str
        Where its submodules lie; empty for a plain module.
    """

    name: str
    kind: Kind
    path: str
    folders: tuple[str, ...] = ()


def locate(name: str, roots: Iterable[str]) -> Located | None:
    """Find the module `name` below `roots`, one folder per dot; None when there is none."""
    folders: Sequence[str] = tuple(roots)
    prefix = ""
    found = None
    for part in name.split("."):
        prefix = f"{prefix}.{part}" if prefix else part
        found = _look(prefix, part, folders)
        if found is None:
            return None
        folders = found.folders
    return found


def _look(name: str, tail: str, folders: Sequence[str]) -> Located | None:
    portions = []
    for folder in folders:
        base = os.path.join(folder, tail)
        if os.path.isdir(base):
            init = os.path.join(base, "__init__.py")
            if os.path.isfile(init):
                return Located(name, "package", init, (base,))
            for suffix in EXTENSION_SUFFIXES:
                if os.path.isfile(os.path.join(base, "__init__" + suffix)):
                    return Located(name, "compiled", os.path.join(base, "__init__" + suffix), (base,))
            portions.append(base)
        for suffix in EXTENSION_SUFFIXES:
            if os.path.isfile(base + suffix):
                return Located(name, "compiled", base + suffix)
        if os.path.isfile(base + ".py"):
            return Located(name, "source", base + ".py")
    return Located(name, "namespace", portions[0], tuple(portions)) if portions else None


def is_standard(name: str) -> bool:
    """Whether the top-level part of `name` is a standard library module."""
    return name.partition(".")[0] in sys.stdlib_module_names


def is_installed(path: str) -> bool:
    """Whether `path` belongs to the standard library or to an installed distribution."""
    path = os.path.abspath(path)
    parts = path.split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    return path == _STDLIB_FOLDER or path.startswith(_STDLIB_FOLDER + os.sep)


def import_roots(python_path: Sequence[str] = ()) -> tuple[str, ...]:
    """Folders that modules are searched in: the configured ones first, then this interpreter's `sys.path`."""
    folders = [*map(os.path.abspath, python_path), *(os.path.abspath(entry) for entry in sys.path)]
    return tuple(dict.fromkeys(folders))


def own_roots(roots: Iterable[str], python_path: Sequence[str] = ()) -> tuple[str, ...]:
    """The roots whose modules are the project's own: configured ones, and those that hold no installed
    packages."""
    configured = {os.path.abspath(entry) for entry in python_path}
    return tuple(root for root in roots if root in configured or not is_installed(root))


def name_of_file(path: str) -> tuple[str, str]:
    """Return the module name of a source file and the root folder that the name counts from.

    A file in a package (folders with `__init__.py`) gets its dotted name. A top-level file that is named like
    a standard module, or like one that the confined side needs, gets a name of its own, so as not to replace
    it.
    """
    folder, base = os.path.split(os.path.abspath(path))
    stem = base.removesuffix(".py")
    parts = [] if stem == "__init__" else [stem]
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.basename(folder).isidentifier():
        folder, parent = os.path.split(folder)
        parts.insert(0, parent)
    if not parts:
        parts = [stem]
    if len(parts) == 1 and (parts[0] in sys.stdlib_module_names or parts[0] in RESERVED):
        parts[0] += "_file"
    return ".".join(parts), folder


def name_in_namespace(path: str, source: bytes, python_path: Sequence[str]) -> tuple[str, str] | None:
    """Return name and root of a file that imports relatively from a folder without ``__init__.py``.

    Such a folder is a namespace package (PEP 420), and the file's name counts from a configured folder above it, else
    from as far up as its imports reach. None for a file that imports nothing relatively, and for folders whose names
    are no names of packages, or those of standard modules.
    """
    words = (line.split(None, 1) for line in source.splitlines() if b"from" in line)
    after = [found[1] for found in words if found[0] == b"from" and len(found) > 1]
    dots = [len(name) - len(name.lstrip(b".")) for name in after if name.startswith(b".")]
    if not dots:
        return None
    folders = os.path.dirname(path).split(os.sep)
    above = [entry for entry in map(os.path.abspath, python_path) if path.startswith(entry + os.sep)]
    up = len(folders) - len(max(above, key=len).split(os.sep)) if above else 0
    parts = folders[len(folders) - max(up, *dots) :]
    if not all(map(str.isidentifier, parts)) or is_standard(parts[0]) or parts[0] in RESERVED:
        return None
    stem = os.path.basename(path).removesuffix(".py")
    return ".".join((*parts, stem)), os.sep.join(folders[: len(folders) - len(parts)]) or os.sep
