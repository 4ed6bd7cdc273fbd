"""JSON that people write: on the command line, in files it names, in the rows of a map."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click


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
        raise click.UsageError(f"{told} cannot be used: {error}") from None
    except RecursionError:
        raise click.UsageError(f"{told} is nested too deeply") from None


def _contents(text: str) -> str:
    if text != "-":
        return Path(text[1:]).read_text(encoding="utf-8-sig")  # Windows' editors begin UTF-8 with a BOM.
    return sys.stdin.read().removeprefix("\ufeff")


def json_kind(value: Any) -> str:
    """Return what a JSON value is, in JSON's words."""
    return _KINDS.get(type(value), "a number")


_KINDS = {type(None): "null", bool: "a boolean", str: "a string", list: "an array", dict: "an object"}


def strict_json(text: str | bytes) -> Any:
    """Parse JSON; a key that an object has twice is an error, where Python would let the last one win.

    RFC 8259 (section 4) leaves the meaning of such an object open.

    Raises
    ------
    ValueError
        It is no JSON, or has a key twice.
    RecursionError
        It is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {json.dumps(twice, ensure_ascii=False)} stands there twice")
    return found
