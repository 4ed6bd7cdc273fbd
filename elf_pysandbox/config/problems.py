"""What is wrong with a document: each problem with its file, line and column.

Decided here and nowhere else: how a problem of a document is worded around its message, and which name is
"the nearest".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from elf_pysandbox._errors import ConfigurationError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a document.

    Attributes
    ----------
    file : str
        Path of the document, as it was given.
    line, column : int
        Counted from 1, in lines and characters.
    message : str
        What is wrong, and what to write instead.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class DocumentError(ConfigurationError):
    """A document that cannot be used; nothing of it was run.

    Attributes
    ----------
    problems : tuple of Problem
        Every problem that was found, in the order of the text.
    partial : Document or None
        What could be read of the document all the same, for looking for more problems; it is not to be run.
    """

    def __init__(self, problems: Iterable[Problem], *, partial: Any = None) -> None:
        self.problems = tuple(sorted(set(problems)))
        self.partial = partial
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name that looks most like `name`, or ``""``."""
    names = list(known)
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in names}
    close = get_close_matches(name.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names as a readable list, cut after `most`."""
    shown = ", ".join(names[:most])
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown
