"""The input of a map: JSON lines as the arguments of calls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elf_pysandbox import strict_json


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the input.

    Attributes
    ----------
    number : int
        From 0, blank lines not counted.
    digest : str
        The first 16 digits of the line's SHA-256: tells whether the row is the one that was run.
    args : list
    kwargs : dict
    problem : str
        Why the line cannot be the arguments of a call; "" when it can.
    """

    number: int
    digest: str
    args: list[Any]
    kwargs: dict[str, Any]
    problem: str = ""


def digest_of(line: bytes) -> str:
    """Return the digest of a line without its end."""
    return hashlib.sha256(line).hexdigest()[:16]


def call_digest(function: str, fixed: dict[str, Any]) -> str:
    """Return the digest of what every row is called with: the function's name and the fixed arguments.

    Not of the source: rows that failed are run again with what was mended.
    """
    return digest_of(json.dumps([function, fixed], sort_keys=True).encode())


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, numbered, without their ends."""
    with path.open("rb") as file:
        number = 0
        for line in file:
            stripped = line.strip()
            if stripped:
                yield number, stripped
                number += 1


def parse(number: int, line: bytes, fixed: dict[str, Any]) -> Row:
    """Read one line: an object is keyword arguments, an array positional ones, anything else the one
    argument.

    Parameters
    ----------
    fixed : dict
        Keyword arguments of every call; the row's own win.
    """
    digest = digest_of(line)
    try:
        value = strict_json(line)
    except (ValueError, RecursionError) as error:
        return Row(number, digest, [], {}, f"the line is no JSON: {error}")
    if isinstance(value, dict):
        return Row(number, digest, [], {**fixed, **value})
    return Row(number, digest, value if isinstance(value, list) else [value], fixed)
