"""Outcomes as a model should read them: what happened, in one line, then the tool's own lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from elf_pysandbox._errors import CallError, InvalidArgumentsError, SandboxError
from elf_pysandbox._tools.jsonable import to_json

if TYPE_CHECKING:
    from elf_pysandbox._outcome import Outcome

WHAT = {
    "raised": "the tool raised an exception",
    "denied": "the tool tried something that it may not do",
    "invalid_arguments": "the arguments do not fit; correct them and call again",
    "not_found": "there is no such tool",
    "load_failed": "the tool cannot be loaded",
    "bad_result": "the tool returned something that cannot be sent",
    "timeout": "the tool was stopped: it took too long",
    "cpu_limit": "the tool was stopped: it computed too long",
    "memory_limit": "the tool was stopped: it needed too much memory",
    "output_limit": "the tool was stopped: it wrote too much",
    "crashed": "the tool's process died",
    "killed": "the tool's process was killed",
    "cancelled": "the call was cancelled",
    "rejected": "the call was not admitted; call again later",
    "fault": "the sandbox failed, which is not the tool's doing",
}
"""What each status means, told apart so that a model knows whether to correct, to wait or to give up."""


def result_text(value: object) -> str:
    """Return a result as text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False)


def error_text(outcome: Outcome) -> str:
    """Return type, message and the tool's own traceback."""
    error = outcome.error
    lines = [f"Error ({outcome.status}): {WHAT.get(outcome.status, 'the call failed')}."]
    if isinstance(error, InvalidArgumentsError) and error.problems:
        lines += [f"- {path}: {message}" if path else f"- {message}" for path, message in error.problems]
    elif isinstance(error, CallError) and error.info is not None:
        lines.append(error.info.format(None))
    elif error is not None:
        # What a caller's setting would change is not for a model to read, which cannot set it.
        lines.append(error.text(None) if isinstance(error, SandboxError) else str(error))
    return "\n".join(lines)
