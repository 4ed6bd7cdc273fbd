"""JSON that people give with an option: as text, in a file, on standard input."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from elf_pysandbox import strict_json


def given_json(option: str, text: str) -> Any:
    """Return what an option was given as JSON: the text itself, @FILE, or - for standard input.

    Raises
    ------
    click.UsageError
        It cannot be read, or is no JSON; a file is told by its name.
    """
    inline = text != "-" and not text.startswith("@")
    told = option if inline else f"{option} {text!r}"
    try:
        written = text if inline else _contents(text)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(
            f"{told} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    try:
        return strict_json(written)
    except json.JSONDecodeError as error:
        if not written.strip():
            raise click.UsageError(f"{told} is empty: it must hold JSON") from None
        help = f". Quote the object: {option} '{{\"name\": 1}}'" if inline else ""
        raise click.UsageError(f"{told} is no JSON: {error}{help}") from None
    except ValueError as error:
        raise click.UsageError(f"{told} cannot be used: {too_long_number(written) or error}") from None
    except RecursionError:
        raise click.UsageError(f"{told} is nested too deeply") from None


_STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?(\d+)([.eE][-+.\deE]*)?')


def too_long_number(written: str) -> str:
    """Tell of the first whole number that Python does not read where it stands and what to do; "" of none."""
    limit = sys.get_int_max_str_digits()
    for found in _STRING_OR_NUMBER.finditer(written) if limit else ():
        digits, fraction = found.groups()
        if digits and not fraction and len(digits) > limit:
            line = written.count("\n", 0, found.start()) + 1
            column = found.start() - written.rfind("\n", 0, found.start())
            return (
                f"the number at line {line} column {column} has {len(digits)} digits, and Python reads {limit}: "
                f"write it as text, in quotes, or set PYTHONINTMAXSTRDIGITS={len(digits)}"
            )
    return ""


def _contents(text: str) -> str:
    # JSON is UTF-8, whatever the locale says; Windows' editors begin it with a BOM.
    written = standard_input() if text == "-" else Path(text[1:]).read_bytes()
    return written.decode("utf-8-sig")


def standard_input() -> bytes:
    """Return all that standard input holds.

    Raises
    ------
    OSError
        It cannot be read, or is closed.
    """
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer.read()


def json_kind(value: Any) -> str:
    """Return what a JSON value is, in JSON's words."""
    return _KINDS.get(type(value), "a number")


_KINDS = {type(None): "null", bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
