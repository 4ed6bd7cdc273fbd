"""The modules of the same project that a module needs, transitively: what must travel with it.

A module's own package, its parents, and every module that it names and that lies in a folder of the project
(beside it, or on a configured python path) travel. The standard library and installed distributions do not:
they are imported where the tool runs, as the policy allows. A standard module's name always means the
standard module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from elf_pysandbox._errors import ModuleLoadError
from elf_pysandbox._tools.context import MAX_SOURCE, Sibling
from elf_pysandbox._tools.locate import RESERVED, Located, is_standard, locate

if TYPE_CHECKING:
    from elf_pysandbox._tools.imports import Import

MAX_SIBLINGS = 2_000
"""More modules than any tool's own project has; past it, somebody's whole machine is on the path."""

_LONGEST_NAME, _DEEPEST = 200, 16
"""Characters and parts of a module's name; every prefix of it is looked for, and kept."""


def read_source(path: str, name: str) -> bytes:
    """Read a source file whole; a missing, unreadable or absurdly large one is a `ModuleLoadError`."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(path)  # Below a folder that is closed, isfile() would say that there is none.
        if not os.path.isfile(path):
            raise ModuleLoadError(
                f"no source file {path!r} for module {name!r}: check the path (it counts from "
                f"{os.getcwd()!r})"
            )
        with open(path, "rb") as file:
            source = file.read(MAX_SOURCE + 1)
    except (OSError, ValueError) as error:
        raise ModuleLoadError(f"cannot read {path!r} for module {name!r}: {error}") from error
    if len(source) > MAX_SOURCE:
        raise ModuleLoadError(f"{path!r} is larger than the {MAX_SOURCE} bytes that a module may have")
    return source


def find_siblings(name: str, source: bytes, *, is_package: bool, roots: Sequence[str]) -> tuple[Sibling, ...]:
    """Collect what `name` needs from the folders `roots`, sorted by name.

    Parameters
    ----------
    name : str
        The module's own name; its parents are looked up below `roots` like any other module.
    source : bytes
    is_package : bool
    roots : sequence of str
        Folders of the project: never one that holds installed packages.
    """
    found: dict[str, Sibling | None] = {name: None}
    waiting = [(name, source, is_package)]
    for parent in _parents(name):
        _add(parent, roots, found, waiting)
    listed: dict[str, frozenset[str]] = {}
    while waiting:
        module, text, package = waiting.pop()
        if not _may_name_one(module, text, package, roots, listed):
            continue
        for wanted in _wanted(module, text, package):
            _add(wanted, roots, found, waiting)
    return tuple(
        sorted((sibling for sibling in found.values() if sibling is not None), key=lambda one: one.name)
    )


def _may_name_one(
    name: str, source: bytes, is_package: bool, roots: Sequence[str], listed: dict[str, frozenset[str]]
) -> bool:
    """Whether any word of the source is the name of a module that it could mean: spares most tools the scan."""
    if not source.isascii() or b"coding" in source[:400]:
        return True
    words = _words_of_imports(source)
    parts = name.split(".") if is_package else name.split(".")[:-1]
    for root in roots:
        for depth in range(len(parts) + 1):
            folder = os.path.join(root, *parts[:depth])
            if folder not in listed:
                listed[folder] = _stems(folder)
            itself = {name.rpartition(".")[2]} if depth == len(parts) and not is_package else set()
            if not words.isdisjoint(listed[folder] - itself):
                return True
    return False


_BETWEEN_WORDS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}


def _words_of_imports(source: bytes) -> set[str]:
    """Words of the lines that import something; all words where an import may go over several lines."""
    text = source.decode("ascii")
    lines = [line for line in text.replace("\r", "\n").split("\n") if "import" in line]
    if "\\\n" in text or "\\\r" in text or any("(" in line for line in lines):
        return set(text.translate(_BETWEEN_WORDS).split())
    return set("\n".join(lines).translate(_BETWEEN_WORDS).split())


def _stems(folder: str) -> frozenset[str]:
    """Names of what may be modules in a folder."""
    try:
        return frozenset(entry.removesuffix(".py") for entry in os.listdir(folder))
    except OSError:
        return frozenset()


def _wanted(module: str, source: bytes, is_package: bool) -> Iterator[str]:
    """Names of all modules that `source` may import: each prefix, and what is taken from a package."""
    from elf_pysandbox._tools.imports import scan_imports

    for entry in scan_imports(source):
        base = _absolute(entry, module, is_package)
        if base is None or len(base) > _LONGEST_NAME or base.count(".") >= _DEEPEST:
            continue
        if base:
            yield from _parents(base)
            yield base
        for taken in entry.names:
            yield f"{base}.{taken}" if base else taken


def _absolute(entry: Import, module: str, is_package: bool) -> str | None:
    """Resolve a relative import against the module that holds it; None when it leads out of the top
    package."""
    if not entry.level:
        return entry.module
    package = module if is_package else module.rpartition(".")[0]
    parts = package.split(".") if package else []
    climb = entry.level - 1
    if climb >= len(parts):
        return None
    base = ".".join(parts[: len(parts) - climb])
    return f"{base}.{entry.module}" if entry.module else base


def _parents(name: str) -> Iterator[str]:
    end = name.find(".")
    while end > 0:
        yield name[:end]
        end = name.find(".", end + 1)


def _add(
    name: str,
    roots: Sequence[str],
    found: dict[str, Sibling | None],
    waiting: list[tuple[str, bytes, bool]],
) -> None:
    """Put module `name` into `found`, with its source waiting to be scanned; what is not the project's own is
    left out."""
    if name.endswith(".*"):
        for module in _submodules(name[:-2], roots):
            _add(module, roots, found, waiting)
        return
    if name in found or is_standard(name) or name.partition(".")[0] in RESERVED:
        return
    located = locate(name, roots)
    if located is None or located.kind == "compiled":
        found[name] = None
        return
    if len(found) > MAX_SIBLINGS:
        raise ModuleLoadError(
            f"more than {MAX_SIBLINGS} modules below {', '.join(roots)} would have to travel: import less, "
            f"or install "
            "what is not the tool's own as a package"
        )
    found[name] = sibling = _read(located)
    waiting.append((name, sibling.source, sibling.is_package))


def _read(located: Located) -> Sibling:
    if located.kind == "namespace":
        return Sibling(located.name, located.path, b"", is_package=True)
    source = read_source(located.path, located.name)
    return Sibling(located.name, located.path, source, is_package=located.kind == "package")


def _submodules(package: str, roots: Sequence[str]) -> Iterator[str]:
    """The direct submodules of a package: ``from package import *`` may take any of them."""
    located = locate(package, roots)
    if located is None or located.kind != "package" or is_standard(package):
        return
    for folder in located.folders:
        for entry in sorted(os.listdir(folder)):
            stem = entry.removesuffix(".py")
            if stem != entry and stem.isidentifier() and stem != "__init__":
                yield f"{package}.{stem}"
