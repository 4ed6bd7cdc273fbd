"""How values, outcomes and errors look on a terminal and as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict, replace
from typing import Any, NoReturn

import click

from elf_pysandbox import (
    CallError,
    ConfigurationError,
    ErrorInfo,
    LayerUnavailableError,
    Outcome,
    SandboxError,
    ToolHandlerError,
    strict_json,
    to_json,
)
from elf_pysandbox._cli.exits import EXIT_OF_STATUS, USAGE
from elf_pysandbox._cli.flags import in_flags, told


def show_value(value: Any) -> str:
    """Return the value as a person wants it: JSON where that says all, text as it is, else as Python shows it."""
    if isinstance(value, str):
        return value
    try:
        written = json.dumps(value, ensure_ascii=False, indent=None, allow_nan=False)
        strict_json(written)  # Two keys of one text (1 and "1") would stand there twice.
        return written
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return repr(value)
    except ValueError:  # of an int that is too long for that, or one inside it
        if isinstance(value, int):
            return hex(value)
        return json.dumps(to_json(value, for_programs=True), ensure_ascii=False)


def envelope(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as one JSON object for programs."""
    return {
        "status": outcome.status,
        "value": to_json(outcome.value, for_programs=True),
        "error": error_fields(outcome.error),
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "usage": asdict(outcome.usage),
        "layers": [asdict(layer) for layer in outcome.layers],
        "retryable": outcome.retryable,
        "call_id": outcome.call_id,
    }


def error_fields(error: BaseException | None) -> dict[str, Any] | None:
    """Return an error as JSON fields."""
    if error is None:
        return None
    fields: dict[str, Any] = {"type": type(error).__name__, "message": message_of(error)}
    if isinstance(error, CallError) and error.info is not None:
        fields |= asdict(error.info)
    if isinstance(error, SandboxError) and error.hints:
        fields["hints"] = [asdict(hint) for hint in error.hints]
    if isinstance(error, LayerUnavailableError):
        fields |= {"layer": error.layer, "reason": error.reason, "remedy": error.remedy}
    problems = getattr(error, "problems", ())
    if problems:
        fields["problems"] = [{"path": path, "message": message} for path, message in problems]
    return fields


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def escaped(text: str) -> str:
    """Return the text with its control characters written out, so that a terminal obeys none of them."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def shown(text: str, *, err: bool = False) -> str:
    """Return a tool's text for a stream: escaped for a terminal, as it is for a file or program."""
    return escaped(text) if (sys.stderr if err else sys.stdout).isatty() else text


def counted(number: int, noun: str) -> str:
    """Return the number with its noun."""
    return f"{number} {noun}{'s' * (number != 1)}"


def colours() -> bool:
    """Whether standard error should be coloured (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def print_failure(outcome: Outcome) -> None:
    """Tell on standard error how a call ended, with the tool's own lines where it raised."""
    error = outcome.error
    info = error.info if isinstance(error, CallError) else None
    head = click.style(outcome.status, fg="red", bold=True) if colours() else outcome.status
    if info is not None and (info.traceback or outcome.status == "raised"):
        if outcome.status == "raised":
            click.echo(_traceback(info), err=True)
            return
        # Its last line comes below, with the status: the frames that led there are left to tell.
        frames = replace(info, message="", notes=(), hints=()).format(in_flags)
        click.echo(escaped(frames.rpartition("\n")[0]), err=True)
    click.echo(f"{head}: {escaped(message_of(error))}", err=True)


def usage_envelope(message: str) -> str:
    """Return what is printed for programs where nothing was run: the command line, a setting or a file is wrong."""
    error = {"type": "UsageError", "message": message}
    return json.dumps({"status": "usage", "value": None, "error": error}, ensure_ascii=False)


def refuse(error: SandboxError, *, as_json: bool = False) -> NoReturn:
    """Tell an error that came before there was a call, and end with its exit code."""
    if isinstance(error, (ConfigurationError, ToolHandlerError)) and not isinstance(error, CallError):
        # The command line, a setting or a file that it names: no outcome of a call.
        if as_json:
            click.echo(usage_envelope(message_of(error)))
        click.echo(f"Error: {escaped(message_of(error))}", err=True)
        sys.exit(USAGE)
    status = error.status if isinstance(error, CallError) else "fault"
    if as_json:
        click.echo(
            json.dumps({"status": status, "value": None, "error": error_fields(error)}, ensure_ascii=False)
        )
    elif isinstance(error, CallError) and error.outcome is not None:
        print_failure(error.outcome)
    else:
        click.echo(f"{status}: {escaped(message_of(error))}", err=True)
    sys.exit(EXIT_OF_STATUS[status])


def message_of(error: BaseException | None) -> str:
    """Return an error's message in the words of the command line."""
    if isinstance(error, ConfigurationError):
        return told(error)
    return error.text(in_flags) if isinstance(error, SandboxError) else str(error)


def _traceback(info: ErrorInfo) -> str:
    text = escaped(info.format(in_flags))
    if not colours():
        return text
    after = sum(note.count("\n") + 1 for note in info.notes) + bool(info.hints)
    *body, last = text.split("\n")[: -after or None]
    return "\n".join([*body, click.style(last, fg="red", bold=True), *text.split("\n")[-after:][:after]])
