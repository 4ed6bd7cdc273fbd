"""Whether an example ended as its docstring says, by the rules of doctest."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING

from elf_pysandbox import CallError, ErrorInfo, Outcome

if TYPE_CHECKING:
    from elf_pysandbox._docs.gather import Example

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def printed(outcome: Outcome) -> str:
    """Return what an interactive interpreter would have shown of a call that returned, or how it ended."""
    if outcome.ok:
        return (outcome.stdout + (repr(outcome.value) if outcome.value is not None else "")).rstrip()
    return f"{outcome.stdout}{outcome.status}: {outcome.error}"


def broken(example: Example) -> str:
    """Return what is not as the docstring says, "" when all is or the example was not run.

    An example without a result promises none: it must only return.
    """
    outcome = example.outcome
    if not isinstance(outcome, Outcome):
        return ""
    if example.raises:
        return "" if _raised(outcome, example.raises) else f"{_ending(outcome)}, not {example.raises!r}"
    if not outcome.ok:
        return _ending(outcome)
    got = printed(outcome)
    if not example.want or doctest.OutputChecker().check_output(f"{example.want}\n", f"{got}\n", _FLAGS):
        return ""
    return f"gave {_short(got)}, not {_short(example.want)}"


def _raised(outcome: Outcome, promised: str) -> bool:
    info = outcome.error.info if isinstance(outcome.error, CallError) else None
    if outcome.status != "raised" or info is None:
        return False
    check = doctest.OutputChecker().check_output
    return any(check(f"{promised}\n", f"{said}\n", _FLAGS) for said in _spellings(info))


def _spellings(info: ErrorInfo) -> list[str]:
    tail = f": {info.message}" if info.message else ""
    return [f"{info.type}{tail}", f"{info.module}.{info.type}{tail}"]


def _ending(outcome: Outcome) -> str:
    return "returned" if outcome.ok else f"ended {outcome.status}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
