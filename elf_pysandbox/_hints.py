"""What would have ended otherwise: hints, as data that each front spells in its own words.

Decided here and nowhere else: how a hint reads in Python. The command line has a spelling of its own.
"""

from __future__ import annotations

import os

from elf_pysandbox._records import record

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_OF_FILES = ("read", "write")
_LONGEST_PATH = 4096  # of the kernel (PATH_MAX); the path is the word of a process that ran the tool
_NAMES_OF_POLICY = ("allowed_imports", "env")


@record(frozen=True, slots=True)
class Hint:
    """A setting, or an argument, that would let through what was refused.

    Attributes
    ----------
    name : str
        As in `Settings`, such as "memory_mb" or "read"; else an argument's name, such as "key".
    value : str
        What to give it; "" where that is for the reader to say.
    """

    name: str
    value: str = ""

    def granting(self) -> Hint:
        """Return the hint as it can be followed.

        Only what exists can be granted: for a path to write that does not exist yet, that is the nearest folder above
        it that does. Nothing where this would be the root of all: the reader will know a better one.
        """
        if self.name != "write" or not os.path.isabs(self.value) or len(self.value) > _LONGEST_PATH:
            return self
        path = self.value
        if not os.path.exists(path):
            while not os.path.isdir(path):
                path = os.path.dirname(path.rstrip("/")) or "/"
        return Hint(self.name, path if path.strip("/") else "")


if TYPE_CHECKING:
    Spelling = Callable[[Hint], str]


def in_python(hint: Hint) -> str:
    """Return how a hint is written in Python."""
    name, value = hint.name, hint.value
    if name in _OF_FILES:
        return f"Policy(files=Files({name}=({value!r},)))" if value else f"Policy(files=Files({name}=(…,)))"
    if name in _NAMES_OF_POLICY:
        return f"Policy({name}=({value!r},))" if value else f"Policy({name}=(…,))"
    if name in _ARGUMENTS:
        return _ARGUMENTS[name]
    return f"Limits({name}={value or '…'})"


_ARGUMENTS = {
    "key": "key=…",
    "accept_changes": "accept_changes=True",
    "profile": "Policy(profile='native')",
    "name": "add_tool(…, name='…')",
    "replace": "replace=True",
    "max_workers": "SandboxPool(max_workers=…)",
}


def advice(hints: Iterable[Hint], spelling: Spelling = in_python) -> str:
    """Return the sentence for these alternatives, "" for none; a front that has no way leaves it out."""
    spelled = [words for hint in hints if (words := spelling(hint))]
    return f"To change that: {' or '.join(spelled)}" if spelled else ""
