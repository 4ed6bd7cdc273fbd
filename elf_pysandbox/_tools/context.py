"""A tool's module as text: its source, the sibling modules it needs, and the hashes that vouch for them.

Decided here and nowhere else: what belongs to a module's identity (`code_hash`, `key`) and what travels to
the confined side (`bundle`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ConfigurationError, ModuleLoadError
from elf_pysandbox._records import field, record

if TYPE_CHECKING:
    from elf_pysandbox_worker.wire.messages import Bundle

MAX_SOURCE = 8 << 20
"""Bytes of one module. The longest file of the standard library has 0.3 MB."""

MAX_BUNDLE = 32 << 20
"""Bytes of a module with all its siblings and values."""


_sha256: Any = None


def _digest() -> Any:
    """A new SHA-256: the interpreter's own, as loading OpenSSL for `hashlib` costs more than hashing a tool does."""
    global _sha256
    if _sha256 is None:
        from importlib import import_module

        name = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
        try:
            _sha256 = import_module(name).sha256
        except ImportError:  # an interpreter built without it
            _sha256 = import_module("hashlib").sha256
    return _sha256()


def hash_source(source: bytes) -> str:
    """SHA-256 of the bytes of a source file, in hexadecimal."""
    digest = _digest()
    digest.update(source)
    return str(digest.hexdigest())


def digest_of(parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
    """SHA-256 over several pieces and where each ends."""
    digest = _digest()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return bytes(digest.digest())


def _check_names(name: str, path: str) -> None:
    """Refuse what no message could hold: the names of files are bytes, here with lone surrogates where no UTF-8."""
    try:
        (name + path).encode()
    except UnicodeEncodeError:
        raise ModuleLoadError(
            f"module {name!r} cannot be sent, since its name or path is not valid UTF-8: rename {path!r}, or the folder"
        ) from None


@record(frozen=True)
class Sibling:
    """A module that travels with a tool's own.

    Attributes
    ----------
    name, path : str
    source : bytes
    is_package : bool
    code_hash : str
        SHA-256 of `source`, as recorded; computed when left empty.
    """

    name: str
    path: str
    source: bytes = field(repr=False)
    is_package: bool = False
    code_hash: str = ""

    def __post_init__(self) -> None:
        _check_names(self.name, self.path)
        if not self.code_hash:
            object.__setattr__(self, "code_hash", hash_source(self.source))


@record(frozen=True)
class ModuleContext:
    """A module as text, with everything of the same project that it needs.

    The namespace the module makes when it runs is not here: it lives on the confined side only.

    Attributes
    ----------
    name : str
        The name the module is loaded under, dotted for a module of a package.
    source_bytes : bytes
        The file as it is on disk; decoded on the confined side by Python's own rules.
    path : str
        The file it came from, or a made-up name for what was in no file.
    siblings : tuple of Sibling
        Modules of the same project that it imports, transitively, sorted by name.
    requirements : tuple of str
        Distributions it needs (PEP 508).
    requires_python : str
        Versions of Python it needs (PEP 440 specifiers).
    is_package : bool
        Whether the module is a package's ``__init__``.
    values : bytes
        Packed dict of globals to set before the source runs; for functions that were in no file.
    pickled : bytes
        The callable as cloudpickle made it, where there was no source; runs in profile `native` only, on the
        same version of Python, and cannot be saved.
    code_hash : str
        SHA-256 of `source_bytes`, as recorded; computed when left empty.
    """

    name: str
    source_bytes: bytes = field(repr=False)
    path: str
    siblings: tuple[Sibling, ...] = field(default=(), repr=False)
    requirements: tuple[str, ...] = ()
    requires_python: str = ""
    is_package: bool = False
    values: bytes = field(default=b"", repr=False)
    pickled: bytes = field(default=b"", repr=False)
    code_hash: str = ""

    def __post_init__(self) -> None:
        if not self.name or "\0" in self.name:
            raise ConfigurationError(f"ModuleContext.name must be a module name, not {self.name!r}")
        _check_names(self.name, self.path)
        if not isinstance(self.source_bytes, bytes):
            raise ConfigurationError("ModuleContext.source_bytes must be bytes: the file as it is on disk")
        if not self.code_hash:
            object.__setattr__(self, "code_hash", hash_source(self.source_bytes))
        self._check_size()

    def _check_size(self) -> None:
        for name, source in [(self.name, self.source_bytes), *((s.name, s.source) for s in self.siblings)]:
            if len(source) > MAX_SOURCE:
                raise ModuleLoadError(
                    f"module {name!r} has {len(source)} bytes of source; {MAX_SOURCE} are allowed. "
                    "Move its data to a file that the tool is granted to read"
                )
        if self.size > MAX_BUNDLE:
            raise ModuleLoadError(
                f"module {self.name!r} and the {len(self.siblings)} modules it needs have {self.size} bytes; "
                f"{MAX_BUNDLE} are allowed. Install what is not the tool's own as a package"
            )

    @cached_property
    def size(self) -> int:
        """Bytes of all that travels."""
        sources = len(self.source_bytes) + sum(len(sibling.source) for sibling in self.siblings)
        return sources + len(self.values) + len(self.pickled)

    @property
    def file_path(self) -> str:
        """The same as `path`."""
        return self.path

    @cached_property
    def source(self) -> str:
        """The source as text; characters that do not decode are replaced."""
        from elf_pysandbox._tools.imports import decode_source

        return decode_source(self.source_bytes)

    @cached_property
    def imports(self) -> tuple[str, ...]:
        """Top-level names of the modules that the source and its siblings name, without the siblings
        themselves."""
        from elf_pysandbox._tools.imports import scan_imports

        own = {self.name.partition(".")[0], *(sibling.name.partition(".")[0] for sibling in self.siblings)}
        sources = [self.source_bytes, *(sibling.source for sibling in self.siblings)]
        found = {
            entry.module.partition(".")[0]
            for source in sources
            for entry in scan_imports(source)
            if not entry.level
        }
        return tuple(sorted(found - own - {""}))

    @cached_property
    def key(self) -> str:
        """SHA-256 over all that the bundle holds; equal keys load the same module."""
        return digest_of(self._identity()).hex()

    def _identity(self) -> Iterable[bytes]:
        yield self.name.encode("utf-8", "surrogatepass")
        files = [(self.name, self.path, self.source_bytes, self.is_package)]
        files += [(s.name, s.path, s.source, s.is_package) for s in self.siblings]
        for name, path, source, is_package in files:
            yield name.encode("utf-8", "surrogatepass")
            yield path.encode("utf-8", "surrogatepass")
            yield b"package" if is_package else b"module"
            yield source
        yield self.values
        yield self.pickled

    def bundle(self) -> Bundle:
        """Return what a template loads."""
        from elf_pysandbox_worker.wire.messages import Bundle, SourceFile

        files = [SourceFile(self.name, self.path, self.source_bytes, self.is_package)]
        files += [SourceFile(s.name, s.path, s.source, s.is_package) for s in self.siblings]
        return Bundle(self.name, files, self.values, self.pickled)

    def verify(self, *, accept_changes: bool = False) -> ModuleContext:
        """Hold the recorded hashes against the sources.

        Parameters
        ----------
        accept_changes : bool
            Take the sources as they are and record their hashes anew.

        Returns
        -------
        ModuleContext
            This one, or with `accept_changes` one whose hashes fit.

        Raises
        ------
        ModuleLoadError
            A source is not what its hash says.
        """
        wrong = []
        if hash_source(self.source_bytes) != self.code_hash:
            wrong.append(self.name)
        wrong += [s.name for s in self.siblings if hash_source(s.source) != s.code_hash]
        if not wrong:
            return self
        if not accept_changes:
            raise ModuleLoadError(
                f"the source of {', '.join(map(repr, wrong))} is not what its hash says: it was changed "
                f"after it was "
                "recorded, so nothing of it is run. Pass accept_changes=True once you have looked at the "
                "change"
            )
        from dataclasses import replace

        siblings = tuple(replace(sibling, code_hash="") for sibling in self.siblings)
        return replace(self, siblings=siblings, code_hash="")

    def changed_files(self) -> tuple[str, ...]:
        """Paths of the files that no longer hold what was recorded (or are gone); empty for what was in no
        file."""
        changed = []
        for path, recorded in [(self.path, self.code_hash), *((s.path, s.code_hash) for s in self.siblings)]:
            if not path.endswith(".py"):
                continue
            try:
                with open(path, "rb") as file:
                    current = hash_source(file.read())
            except OSError:
                current = ""
            if current != recorded:
                changed.append(path)
        return tuple(changed)
