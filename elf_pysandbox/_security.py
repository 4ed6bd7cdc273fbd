"""Checking tool source under the language policy, for people and programs: `PythonSecurityValidator`.

What is checked here explains; what holds a tool is the process it runs in. A call checks its source again, on the
confined side, so nothing depends on this check having been made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from elf_pysandbox._errors import LayerUnavailableError, SandboxFaultError
from elf_pysandbox._host.checker import CheckFault, LayerLacking, check_files
from elf_pysandbox._interpreter import own_interpreter
from elf_pysandbox._policy import Policy
from elf_pysandbox_worker.restricted import published
from elf_pysandbox_worker.restricted.builtin_names import REFUSED_BUILTINS
from elf_pysandbox_worker.restricted.check_messages import CheckFile


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding of the language policy.

    Attributes
    ----------
    rule : str
        Id of the rule, such as "PSB201"; `docs/rules.md` has a section for each.
    severity : {"error", "warning"}
        An error keeps the module from loading; a warning loads, and is refused when the code gets there.
    line, column, end_line, end_column : int
        Lines and columns count from 1, columns in characters; the end is exclusive.
    message : str
        What was found, and why it is refused.
    hint : str
        The way out.
    path : str
        The file.
    """

    rule: str
    severity: Literal["error", "warning"]
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    hint: str
    path: str = "<string>"

    def format(self) -> str:
        """Render as linters do: ``path:line:column: ID message hint``."""
        return f"{self.path}:{self.line}:{self.column}: {self.rule} {self.message} {self.hint}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


class PythonSecurityValidator:
    """Check Python source under the language policy, without running it.

    Parameters
    ----------
    allowed_imports : sequence of str
        Modules allowed beyond the default allowlist, as in `Policy.allowed_imports`.
    files_granted : bool
        Whether the tool will have a file grant, which makes `open` available.
    policy : Policy, optional
        Its layers confine the processes that check; the default policy's when None.

    Raises
    ------
    LayerUnavailableError
        From each method that checks: a layer that the policy requires is missing, so nothing was parsed.
    SandboxFaultError
        Likewise: the checking process did not start.

    Notes
    -----
    Each source is parsed in a process of its own, which is confined like a call (no file but the interpreter's codecs,
    no network, no processes) and limited to 1 GiB and 120 s of CPU time: hostile source (nesting that overflows the
    parser's stack, gigabytes of brackets) ends that process, and is reported as PSB002.
    """

    FORBIDDEN_BUILTINS: ClassVar[frozenset[str]] = frozenset(
        {*REFUSED_BUILTINS, "eval", "open", "raw_input", "file", "reload"}
    )
    """Builtins that no tool has as Python has them: refused, checked (`eval`) or bound to a file grant (`open`)."""

    FORBIDDEN_MODULES: ClassVar[frozenset[str]] = frozenset(published.FORBIDDEN)
    """Modules that are never available in the profile `restricted`."""

    DEFAULT_MODULES: ClassVar[frozenset[str]] = frozenset(published.DEFAULT)
    """Modules that every tool may import."""

    def __init__(
        self,
        allowed_imports: Iterable[str] = (),
        *,
        files_granted: bool = False,
        policy: Policy | None = None,
    ) -> None:
        self.allowed_imports = tuple(allowed_imports)
        self.files_granted = files_granted
        self.policy = policy or Policy()
        self._last: str | bytes | None = None

    def check(
        self, source: str | bytes, path: str = "<string>", *, siblings: Sequence[str] = ()
    ) -> list[Diagnostic]:
        """Return every finding of one module, in source order; an empty list when there is none.

        Parameters
        ----------
        source : str or bytes
            Bytes are decoded as the interpreter decodes a file (PEP 263).
        path : str
            Put into the findings.
        siblings : sequence of str
            Names of modules that will travel with this one.
        """
        ((_, found),) = self._check([(path, _as_bytes(source), siblings)])
        return found

    def check_paths(
        self, paths: Iterable[str | Path], *, unreadable: dict[str, OSError] | None = None
    ) -> dict[str, list[Diagnostic]]:
        """Check files, and the Python files below folders; modules beside a file count as its siblings.

        Parameters
        ----------
        paths : iterable of path
        unreadable : dict, optional
            Where given, what cannot be read is put there with its error, and the others are checked.

        Raises
        ------
        OSError
            A path does not exist or cannot be read, and `unreadable` was not given.
        """
        files = []
        for path in _python_files(paths):
            try:
                files.append((str(path), path.read_bytes(), _siblings(path)))
            except OSError as error:
                if unreadable is None:
                    raise
                unreadable[str(path)] = error
        return dict(self._check(files))

    def _check(
        self, files: Sequence[tuple[str, bytes, Sequence[str]]]
    ) -> Iterable[tuple[str, list[Diagnostic]]]:
        answers = check_files(
            [
                CheckFile(_sendable(path), source, [name for name in siblings if name == _sendable(name)])
                for path, source, siblings in files
            ],
            own_interpreter().roots,
            layers=self.policy.layer_modes(),
            allowed_imports=self.allowed_imports,
            files_granted=self.files_granted,
        )
        try:
            for (path, _, _), found in zip(files, answers, strict=True):
                yield (
                    path,
                    [_too_much(path)] if found is None else [_located(one._asdict(), path) for one in found],
                )
        except LayerLacking as lacking:
            raise LayerUnavailableError(*lacking.args) from None
        except CheckFault as fault:
            raise SandboxFaultError(f"the checking process did not start: {fault}") from None

    def validate_code(self, code: str) -> bool:
        """Return whether nothing in the code would be refused, neither when it loads nor when it runs.

        `check` says what would be, and what to write instead.
        """
        self._last = code
        return not self.check(code)

    def validate_imports(self, allowed_modules: Sequence[str], code: str | None = None) -> bool:
        """Return whether the code imports only modules that are allowed.

        Parameters
        ----------
        allowed_modules : sequence of str
            Modules beyond the default allowlist. False when one of them is forbidden: listing does not allow it.
        code : str, optional
            The code given to `validate_code` last, when None; without any, only the list is judged.
        """
        if any(published.forbidden_hint(name) for name in allowed_modules):
            return False
        subject = self._last if code is None else code
        if subject is None:
            return True
        checker = PythonSecurityValidator(allowed_modules, files_granted=True, policy=self.policy)
        return not any(found.rule in ("PSB301", "PSB302") for found in checker.check(subject))

    def create_restricted_globals(self, allowed_modules: Sequence[str] = ()) -> dict[str, Any]:
        """Return a namespace with the builtins and imports of a tool, for `exec` in this process.

        This is for trying things out and for tests: it confines nothing. Without the compiler's checks, code walks
        out of it by attributes. Run code that is not yours with `SandboxPool`.

        Parameters
        ----------
        allowed_modules : sequence of str
            Modules beyond the default allowlist.
        """
        from elf_pysandbox_worker.restricted.namespace import plain_globals

        return plain_globals(allowed_modules)


def _sendable(name: str) -> str:
    """Return the name of a file with what is not UTF-8 in it escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _as_bytes(source: str | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    # A text has been decoded already, so a coding cookie in it says nothing (as for compile()).
    return (
        b"\xef\xbb\xbf" + source.encode("utf-8", "surrogatepass")
        if "coding" in source[:400]
        else source.encode()
    )


def _located(found: dict[str, Any], path: str) -> Diagnostic:
    """Return a finding as the face shows it; which file it is about is the host's word, not the checker's."""
    return Diagnostic(**{**found, "path": path})


def _too_much(path: str) -> Diagnostic:
    message = "The source is nested too deeply, or too large: checking it took more than 1 GiB or 120 s."
    return Diagnostic("PSB002", "error", 1, 1, 1, 1, message, "Split the source into smaller parts.", path)


def _python_files(paths: Iterable[str | Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        # Not of pathlib, which raises below a folder that is closed; one that is closed itself is told when read.
        if os.path.isdir(path) and os.access(path, os.R_OK):
            below = (p for p in path.rglob("*.py") if not _hidden(p.relative_to(path)))
            # No pipe, which might never end; a link to nothing is told when it is read.
            found.update(
                dict.fromkeys(sorted(p for p in below if os.path.isfile(p) or not os.path.exists(p)))
            )
        else:
            found[path] = None
    return list(found)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _siblings(path: Path) -> list[str]:
    """Return the names of modules and packages in the folder of a file, and of the package that it is in."""
    folder = path.resolve().parent
    while (folder / "__init__.py").exists() and folder.parent != folder:
        folder = folder.parent
    names: Mapping[str, None] = {}
    if folder.is_dir():
        names = dict.fromkeys(
            entry.stem
            for entry in folder.iterdir()
            if entry.suffix == ".py" or (entry / "__init__.py").exists()
        )
        names |= dict.fromkeys(entry.stem for entry in path.resolve().parent.glob("*.py"))
    return [name for name in names if name not in ("__init__", path.stem)]
